import os
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from alexnet.config.experiment import Section
from alexnet.config.explain import explain
from alexnet.config.schema import AlexNetConfig, Config, ConfigError, EvaluationConfig

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
