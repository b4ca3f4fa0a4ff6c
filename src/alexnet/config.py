"""The configuration: its schema, the check that it holds, and the name of what it describes.

Hydra composes the files under conf/ and the command line; what comes out must be exactly what the
classes below declare. A key that no class declares, or a value of the wrong kind, is an error with
a suggestion, whether it came from a file, the command line, or behind a +. No class here has
defaults: those are in conf/.
"""

import hashlib
import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import AfterValidator, Field, ValidationError
from pydantic_core import ErrorDetails

from alexnet.experiment import Experiment, Measure, Paper, Section
from alexnet.factors import Initialization, MiddleLayer, Nonlinearity, Normalization, Pooling
from alexnet.suggest import suggest_key

PROJECT = Path(__file__).resolve().parents[2]

# Another place, another number of workers or another way of watching gives the same numbers.
NOT_PART_OF_THE_NAME = (
    "outputs",
    "fresh",
    "resume",
    "checkpoint",
    "logger",
    "data.root",
    "data.workers",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.strategy",
    "trainer.threads",
)

CONF = PROJECT / "conf"


class ConfigError(ValueError):
    """What is asked for does not exist. The text is for the person who asked."""


Positive = Annotated[int, Field(gt=0)]
Rate = Annotated[float, Field(ge=0)]
Epoch = Annotated[int, Field(ge=0)]


def _by_epoch(drops: dict[int, float]) -> dict[int, float]:
    """In the order of the epochs, which is lost where one file adds drops to another's."""
    if not drops:
        raise ValueError("give one epoch or more, each with a factor of the first rate")
    return dict(sorted(drops.items()))


class Network(Section):
    """What every network is told."""

    nonlinearity: Nonlinearity
    normalization: Normalization
    pooling: Pooling
    dropout: Annotated[float, Field(ge=0, lt=1)]
    init: Initialization
    image_size: Positive


class AlexNetConfig(Network):
    """Arguments of alexnet.model.AlexNet."""

    target: Literal["alexnet.model.AlexNet"] = Field(alias="_target_")
    columns: Positive
    channels: tuple[Positive, Positive, Positive, Positive, Positive]
    hidden: tuple[Positive, Positive]
    columns_cross: bool
    removed: tuple[MiddleLayer, ...]
    sixth_convolution: bool
    lrn_size: Positive
    lrn_alpha: Rate
    lrn_beta: Rate
    lrn_k: Annotated[float, Field(gt=0)]
    lrn_alpha_is_divided_by_size: bool
    norm1_before_nonlinearity: bool
    same_map_norm: bool
    dropout_is_inverted: bool


class CifarNetConfig(Network):
    """Arguments of alexnet.model.CifarNet."""

    target: Literal["alexnet.model.CifarNet"] = Field(alias="_target_")
    init: Literal["source_2012", "he"]


class CifarLocalNetConfig(Network):
    """Arguments of alexnet.model.CifarLocalNet."""

    target: Literal["alexnet.model.CifarLocalNet"] = Field(alias="_target_")
    init: Literal["source_2012", "he"]


class DataSet(Section):
    """What every data set is told."""

    batch_size: Positive
    workers: Annotated[int, Field(ge=0)]
    augmentation: Literal["none", "crop24", "crop224", "pad4"]
    crop_block: Positive
    color_noise: Rate
    color_noise_scale: Literal["variance", "deviation"]
    color_noise_rescale: bool
    color_noise_epochs: Annotated[int, Field(ge=0)] | None
    image_size: Positive


class CIFAR10Config(DataSet):
    """Arguments of alexnet.data.CIFAR10."""

    target: Literal["alexnet.data.CIFAR10"] = Field(alias="_target_")
    root: str | None
    verify: bool


class ImageNetConfig(DataSet):
    """Arguments of alexnet.data.ImageNet."""

    target: Literal["alexnet.data.ImageNet"] = Field(alias="_target_")
    root: str | None
    classes: Positive | list[str] | None
    fraction: Annotated[float, Field(gt=0, le=1)]


class MNIST5kConfig(DataSet):
    """Arguments of alexnet.data.MNIST5k."""

    target: Literal["alexnet.data.MNIST5k"] = Field(alias="_target_")


class SyntheticConfig(DataSet):
    """Arguments of alexnet.data.Synthetic."""

    target: Literal["alexnet.data.Synthetic"] = Field(alias="_target_")
    num_images: Positive
    num_classes: Positive
    size: Positive | None


class Learning(Section):
    """Arguments of alexnet.learning.ClassificationTask, section 5."""

    lr: Annotated[float, Field(gt=0)]
    bias_lr_factor: Rate
    momentum: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: Rate
    bias_weight_decay: Rate
    layer_weight_decay: dict[str, Rate] | None
    schedule: Literal["constant", "plateau", "by_epoch"]
    patience: Positive
    drops: dict[str, Annotated[dict[Epoch, Rate], AfterValidator(_by_epoch)]] | None
    stop_at_train_error: Annotated[float, Field(gt=0, lt=1)] | None


class Training(Section):
    """Arguments of lightning's Trainer, and the number of CPU threads.

    The strategy column_parallel has as many columns as the model; auto with several devices is data
    parallelism.
    """

    accelerator: Literal["auto", "cpu", "gpu"]
    devices: Positive
    num_nodes: Positive
    strategy: Literal["auto", "column_parallel"]
    precision: Literal["32-true", "64-true", "16-mixed", "bf16-mixed", "bf16-true"]
    max_epochs: Positive
    max_steps: int
    limit_train_batches: Positive | None
    limit_val_batches: Positive | None
    limit_test_batches: Positive | None
    threads: Positive | None


class WandB(Section):
    """Weights & Biases."""

    mode: Literal["offline", "online"]
    project: str
    entity: str | None


class Checkpoint(Section):
    """When checkpoints are written, beside the end of every epoch."""

    minutes: Annotated[float, Field(gt=0)]


class Logger(Section):
    """Where metrics go besides the files of the run."""

    wandb: WandB | None


class Arms(Section):
    """Values that belong to an arm, by level: lr[init][nonlinearity]."""

    lr: dict[Initialization, dict[Nonlinearity, float]] | None


AnyNetwork = Annotated[
    AlexNetConfig | CifarNetConfig | CifarLocalNetConfig, Field(discriminator="target")
]
AnyDataSet = Annotated[
    CIFAR10Config | ImageNetConfig | MNIST5kConfig | SyntheticConfig, Field(discriminator="target")
]


class Config(Section):
    """All of it."""

    seed: Annotated[int, Field(ge=0)]
    outputs: str
    fresh: bool
    resume: str | None
    init_from: str | None
    deterministic: bool
    experiment: Experiment
    arms: Arms
    model: AnyNetwork
    data: AnyDataSet
    learning: Learning
    trainer: Training
    checkpoint: Checkpoint
    logger: Logger


class EvaluationConfig(Section):
    """What src/evaluate.py is asked; `data` are None until the checkpoints have been read."""

    checkpoint: Annotated[tuple[str, ...], Field(min_length=1)]
    layout: Literal["alexnet_lab", "torchvision", "caffe"]
    weights: tuple[Rate, ...] | None
    model: AnyNetwork | None = None
    data: AnyDataSet | None = None
    split: Literal["val", "test"]
    images: str | None
    crops: Literal[1, 10]
    predictions: str | None
    out: str | None
    figures: str | None
    neighbours_among: Annotated[int, Field(ge=0)]


S = TypeVar("S", bound=Section)


def check(composed: Any) -> Config:
    """What Hydra composed, as a Config.

    Raises ConfigError that names every wrong key and value, with suggestions.
    """
    config = _validated(Config, composed)
    if problem := _contradiction(config):
        raise ConfigError(problem)
    return config


def check_evaluation(composed: Any) -> EvaluationConfig:
    """The same for what Hydra composed for src/evaluate.py."""
    config = _validated(EvaluationConfig, composed)
    if problem := _contradiction_of_evaluation(config):
        raise ConfigError(problem)
    return config


def _validated(schema: type[S], composed: Any) -> S:
    try:
        return schema.model_validate(OmegaConf.to_container(composed, resolve=True))
    except OmegaConfBaseException as error:
        raise ConfigError(str(error).splitlines()[0]) from error
    except ValidationError as error:
        raise ConfigError(explain(error, schema)) from error


def load(file: Path) -> Config:
    """The Config that a run folder holds."""
    return check(OmegaConf.load(file))


def sweep_name(data: str, base: Config, swept: Collection[str]) -> str:
    """Name of a sweep: the data set, and a hash of all that its runs have in common.

    `base` is the configuration without what is swept, so that more levels or seeds join the same
    folder. Of a swept group (trainer=cpu,two_columns) it holds the default's values, and those of
    the command line, which tell trainer.max_epochs=2 from 3.
    """
    plain = base.plain()
    groups = {key for key in swept if isinstance(plain.get(key), dict)}
    for key in {*NOT_PART_OF_THE_NAME, *swept} - groups:
        _remove(plain, key)
    text = json.dumps(plain, sort_keys=True)
    return f"{data}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def confounds(one: Config, other: Config) -> set[str]:
    """The dotted keys in which two configurations differ."""
    left, right = flatten(one.plain()), flatten(other.plain())
    return {key for key in left.keys() | right.keys() if left.get(key) != right.get(key)}


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"model": {"init": "he"}} -> {"model.init": "he"}."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def sections(schema: type[Section] = Config) -> dict[str, set[str]]:
    """Every section of the schema with its keys; "" is the top."""
    members: dict[str, tuple[type[Section], ...]] = {
        "": (schema,),
        "model": (AlexNetConfig, CifarNetConfig, CifarLocalNetConfig),
        "data": (CIFAR10Config, ImageNetConfig, MNIST5kConfig, SyntheticConfig),
        "learning": (Learning,),
        "trainer": (Training,),
        "checkpoint": (Checkpoint,),
        "logger": (Logger,),
        "logger.wandb": (WandB,),
        "experiment": (Experiment,),
        "experiment.measure": (Measure,),
        "experiment.paper": (Paper,),
        "arms": (Arms,),
    }
    return {
        name: {key for each in classes for key in each.model_fields} - {"target"}
        for name, classes in members.items()
        if schema is Config or name in ("", "model", "data")
    }


def _keys_of(target: str) -> set[str]:
    """Of a class that the configuration can choose: alexnet.model.AlexNet."""
    return {
        key
        for each in (*Network.__subclasses__(), *DataSet.__subclasses__())
        if target in get_args(each.model_fields["target"].annotation)
        for key in each.model_fields.keys() - {"target"}
    }


def explain(error: ValidationError, schema: type[Section] = Config) -> str:
    """One line for each mistake, with suggestions from the schema."""
    known = sections(schema)
    lines = (_explain(each, known) for each in error.errors(include_url=False))
    return "\n".join(dict.fromkeys(lines))


def _explain(error: ErrorDetails, known: Mapping[str, Collection[str]]) -> str:
    """One line for one error of pydantic's: the key, what is wrong, what was given."""
    # A union puts the name of its member into the path: alexnet.model.AlexNet is no key.
    # And [key] stands behind a key that is wrong itself.
    path = [str(part) for part in error["loc"] if "." not in str(part) and part != "[key]"]
    key, given = ".".join(path), error["input"]
    if error["type"] == "extra_forbidden":
        tag = next((str(part) for part in error["loc"] if "." in str(part)), "")
        return f"unknown key {key}: {suggest_key(key, known, _keys_of(tag))}"
    if error["type"] == "missing" or given == "???":
        return f"{key} is missing"
    if error["type"] == "literal_error":
        allowed = error["ctx"]["expected"].replace("'", "")
        return f"{key}={given} is not possible: choose {allowed}"
    if error["type"] == "union_tag_invalid":
        allowed, tag = error["ctx"]["expected_tags"].replace("'", ""), error["ctx"]["tag"]
        return f"{key}._target_={tag} has no schema in alexnet/config.py: there is {allowed}"
    if error["type"] == "tuple_type":
        return f"{key}={given} is not possible: give a list, {key}=[{given}]"
    why = error["msg"].removeprefix("Value error, ")
    return f"{key}={given} is not possible: {why[0].lower()}{why[1:]}"


def _contradiction(config: Config) -> str | None:
    """What cannot be, although each value by itself could."""
    model, trainer, learning = config.model, config.trainer, config.learning
    if isinstance(model, AlexNetConfig) and (problem := _impossible_network(model)):
        return problem
    if learning.schedule == "by_epoch" and not learning.drops:
        return (
            "learning.schedule=by_epoch without learning.drops is schedule=constant: set "
            "learning.drops='{weights: {23: 0.1}}', or choose learning=source_2012"
        )
    if learning.drops and learning.schedule != "by_epoch":
        return (
            f"learning.drops are for learning.schedule=by_epoch, which is {learning.schedule}: set "
            "learning.drops=null, or learning.schedule=by_epoch"
        )
    most = max(4, 2 * (os.cpu_count() or 1))
    if trainer.accelerator != "gpu" and trainer.devices > most:
        return (
            f"trainer.devices={trainer.devices} are too many processes for this machine: "
            f"at most {most} on a CPU"
        )
    if trainer.strategy != "column_parallel":
        return None
    if not isinstance(model, AlexNetConfig):
        name = model.target.rpartition(".")[2]
        return (
            f"{name} has no columns that could be processes: choose model=alexnet, or trainer=auto"
        )
    if model.columns == 1:
        return "model.columns=1 leaves nothing to divide: choose model.columns=2, or trainer=auto"
    processes = trainer.devices * trainer.num_nodes
    if processes % model.columns:
        return (
            f"trainer.devices={trainer.devices} on trainer.num_nodes={trainer.num_nodes} are "
            f"{processes} processes, no multiple of model.columns={model.columns}"
        )
    if trainer.precision == "16-mixed":
        return (
            "trainer.precision=16-mixed skips steps process by process, so that columns would "
            "drift apart: choose bf16-mixed"
        )
    return None


def _impossible_network(model: AlexNetConfig) -> str | None:
    widths = (*model.channels, *model.hidden)
    if any(width % model.columns for width in widths):
        return (
            f"model.columns={model.columns} does not divide every layer into equal parts: "
            f"model.channels={list(model.channels)}, model.hidden={list(model.hidden)}"
        )
    if model.columns == 1 and not model.columns_cross:
        return (
            "model.columns_cross=false needs columns that could cross, but model.columns=1: choose "
            "model.columns=2, or model.columns_cross=true"
        )
    if model.lrn_size % 2 == 0:
        return (
            f"model.lrn_size={model.lrn_size} is not possible: the window is centred on its map, "
            "choose an odd size"
        )
    return None


def _contradiction_of_evaluation(config: EvaluationConfig) -> str | None:
    count, weights = len(config.checkpoint), config.weights
    if weights is not None and len(weights) != count:
        return f"weights={list(weights)} are {len(weights)} weights for {count} checkpoints"
    if weights is not None and not sum(weights):
        return f"weights={list(weights)} add up to nothing"
    if config.model is not None and config.layout != "caffe":
        return f"model is not for the command line here: layout={config.layout} says which it is"
    if config.images is not None:
        if config.split != "test" or config.out:
            return f"images={config.images} have no labels: leave split and out away"
        if not config.predictions and not config.figures:
            return f"images={config.images} need predictions=FILE.csv, where their labels shall go"
    return None


def _remove(plain: dict[str, Any], key: str) -> None:
    *sections, last = key.split(".")
    node: Any = plain
    for section in sections:
        node = node.get(section)
        if not isinstance(node, dict):
            return
    node.pop(last, None)


def _describe_files(group: str) -> str:
    """One line for each file of a group: its name and the first line of its header."""
    lines = []
    for file in sorted((CONF / group).glob("*.yaml")):
        # The first line of an experiment may be Hydra's own: # @package _global_
        headers = [line[2:] for line in file.read_text().splitlines() if line.startswith("# ")]
        header = next((line for line in headers if not line.startswith("@")), "")
        lines.append(f"  {file.stem:<20} {header}")
    return "\n".join(lines)


def _describe_groups() -> str:
    """One line for each group: its name and its choices."""
    groups = sorted(path for path in CONF.iterdir() if path.is_dir())
    return "\n".join(
        f"  {group.name:<20} {' | '.join(sorted(file.stem for file in group.glob('[!_]*.yaml')))}"
        for group in groups
        if group.name not in ("hydra", "experiment", "arm")
    )


OmegaConf.register_new_resolver("describe_files", _describe_files, replace=True)
OmegaConf.register_new_resolver("describe_groups", _describe_groups, replace=True)
