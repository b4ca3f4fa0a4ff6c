"""Where metrics go besides the files of the run. The only module that imports wandb."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from alexnet.config.schema import WANDB, ConfigError, Entries, Part
from alexnet.config.signature import signature_of
from alexnet.folders.run import RunDir
from alexnet.paths import install_command

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

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
    status = "failed"
    try:
        yield loggers
        status = "success"
    finally:
        for logger in loggers:
            logger.finalize(status)
        if any(type(logger).__name__ == "WandbLogger" for logger in loggers):
            import wandb

            wandb.finish(exit_code=0 if status == "success" else 1)


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
    """One W&B run for the run.

    Runs are grouped by their sweep, with the experiment as job type. The id comes from the run's
    folder, so that a run which goes on is the same run there.
    """
    from lightning.pytorch.loggers import WandbLogger

    sweep = run.path.parent
    os.environ.pop("WANDB_RUN_ID", None)  # it would beat the id below: one for all runs of a sweep
    logger = WandbLogger(
        project=project,
        entity=entity,
        offline=mode == "offline",
        name=run.name,
        id=hashlib.sha256(str(run.path.resolve()).encode()).hexdigest()[:16],
        save_dir=run.path,
        group=f"{experiment}/{sweep.name}",
        job_type=experiment,
        config=dict(config),
    )
    _ = logger.experiment
    return logger
