"""The schema of the configuration, which what Hydra composes must match exactly.

An undeclared key or a value of the wrong kind is an error with a suggestion, whether it comes from
a file, from the command line, or with a +. The keys of a network, a data set, an optimizer or a
callback are read from its signature (signature.py). Defaults are in conf/. Only keys added since
version 0.1 also have a default here: the behaviour before the key existed.
"""

import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, create_model

from alexnet.config.experiment import Experiment, Section
from alexnet.config.searches import Search
from alexnet.config.signature import (
    REQUIRED,
    UNKNOWN,
    NoSuchTarget,
    Signature,
    signature_of,
)
from alexnet.vocabulary import (
    Above0,
    Count,
    Initialization,
    Nonlinearity,
    Positive,
    Rate,
    Share,
)

FORMAT = 2
"""Format of configurations; 1 is that of version 0.1, which wrote no number."""

AUTO = "auto"
"""The value of `seed` with which seeds are added until the first claim is settled."""

TASK = "alexnet.learning.ClassificationTask"
TRAINER = "lightning.pytorch.Trainer"
ALEXNET = "alexnet.model.AlexNet"
PAPER_SGD = "alexnet.learning.PaperSGD"
WANDB = "alexnet.run.loggers.WandB"

GIVEN: dict[str, frozenset[str]] = {
    "model": frozenset({"num_classes"}),
    "data": frozenset({"seed", "class_names", "pixels"}),
    "learning": frozenset({"net", "about"}),
    "optimizer": frozenset({"params", "lr", "momentum", "weight_decay"}),
    "scheduler": frozenset({"optimizer", "last_epoch"}),
    "logger": frozenset({"run", "experiment", "config"}),
}
"""Arguments that the program passes itself, by kind of target."""

_OF_LEARNING = ("optimizer", "scheduler", "loss")
"""Keys of `learning` whose value may be a target."""

OWNED: dict[str, str] = {
    "logger": "choose logger=NAME",
    "callbacks": "choose callbacks=NAME",
    "plugins": "choose trainer=two_columns for columns",
    "default_root_dir": "set outputs=FOLDER",
    "enable_checkpointing": "set checkpoint.minutes; checkpoints are always written",
    "fast_dev_run": "add +debug=smoke",
    "use_distributed_sampler": "images are shared among processes already",
    "num_sanity_val_steps": "add +debug=smoke for a trial",
    "enable_progress_bar": "the command shows how all runs are doing",
    "enable_model_summary": "python -c 'import alexnet; print(alexnet.load(RUN_FOLDER))' shows it",
    "deterministic": "set deterministic=true, at the top",
    "barebones": "there is no key for it",
    "inference_mode": "there is no key for it",
    "sync_batchnorm": "batch normalization is synchronized already",
    "reload_dataloaders_every_n_epochs": "there is no key for it",
    "model_registry": "there is no key for it",
    "enable_autolog_hparams": "there is no key for it",
    "limit_predict_batches": "nothing is predicted: see src/evaluate.py",
    "log_every_n_steps": "progress.csv has ten rows an epoch",
}
"""Arguments of Lightning's Trainer that this program sets, and what to use instead."""


class ConfigError(ValueError):
    """The configuration is wrong; the message is written for the user."""


def _by_epoch(drops: dict[int, float]) -> dict[int, float]:
    """Sort drops by epoch: the order is lost if one file adds drops to another's."""
    if not drops:
        raise ValueError("give one epoch or more, each with a factor of the first rate")
    return dict(sorted(drops.items()))


def _folder(name: str) -> str:
    """Check that a text can be the name of a local folder."""
    if not name.strip():  # or an empty variable of the shell
        raise ValueError("give a folder, such as outputs=outputs")
    if not name.isprintable() or re.match(r"[A-Za-z][\w+.-]*:/", name):
        raise ValueError("give a folder on this machine")
    return name


def _all_or_some(steps: int) -> int:
    if steps < 1 and steps != -1:
        raise ValueError("give a number from 1, or -1 to let max_epochs determine the end")
    return steps


def _some_of_an_epoch(interval: float | None) -> float | None:
    """Check a number of batches, or a share of an epoch."""
    if interval is not None and (interval <= 0 or (isinstance(interval, float) and interval > 1)):
        raise ValueError("give a number of batches from 1, or a share of an epoch up to 1.0")
    return interval


def _time(limit: Any) -> Any:
    """Check a duration: Lightning's DD:HH:MM:SS, or {hours: 8}."""
    if isinstance(limit, str):
        is_known = re.fullmatch(r"\d+:\d\d:\d\d:\d\d", limit) is not None
        is_some = is_known and any(map(int, limit.split(":")))
    elif isinstance(limit, dict):
        units = {"weeks", "days", "hours", "minutes", "seconds"}
        is_some = set(limit) <= units and sum(limit.values()) > 0 and min(limit.values()) >= 0
    else:
        is_some = limit is None
    if not is_some:
        raise ValueError("give days:hours:minutes:seconds, such as 00:08:00:00, or {hours: 8}")
    return limit


class Part(Section):
    """A class or function, `_target_`, with its arguments."""

    target: str = Field(alias="_target_")

    @property
    def name(self) -> str:
        """Name of the class or function: AlexNet for alexnet.model.AlexNet."""
        return self.target.rpartition(".")[2]

    def arguments(self) -> dict[str, Any]:
        """Return the arguments that the target is called with."""
        plain = self.plain()
        del plain["_target_"]
        return plain

    if TYPE_CHECKING:  # the keys come from the target's signature

        def __getattr__(self, key: str) -> Any: ...


class Learning(Section):
    """Arguments of alexnet.learning.ClassificationTask (section 5), and when to stop."""

    stop_at_train_error: Share | None

    if TYPE_CHECKING:

        def __getattr__(self, key: str) -> Any: ...


class Training(Section):
    """Arguments of Lightning's Trainer, the number of CPU threads, and whether to compile.

    The strategy column_parallel has as many columns as the model; auto with several devices means
    data parallelism.
    """

    accelerator: Literal["auto", "cpu", "gpu", "mps"]
    devices: Positive
    num_nodes: Positive
    strategy: Literal["auto", "column_parallel"]
    precision: Literal["32-true", "64-true", "16-mixed", "bf16-mixed", "bf16-true"]
    max_epochs: Positive
    max_steps: Annotated[int, AfterValidator(_all_or_some)]
    limit_train_batches: Positive | None
    limit_val_batches: Positive | None
    limit_test_batches: Positive | None
    threads: Positive | None
    compile: bool = False
    # Checked here, because Lightning checks these only after a run has started.
    accumulate_grad_batches: Positive = 1
    check_val_every_n_epoch: Positive | None = 1
    gradient_clip_val: Annotated[int | float, Ge(0)] | None = None
    min_epochs: Count | None = None
    min_steps: Count | None = None
    overfit_batches: Annotated[int | float, Ge(0)] = 0.0
    val_check_interval: Annotated[int | float | None, AfterValidator(_some_of_an_epoch)] = None
    max_time: Annotated[Any, AfterValidator(_time)] = None

    if TYPE_CHECKING:

        def __getattr__(self, key: str) -> Any: ...


class Checkpoint(Section):
    """When checkpoints are written within an epoch; one is written after every epoch anyway."""

    minutes: Above0


def _split(given: Any) -> Any:
    """Accept a single name, allow=a.B, as a list of one."""
    return (given,) if isinstance(given, str) else given


Layout = Literal["alexnet_lab", "torchvision", "caffe"]
Arm = Annotated[dict[str, Any], BeforeValidator(lambda arm: arm or {})]
Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
Rates = dict[Initialization, dict[Nonlinearity, Above0]]


class Config(Section):
    """The whole configuration of a run; `schema_for` fills in the sections with targets."""

    seed: Count
    outputs: Annotated[str, AfterValidator(_folder)]
    fresh: bool
    plan: bool = False
    max_seeds: Positive = 20
    resume: str | None
    init_from: str | None
    init_layout: Layout = "alexnet_lab"
    deterministic: bool
    imports: Names = ()
    allow: Names = ()
    experiment: Experiment
    arms: dict[str, Arm] = Field(default_factory=dict)
    rates: Rates | None = None
    searches: dict[str, Search] = Field(default_factory=dict)
    trials: Positive | None = None
    model: Part
    data: Part
    learning: Learning
    trainer: Training
    checkpoint: Checkpoint
    callbacks: "Entries"
    logger: "Entries"


class Entries(Section):
    """Any number of named targets, such as callbacks or loggers."""

    def items(self) -> list[tuple[str, Part]]:
        """Return each target with its name."""
        fields = type(self).model_fields.items()
        return [(str(field.alias), getattr(self, name)) for name, field in fields]


class EvaluationConfig(Section):
    """The request to src/evaluate.py; `data` is None until the checkpoints have been read."""

    checkpoint: Annotated[tuple[str, ...], Field(min_length=1)]
    layout: Layout
    weights: tuple[Rate, ...] | None
    model: Part | None = None
    data: Part | None = None
    split: Literal["val", "test"]
    images: str | None
    crops: Literal[1, 10]
    predictions: str | None
    out: str | None
    figures: str | None
    neighbours_among: Count
    allow: Names


class ExportConfig(Section):
    """The request to src/export.py."""

    checkpoint: str
    format: Literal["onnx", "torch_export", "safetensors", "card", "live"]
    dest: str
    preprocess: bool
    allow: Names


_OF_A_RUN = ("save_dir", "root_dir")  # arguments of loggers and profilers: the run's folder

# Attributes of pydantic's classes, which a field of the same name would hide.
_TAKEN = frozenset(dir(Part)) - {"target"}


@lru_cache(maxsize=256)
def part_schema(target: str, kind: str) -> type[Part]:
    """Make the schema of a target from its signature. Raises NoSuchTarget if there is none."""
    found = signature_of(target)
    if kind == "model" and "num_classes" not in found.parameters and not found.takes_any:
        raise NoSuchTarget(f"{target} has no argument num_classes, which a network needs: add it")
    schema: type[Part] = create_model(
        target.rpartition(".")[2],
        __base__=Part,
        __doc__=f"Arguments of {target}.",
        target=(Literal[target], Field(alias="_target_")),  # type: ignore[arg-type]
        **_fields(found, GIVEN.get(kind, frozenset())),
    )
    if found.takes_any:
        schema.model_config = ConfigDict(extra="allow", frozen=True)
        schema.model_rebuild(force=True)
    return schema


def _fields(found: Signature, given: Collection[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, parameter in found.parameters.items():
        if name in given:
            continue
        kind: Any = parameter.type
        default: Any = ... if parameter.default is REQUIRED else parameter.default
        if default is UNKNOWN or (default is ... and name in _OF_A_RUN):
            default = None
        field_name = f"{name}_" if name in _TAKEN or name.startswith("_") else name
        alias = name if field_name != name else None
        fields[field_name.lstrip("_")] = (kind, Field(default, alias=alias))
    return fields


@lru_cache(maxsize=64)
def learning_schema(
    optimizer: str | None, scheduler: str | None, loss: str | None
) -> type[Learning]:
    """Make the schema of `learning`, whose optimizer, scheduler and loss may be targets."""
    fields = _fields(signature_of(TASK), GIVEN["learning"])
    for key, target in zip(_OF_LEARNING, (optimizer, scheduler, loss), strict=True):
        kind: Any = part_schema(target, key) if target else None
        fields[key] = (kind, None)
    drops = Annotated[dict[Count, Rate], AfterValidator(_by_epoch)]
    fields["drops"] = (dict[str, drops] | None, None)
    fields["layer_weight_decay"] = (dict[str, Rate] | None, None)
    schema: type[Learning] = create_model("Learning", __base__=Learning, **fields)
    return schema


@lru_cache(maxsize=16)
def training_schema(profiler: str | None) -> type[Training]:
    """Make the schema of `trainer`: Lightning's arguments, except those that this program sets."""
    own = Training.model_fields.keys()
    fields = _fields(signature_of(TRAINER), OWNED.keys() | own)
    if profiler:
        fields["profiler"] = (part_schema(profiler, "profiler"), None)
    schema: type[Training] = create_model("Training", __base__=Training, **fields)
    return schema


def schema_for(plain: Mapping[str, Any]) -> type[Config]:
    """Make the schema for the targets in `plain`. Raises ConfigError if one does not exist."""
    learning, trainer = _mapping(plain.get("learning")), _mapping(plain.get("trainer"))
    groups = {group: _mapping(plain.get(group)) for group in ("callbacks", "logger")}
    return _schema(
        model=_target(plain.get("model")),
        data=_target(plain.get("data")),
        learning=tuple(_target(learning.get(key)) for key in _OF_LEARNING),
        profiler=_target(trainer.get("profiler")),
        **{
            group: tuple((str(name), _target(entry)) for name, entry in entries.items())
            for group, entries in groups.items()
        },
    )


@lru_cache(maxsize=64)
def _schema(
    *,
    model: str | None,
    data: str | None,
    learning: tuple[str | None, ...],
    profiler: str | None,
    callbacks: tuple[tuple[str, str | None], ...],
    logger: tuple[tuple[str, str | None], ...],
) -> type[Config]:
    """Make one class per set of targets, so that the runs of a sweep share their schema."""
    for key, target in zip(_OF_LEARNING, learning, strict=True):
        _part(target, key, f"learning.{key}")
    _part(profiler, "profiler", "trainer.profiler")
    schema: type[Config] = create_model(
        "Config",
        __base__=Config,
        model=(_part(model, "model"), ...),
        data=(_part(data, "data"), ...),
        learning=(learning_schema(*learning), ...),
        trainer=(training_schema(profiler), ...),
        callbacks=(_entries("callbacks", callbacks), ...),
        logger=(_entries("logger", logger), ...),
    )
    return schema


def evaluation_schema_for(plain: Mapping[str, Any]) -> type[EvaluationConfig]:
    """Make the schema of an evaluation, whose network and data may be None."""
    fields: dict[str, Any] = {
        key: (_part(_target(plain[key]), key), ...)
        for key in ("model", "data")
        if plain.get(key) is not None
    }
    schema: type[EvaluationConfig] = create_model("Eval", __base__=EvaluationConfig, **fields)
    return schema


def _entries(group: str, targets: tuple[tuple[str, str | None], ...]) -> type["Entries"]:
    fields: dict[str, Any] = {
        f"entry_{number}": (_part(target, group, f"{group}.{name}"), Field(alias=name))
        for number, (name, target) in enumerate(targets)
    }
    schema: type[Entries] = create_model(group.title(), __base__=Entries, **fields)
    return schema


def _part(target: str | None, kind: str, section: str = "") -> type[Part]:
    """Return the schema of a section with a target, or Part if the target is missing.

    Raises ConfigError that names the section (by default the kind) if the target does not exist.
    """
    if target is None:
        return Part
    try:
        return part_schema(target, kind)
    except NoSuchTarget as error:
        raise ConfigError(f"{section or kind}._target_: {error}") from error


def _target(section: Any) -> str | None:
    target = section.get("_target_") if isinstance(section, Mapping) else None
    return target if isinstance(target, str) else None


def _mapping(section: Any) -> Mapping[Any, Any]:
    return section if isinstance(section, Mapping) else {}
