"""Where a run came from."""

import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import version
from typing import Any

from alexnet.paths import PROJECT

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
