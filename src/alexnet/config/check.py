import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError
from yaml import YAMLError

from alexnet.config.experiment import Section
from alexnet.config.explain import explain
from alexnet.config.forward import read_forward
from alexnet.config.learning_rules import refused_settings
from alexnet.config.names import flatten
from alexnet.config.schema import (
    ALEXNET,
    AUTO,
    PAPER_SGD,
    Config,
    ConfigError,
    EvaluationConfig,
    ExportConfig,
    Part,
    evaluation_schema_for,
    schema_for,
)
from alexnet.config.searches import value_found
from alexnet.config.signature import signature_of

S = TypeVar("S", bound=Section)

OmegaConf.register_new_resolver("searched", value_found, replace=True)
_WHILE_RESOLVING = "raised while resolving interpolation: "

SYNTHETIC = "alexnet.data.Synthetic"
_MOST_PROCESSES = 256  # threads, or workers that load images
_OF_WEIGHTS = ("model.channels", "model.hidden", "data.num_classes")
_OF_IMAGES = ("data.num_images", "data.num_classes", "data.size", "data.image_size")


def check(composed: Any) -> Config:
    """Check what Hydra composed, and return it as a Config.

    Modules named in `imports` are imported first. Raises ConfigError that names every wrong key and
    value, with suggestions.
    """
    return check_resolved(resolved(composed))


def check_resolved(plain: Mapping[str, Any]) -> Config:
    """Check plain data without interpolations, as `check` does."""
    plain = read_forward(plain)
    _import(plain.get("imports") or ())
    return _checked(plain)


def check_evaluation(composed: Any) -> EvaluationConfig:
    """Check what Hydra composed for src/evaluate.py."""
    plain = resolved(composed)
    config = _validated(evaluation_schema_for(plain), plain)
    if problem := _contradiction_of_evaluation(config):
        raise ConfigError(problem)
    return config


def check_export(composed: Any) -> ExportConfig:
    """Check what Hydra composed for src/export.py."""
    return _validated(ExportConfig, resolved(composed))


def load(file: Path, *, allow: Collection[str] = ()) -> Config:
    """Read the Config in a run folder, of this version or an earlier one.

    Of the modules and classes that the file names, only modules in `imports` that `allow` contains
    are imported. Raises ConfigError with the name of the file.
    """
    stored = read_stored(file)
    try:
        plain = read_forward(resolved(stored), where=str(file))
        _import([name for name in plain.get("imports") or () if name in allow])
        return _checked(plain)
    except ConfigError as error:
        raise ConfigError(f"{file}, the configuration of the run: {error}") from error


def read_stored(file: Path) -> DictConfig:
    """Read the configuration of a run, unchecked. Raises ConfigError with the file's name."""
    try:
        stored = OmegaConf.load(file)
    except (OSError, YAMLError, UnicodeDecodeError, OmegaConfBaseException) as error:
        raise ConfigError(f"{file} is damaged ({' '.join(str(error).split())})") from error
    if not isinstance(stored, DictConfig) or not stored:
        raise ConfigError(f"{file} is damaged: it contains no configuration")
    missing = [key for key in ("model", "data", "learning", "trainer") if key not in stored]
    if missing:
        raise ConfigError(f"{file} is damaged: it lacks {', '.join(missing)}")
    return stored


def refuse_16_bits_of_a_cpu(config: Config) -> None:
    """Refuse 16-mixed for a run on a CPU, where Lightning would use bfloat16 instead."""
    if config.trainer.precision == "16-mixed":
        raise ConfigError(
            "trainer.precision=16-mixed needs a GPU: a CPU would train in bfloat16 instead. Choose "
            "trainer.precision=bf16-mixed or 32-true"
        )


def refuse_several_machines(config: Config) -> None:
    """Refuse several machines if no launcher starts their processes: the run would wait forever."""
    if config.trainer.num_nodes > 1:
        raise ConfigError(
            f"trainer.num_nodes={config.trainer.num_nodes} needs torchrun or srun, which start the "
            "processes of all machines: run the same command under one of them"
        )


def without_hydra(composed: DictConfig) -> DictConfig:
    """Copy the settings of a run, without Hydra's own; seed=auto becomes a number."""
    told = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    if told.get("seed") == AUTO:
        told.seed = 0
    return told


def resolved(composed: Any) -> dict[str, Any]:
    """Resolve what Hydra composed into plain data. Raises ConfigError if that is impossible."""
    try:
        plain = OmegaConf.to_container(composed, resolve=True)
    except OmegaConfBaseException as error:
        first = str(error).splitlines()[0]
        # The message of our own resolver is written for the user.
        raise ConfigError(first.removeprefix(f"NothingFound {_WHILE_RESOLVING}")) from error
    if not isinstance(plain, dict):
        raise ConfigError("this is not a configuration")
    return {str(key): value for key, value in plain.items()}


def _checked(plain: Mapping[str, Any]) -> Config:
    config = _validated(schema_for(plain), plain)
    if problem := _contradiction(config) or _excess(config):
        raise ConfigError(problem)
    return config


def _validated(schema: type[S], plain: Mapping[str, Any]) -> S:
    try:
        config = schema.model_validate(plain)
    except ValidationError as error:
        raise ConfigError(explain(error, schema, plain)) from error
    if problems := list(_truths_taken_for_numbers(plain, config.plain())):
        raise ConfigError("\n".join(problems))
    return config


def _truths_taken_for_numbers(given: Any, taken: Any, key: str = "") -> Iterator[str]:
    """Yield a line for each true or false that pydantic has read as 1 or 0."""
    if isinstance(given, bool) and isinstance(taken, int | float) and given is not taken:
        word = "true" if given else "false"
        yield f"{key}={word} is not possible: give a number"
    elif isinstance(given, Mapping) and isinstance(taken, Mapping):
        for name in given.keys() & taken.keys():
            dotted = f"{key}.{name}" if key else str(name)
            yield from _truths_taken_for_numbers(given[name], taken[name], dotted)
    elif isinstance(given, list) and isinstance(taken, list):
        for one, other in zip(given, taken, strict=False):
            yield from _truths_taken_for_numbers(one, other, key)


def _import(names: Iterable[str]) -> None:
    """Import the modules that register levels or metrics."""
    for name in names:
        try:
            import_module(name)
        except Exception as error:  # whatever the user's module raises
            what = f"{type(error).__name__}: {error}"
            raise ConfigError(f"imports: {name} cannot be imported ({what})") from error


def _contradiction(config: Config) -> str | None:
    """Explain values that contradict each other, though each is valid by itself; None if fine."""
    model, trainer, learning = config.model, config.trainer, config.learning
    takes_in, size = (getattr(each, "image_size", None) for each in (model, config.data))
    if takes_in is not None and size is not None and takes_in != size:
        return (
            f"data.image_size={size} differs from the network's model.image_size={takes_in}: "
            "leave data.image_size out; images are scaled to the network's size"
        )
    if model.target == ALEXNET and (problem := _impossible_network(model)):
        return problem
    optimizer = learning.optimizer.target if learning.optimizer else PAPER_SGD
    takes = signature_of(optimizer)
    names = [*takes.parameters, *(["**"] if takes.takes_any else [])]
    if problems := refused_settings(names, optimizer, learning.plain()):
        return "\n".join(problems)
    if learning.schedule == "by_epoch" and not learning.drops:
        return (
            "learning.schedule=by_epoch needs learning.drops: set "
            "learning.drops='{weights: {23: 0.1}}', or choose learning=source_2012"
        )
    if learning.drops and learning.schedule != "by_epoch":
        return (
            "learning.drops need learning.schedule=by_epoch, but the schedule is "
            f"{learning.schedule}: set learning.drops=null, or learning.schedule=by_epoch"
        )
    if config.init_layout != "alexnet_lab" and not config.init_from:
        return f"init_layout={config.init_layout} needs init_from: add init_from=CHECKPOINT"
    most = max(4, 2 * (os.cpu_count() or 1))
    if trainer.accelerator != "gpu" and trainer.devices > most:
        return (
            f"trainer.devices={trainer.devices} is too many processes for this machine: "
            f"at most {most} on a CPU"
        )
    if trainer.strategy != "column_parallel":
        return None
    if model.target != ALEXNET:
        return (
            f"trainer=two_columns needs a network with columns, but {model.name} has none: choose "
            "model=alexnet, or trainer=auto"
        )
    if model.columns == 1:
        return "model.columns=1 cannot be divided: choose model.columns=2, or trainer=auto"
    processes = trainer.devices * trainer.num_nodes
    if processes % model.columns:
        return (
            f"trainer.devices={trainer.devices} on trainer.num_nodes={trainer.num_nodes} are "
            f"{processes} processes: choose a multiple of model.columns={model.columns}"
        )
    if trainer.precision == "16-mixed":
        return (
            "trainer.precision=16-mixed skips steps in each process separately, so the columns "
            "would diverge from each other: choose bf16-mixed"
        )
    return None


def _excess(config: Config) -> str | None:
    """Explain what exceeds this machine; lower bounds, so that nothing possible is refused."""
    # The command may run on a machine with few cores and start runs on others with many.
    most = max(_MOST_PROCESSES, 4 * (os.cpu_count() or 1))
    counts = {
        "trainer.threads": config.trainer.threads,
        "data.workers": getattr(config.data, "workers", 0),
    }
    for key, count in counts.items():
        if count is not None and count > most:
            return f"{key}={count} is too many for this machine: at most {most}"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for keys, needed in (
        (_OF_WEIGHTS, _bytes_of_weights(config)),
        (_OF_IMAGES, _bytes_of_images(config)),
    ):
        if needed > memory:
            given = flatten(config.plain())
            listed = ", ".join(f"{key}={given[key]}" for key in keys if given.get(key) is not None)
            return (
                f"{listed} needs at least {needed / 1e9:,.0f} GB of memory, this machine has "
                f"{memory / 1e9:,.0f}: give smaller numbers"
            )
    return None


def _bytes_of_weights(config: Config) -> int:
    """Return the bytes of AlexNet's fully connected weights and their gradients, in float32."""
    if config.model.target != ALEXNET:
        return 0
    widths = [config.model.channels[-1], *config.model.hidden]
    widths.append(getattr(config.data, "num_classes", None) or 1)
    weights = sum(inputs * outputs for inputs, outputs in pairwise(widths))
    return 8 * weights // config.model.columns


def _bytes_of_images(config: Config) -> int:
    """Return the bytes of synthetic images in memory: one for each pixel of three colours."""
    data = config.data
    count = getattr(data, "num_images", None)
    if data.target != SYNTHETIC or count is None:
        return 0
    size: int = data.size or data.image_size or 1
    return 3 * size**2 * max(count, data.num_classes)


def _impossible_network(model: Part) -> str | None:
    widths = (*model.channels, *model.hidden)
    if any(width % model.columns for width in widths):
        return (
            f"model.columns={model.columns} does not divide every layer into equal parts: "
            f"model.channels={list(model.channels)}, model.hidden={list(model.hidden)}"
        )
    if model.columns == 1 and not model.columns_cross:
        return (
            "model.columns_cross=false needs several columns, but model.columns=1: choose "
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
        return f"weights={list(weights)} add up to 0: give a positive weight"
    if config.model is not None and config.layout != "caffe":
        return f"model cannot be set for layout={config.layout}: the checkpoint names its network"
    if config.images is not None:
        if config.split != "test" or config.out:
            return f"images={config.images} have no labels: leave out split and out"
        if not config.predictions and not config.figures:
            return f"images={config.images} need predictions=FILE.csv for the predicted labels"
    return None
