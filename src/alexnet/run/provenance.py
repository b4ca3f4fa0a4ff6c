"""Where a run came from, and Weights & Biases. The only module that imports wandb."""

import hashlib
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from alexnet.config.schema import WandB
from alexnet.folders.run import RunDir
from alexnet.paths import PROJECT

if TYPE_CHECKING:
    from lightning.pytorch.loggers import WandbLogger

PACKAGES = ("torch", "torchvision", "lightning", "torchmetrics", "hydra-core", "numpy", "mlxtend")


def provenance(*, threads: int, command: str) -> dict[str, Any]:
    """Commit, versions, hardware, threads and command of this process, as plain data."""
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "versions": {"python": platform.python_version()}
        | {each: version(each) for each in PACKAGES},
        "hardware": {"cpu": _cpu(), "cores": os.cpu_count(), "gpus": gpus, "host": platform.node()},
        "threads": threads,
        "command": command,
    }


def command_line() -> str:
    """This process's command, as one would type it."""
    return shlex.join(["python", *sys.argv])


@contextmanager
def wandb_run(
    settings: WandB | None, run: RunDir, *, experiment: str, config: Mapping[str, Any]
) -> Iterator["list[WandbLogger]"]:
    """One W&B run for the run, as a list of loggers for the Trainer; [] without settings.

    Runs are grouped by their sweep, with the experiment as job type, and end failed if the block
    raises. The id comes from the run's folder, so that a run which goes on is the same run there.
    """
    if settings is None:
        yield []
        return
    import wandb
    from lightning.pytorch.loggers import WandbLogger

    sweep = run.path.parent
    logger = WandbLogger(
        project=settings.project,
        entity=settings.entity,
        offline=settings.mode == "offline",
        name=run.name,
        id=hashlib.sha256(str(run.path.resolve()).encode()).hexdigest()[:16],
        save_dir=run.path,
        group=f"{experiment}/{sweep.name}",
        job_type=experiment,
        config=dict(config),
    )
    exit_code = 1
    try:
        _ = logger.experiment
        yield [logger]
        exit_code = 0
    finally:
        wandb.finish(exit_code=exit_code)


def _git(*arguments: str) -> str | None:
    """What git answers about the project; None where there is no git or no repository."""
    try:
        return subprocess.run(
            ["git", "-C", str(PROJECT), *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":")[1].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
