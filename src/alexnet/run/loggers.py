"""Loggers, which receive metrics and pictures in addition to the run's files."""

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alexnet import vocabulary
from alexnet.config.experiment import Experiment, Measure
from alexnet.config.schema import WANDB, ConfigError, Entries, Part
from alexnet.config.signature import signature_of
from alexnet.folders.ending import Stopped
from alexnet.folders.run import RunDir
from alexnet.paths import install_command
from alexnet.run.process import explain
from alexnet.run.wandb_runs import (
    PICTURES,
    PROJECT,
    Destination,
    Mode,
    Sent,
    begin,
    digest,
    finish,
    identity_of,
    log_checkpoints,
)

if TYPE_CHECKING:
    from typing import TypeGuard

    from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger

log = logging.getLogger(__name__)

_LIGHTNINGS_WANDB = "lightning.pytorch.loggers.WandbLogger"
_TENSORBOARD = "lightning.pytorch.loggers.TensorBoardLogger"

_PACKAGES = {
    WANDB: "wandb",
    _LIGHTNINGS_WANDB: "wandb",
    _TENSORBOARD: "tensorboard",
    "lightning.pytorch.loggers.MLFlowLogger": "mlflow",
    "lightning.pytorch.loggers.NeptuneLogger": "neptune",
    "lightning.pytorch.loggers.CometLogger": "comet_ml",
}
"""The package that each optional logger needs."""


def missing_package(logger: Part) -> str | None:
    """Return what to install for a logger, as a sentence; None if nothing is missing."""
    package = _PACKAGES.get(logger.target)
    if package is None or find_spec(package) is not None:
        return None
    known = package in ("wandb", "tensorboard", "mlflow")
    remedy = install_command(package) if known else f"pip install {package}"
    return f"{logger.name} needs the package {package}: {remedy}"


def destination_of(entries: Entries) -> Destination | None:
    """Return where W&B runs of a configuration go; None if W&B is not among its loggers."""
    for _, part in entries.items():
        if part.target == WANDB:
            given = part.arguments()
            return Destination(**{key: given[key] for key in ("mode", "project", "entity")})
    return None


def show_pictures(entries: Entries) -> bool:
    """Return whether some logger shows pictures, as W&B and TensorBoard do."""
    return any(
        part.target in (WANDB, _LIGHTNINGS_WANDB, _TENSORBOARD) for _, part in entries.items()
    )


@contextmanager
def loggers_of(
    entries: Entries, run: RunDir, *, experiment: Experiment, config: Mapping[str, Any]
) -> "Iterator[list[Logger]]":
    """Open the loggers of a run, and close them at the end of the block, as failed if it raises.

    Loggers get those of the arguments `save_dir` (the run's folder), `run_name` and `tracking_uri`
    (in that folder) that they take, unless the configuration sets them. `config` are the run's flat
    hyper-parameters.

    The summary for W&B and TensorBoard is read from the run's files. If it cannot be sent, for
    example without a network connection, the run does not fail.
    """
    loggers: list[Logger] = []
    end: dict[str, str] = {"state": "finished"}
    try:
        for _, part in entries.items():
            loggers.append(_make(part, run, experiment.name, config))
        yield loggers
    except Stopped as error:
        end = {"state": "stopped", "cause": str(error)}
        raise
    except BaseException as error:
        end = {"state": "failed", **explain(error)}
        raise
    finally:
        for logger in loggers:
            try:
                _end(logger, run, experiment.measure, config, end)
            except Exception as error:
                log.error("%s could not be closed: %s", type(logger).__name__, error)


def log_picture(loggers: "list[Logger]", name: str, file: Path, step: int) -> None:
    """Show a PNG file in those loggers that show pictures."""
    for logger in loggers:
        if _is_of_wandb(logger):
            logger.log_image(f"{PICTURES}/{name}", [str(file)], step=step)
        elif _is_of_tensorboard(logger):
            import numpy as np
            from PIL import Image

            with Image.open(file) as image:
                pixels = np.asarray(image.convert("RGB"))
            logger.experiment.add_image(f"{PICTURES}/{name}", pixels, step, dataformats="HWC")


def summary_of(run: RunDir, measure: Measure, end: Mapping[str, Any]) -> dict[str, Any]:
    """Return the summary of a run: how it ended, and numbers from its files.

    The numbers are its final metrics, best/<metric> over all epochs, including those before a
    resume, and `measure`, what the experiment measures. `censored` tells whether the run ended
    before it reached that.
    """
    result = run.read_result().get("metrics", {})
    summary = {key: end.get(key, "") for key in ("state", "cause", "error")} | result
    rows = run.read_metrics()
    for key, metric in vocabulary.METRICS.items():
        values = [row[key] for row in rows if math.isfinite(row.get(key, math.nan))]
        if values:
            summary[f"best/{key}"] = min(values) if metric.better == "lower" else max(values)
    if run.is_finished:
        summary |= _measured(run, measure, result)
    return summary


def _measured(run: RunDir, measure: Measure, result: Mapping[str, float]) -> dict[str, Any]:
    key = measure.metric
    if measure.kind == "final" and key in result:
        return {"measure": result[key]}
    for rows in (run.read_progress(), run.read_metrics()):
        known = [(row["epoch"], row[key]) for row in rows if not math.isnan(row.get(key, math.nan))]
        if known:
            value, is_censored = measure.of_curve(*zip(*known, strict=True))
            return {"measure": value, "censored": is_censored}
    return {}


def _is_of_wandb(logger: "Logger") -> "TypeGuard[WandbLogger]":
    return any(each.__name__ == "WandbLogger" for each in type(logger).__mro__)


def _is_of_tensorboard(logger: "Logger") -> "TypeGuard[TensorBoardLogger]":
    return any(each.__name__ == "TensorBoardLogger" for each in type(logger).__mro__)


def _make(part: Part, run: RunDir, experiment: str, config: Mapping[str, Any]) -> "Logger":
    from hydra.utils import get_method

    if problem := missing_package(part):
        raise ConfigError(problem)
    given = part.arguments()
    takes = signature_of(part.target).parameters
    of_run = {
        "save_dir": str(run.path),
        "run_name": run.name,
        "tracking_uri": (run.path / "mlruns").absolute().as_uri(),
    }
    for key, value in of_run.items():
        if key in takes and given.get(key) is None:
            given[key] = value
    if part.target == WANDB:
        return WandB(**given, run=run, experiment=experiment, config=config)
    logger: Logger = get_method(part.target)(**given)
    if not _is_of_tensorboard(logger):  # its table of hyper-parameters is written with the results
        logger.log_hyperparams(dict(config))
    return logger


def _end(
    logger: "Logger",
    run: RunDir,
    measure: Measure,
    config: Mapping[str, Any],
    end: Mapping[str, str],
) -> None:
    is_failed = end["state"] != "finished"
    if _is_of_tensorboard(logger):
        _end_tensorboard(logger, config, summary_of(run, measure, end))
    logger.finalize("failed" if is_failed else "success")
    if not _is_of_wandb(logger):
        return
    summary = dict(end)
    try:
        if getattr(logger, "keeps_checkpoints", False):
            log_checkpoints(logger.experiment, run)
        summary = summary_of(run, measure, end)
    finally:  # also if a file of the run cannot be read
        finish(logger.experiment, summary, is_failed=is_failed)
    if destination := getattr(logger, "destination", None):
        sent = Sent(step=getattr(logger, "last_step", -1), digest=digest(summary))
        sent.write(run.path, destination)


def _end_tensorboard(
    logger: "TensorBoardLogger", config: Mapping[str, Any], summary: Mapping[str, Any]
) -> None:
    """Write the run's row in the table of hyper-parameters, and how it ended if it failed."""
    numbers = {
        f"summary/{key}": float(value)
        for key, value in summary.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }
    logger.log_hyperparams(dict(config), metrics=numbers)
    if summary["state"] != "finished":
        words = (summary[key] for key in ("state", "cause", "error"))
        logger.experiment.add_text("end", ": ".join(filter(None, words)))


def WandB(
    *,
    mode: Mode = "offline",
    project: str = PROJECT,
    entity: str | None = None,
    checkpoints: bool = False,
    run: RunDir,
    experiment: str,
    config: Mapping[str, Any],
) -> "Logger":
    """Make a logger of one W&B run, named and grouped like the folders: wandb_runs.identity_of.

    The W&B id is stored in wandb.json in the run folder, so a resumed run continues the same W&B
    run, also after the folder has moved. With `checkpoints`, last.ckpt and best.ckpt are kept as an
    artifact when the run ends.
    """
    from lightning.pytorch.loggers import WandbLogger

    class AtTrainingStep(WandbLogger):
        destination = Destination(mode=mode, project=project, entity=entity)
        keeps_checkpoints = checkpoints
        last_step = -1

        def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
            self.experiment.log(dict(metrics), step=step)
            self.last_step = max(self.last_step, step or 0)

    identity = identity_of(run, experiment=experiment, config=config)
    return AtTrainingStep(
        experiment=begin(run.path, AtTrainingStep.destination, identity),
        project=project,
        save_dir=run.path,
        name=run.name,
        offline=mode == "offline",
    )
