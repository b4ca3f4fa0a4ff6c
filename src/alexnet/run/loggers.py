"""Where metrics go besides the files of the run. The only module that imports wandb."""

import math
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from alexnet import vocabulary
from alexnet.config.schema import WANDB, ConfigError, Entries, Part
from alexnet.config.signature import signature_of
from alexnet.folders.ending import Stopped
from alexnet.folders.files import read_json, write_json
from alexnet.folders.run import RunDir, metrics_columns
from alexnet.folders.sweep import SweepDir
from alexnet.paths import install_command

if TYPE_CHECKING:
    from typing import TypeGuard

    from lightning.pytorch.loggers import Logger, WandbLogger

_PACKAGES = {
    WANDB: "wandb",
    "lightning.pytorch.loggers.WandbLogger": "wandb",
    "lightning.pytorch.loggers.TensorBoardLogger": "tensorboard",
    "lightning.pytorch.loggers.MLFlowLogger": "mlflow",
    "lightning.pytorch.loggers.NeptuneLogger": "neptune",
    "lightning.pytorch.loggers.CometLogger": "comet_ml",
}
"""What an optional logger imports."""


def missing_package(logger: Part) -> str | None:
    """What to install for a logger, in a sentence; None if nothing is missing."""
    package = _PACKAGES.get(logger.target)
    if package is None or find_spec(package) is not None:
        return None
    known = package in ("wandb", "tensorboard", "mlflow")
    remedy = install_command(package) if known else f"pip install {package}"
    return f"{logger.name} needs the package {package}: {remedy}"


@contextmanager
def loggers_of(
    entries: Entries, run: RunDir, *, experiment: str, config: Mapping[str, Any]
) -> "Iterator[list[Logger]]":
    """The loggers of a run, which end with the block; failed if it raises.

    Each is given what it takes of `save_dir` (the run's folder), `run_name`, and `tracking_uri` (in
    that folder), unless the configuration says otherwise. `config` are its flat hyper-parameters.
    """
    loggers = [_make(part, run, experiment, config) for _, part in entries.items()]
    status, end = "failed", {"state": "failed"}
    try:
        yield loggers
        status, end = "success", {"state": "finished", "error": ""}
    except Stopped:
        end = {"state": "stopped"}
        raise
    except BaseException as error:
        end["error"] = f"{type(error).__name__}: {error}"
        raise
    finally:
        for logger in loggers:
            logger.finalize(status)
        of_wandb = [each for each in loggers if _is_of_wandb(each)]
        if of_wandb:
            import wandb

            try:
                for logger in of_wandb:
                    logger.experiment.summary.update(_best(run) | end)
            finally:  # also if metrics.csv cannot be read
                wandb.finish(exit_code=0 if status == "success" else 1)


def _is_of_wandb(logger: "Logger") -> "TypeGuard[WandbLogger]":
    return any(each.__name__ == "WandbLogger" for each in type(logger).__mro__)


def _best(run: RunDir) -> dict[str, float]:
    """best/<metric> over all epochs of metrics.csv, also those before the run was resumed."""
    best = {}
    rows = run.read_metrics()
    for key, metric in vocabulary.METRICS.items():
        values = [row[key] for row in rows if math.isfinite(row.get(key, math.nan))]
        if values:
            best[f"best/{key}"] = min(values) if metric.better == "lower" else max(values)
    return best


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
    logger.log_hyperparams(dict(config))
    return logger


def WandB(
    *,
    mode: Literal["offline", "online"] = "offline",
    project: str = "alexnet-lab",
    entity: str | None = None,
    run: RunDir,
    experiment: str,
    config: Mapping[str, Any],
) -> "Logger":
    """One W&B run per run, named and grouped as the folders are. Curves are drawn over epochs.

    The configuration holds every hyper-parameter, and under plain names what dashboards group and
    filter by: sweep, arm, factor, seed, commit, hardware. The W&B id is stored in wandb.json in the
    run folder, so a resumed run continues the same W&B run, also after the folder has moved.

    W&B's step is the number of updates. Rows that are repeated after a resume are therefore dropped
    by W&B instead of appearing twice.
    """
    from lightning.pytorch.loggers import WandbLogger

    class AtTrainingStep(WandbLogger):
        def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
            self.experiment.log(dict(metrics), step=step)

    sweep = SweepDir(run.path.parent)
    planned = sweep.read_plan().get("runs", {}).get(run.name, {})
    arm = planned.get("arm", {})
    origin = run.read_provenance()
    about = {
        "sweep": f"{experiment}/{sweep.path.name}",
        "arm": ", ".join(map(str, arm.values())) or "none",
        "factor": ", ".join(arm) or "none",
        "seed": planned.get("seed", config.get("seed")),
        "commit": origin.get("commit"),
        "dirty": origin.get("dirty"),
        "hardware": origin.get("hardware", {}),
    }
    section = config.get("experiment.section")
    os.environ.pop("WANDB_RUN_ID", None)  # it would beat the id below: one for all runs of a sweep
    logger = AtTrainingStep(
        project=project,
        entity=entity,
        offline=mode == "offline",
        name=run.name,
        id=_wandb_id(run),
        save_dir=run.path,
        group=about["sweep"],
        job_type="train",
        tags=[experiment, *([f"section {section}"] if section else [])],
        config=dict(config) | about,
    )
    for key in (*metrics_columns(), *vocabulary.METRICS):
        if key != "epoch":
            logger.experiment.define_metric(key, step_metric="epoch")
    for key in (vocabulary.TRAIN_LOSS, vocabulary.TRAIN_ERROR):
        logger.experiment.define_metric(f"progress/{key}", step_metric="progress/epoch")
    return logger


def _wandb_id(run: RunDir) -> str:
    """The id in the run's wandb.json, which is written if there is none.

    Older run folders have no such file, but W&B's own folder in them is named
    wandb/offline-run-<time>-<id>.
    """
    file = run.path / "wandb.json"
    if known := read_json(file, {"id": lambda value: isinstance(value, str)}).get("id"):
        return str(known)
    earlier = sorted(run.path.glob("wandb/*run-*-*"))
    identity = earlier[-1].name.rpartition("-")[2] if earlier else uuid.uuid4().hex[:16]
    write_json(file, {"id": identity})
    return identity
