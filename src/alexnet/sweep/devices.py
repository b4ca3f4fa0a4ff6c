"""The devices of a machine, and the share of them that each run may use."""

import itertools
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from alexnet.config.schema import ConfigError


@dataclass(frozen=True)
class Share:
    """The share of a process: GPUs by index, or a number of threads (0: torch's default)."""

    gpus: tuple[str, ...] = ()
    threads: int = 0

    def environment(self) -> dict[str, str]:
        """Return the environment variables by which torch is limited to this share."""
        if self.gpus:
            return {"CUDA_VISIBLE_DEVICES": ",".join(self.gpus)}
        return {"OMP_NUM_THREADS": str(self.threads)} if self.threads else {}


class Devices:
    """Divides the devices of a machine among runs, `places` of which may run at once."""

    def __init__(self, *, gpus: Sequence[str], places: int, threads: int = 0) -> None:
        self._gpus = set(gpus)
        self._free = list(gpus)
        self._places = places
        self._threads = threads

    @classmethod
    def of_this_machine(cls, parallel: int | str) -> "Devices":
        """Return this machine's visible GPUs; its cores are divided by `parallel` if a number."""
        gpus = gpus_here()
        if parallel == "auto":
            return cls(gpus=gpus, places=max(1, len(gpus)))
        places, cores = int(parallel), os.cpu_count() or 1
        return cls(gpus=gpus, places=places, threads=max(1, cores // places))

    def take(self, wanted_gpus: int) -> Share | None:
        """Return a share for a run that needs this number of GPUs; None if it has to wait."""
        if not self._places:
            return None
        if not self._gpus or not wanted_gpus:
            self._places -= 1
            return Share(threads=self._threads)
        if wanted_gpus > len(self._free) and len(self._free) < len(self._gpus):
            return None
        # A run that needs more than the machine has gets all, and then reports the error itself.
        self._places -= 1
        taken, self._free = tuple(self._free[:wanted_gpus]), self._free[wanted_gpus:]
        return Share(gpus=taken)

    def give_back(self, share: Share) -> None:
        """Return the share of a run that has ended."""
        self._places += 1
        self._free = [*self._free, *share.gpus]


def check_parallel(parallel: object) -> None:
    """Raise ConfigError if `parallel` is not a possible number of runs at once."""
    if parallel != "auto" and not (type(parallel) is int and parallel > 0):
        raise ConfigError(
            f"hydra.launcher.parallel={parallel} is not possible: give auto, or a number from 1"
        )


def gpus_here() -> list[str]:
    """Return the GPUs of this machine that CUDA_VISIBLE_DEVICES does not hide, as for CUDA."""
    count = _count()
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is None:
        return [str(index) for index in range(count)]
    named = (each.strip() for each in visible.split(","))
    # The first invalid index hides those after it. Names such as GPU-8932f937 are also possible.
    can_be = itertools.takewhile(lambda gpu: not _is_number(gpu) or 0 <= int(gpu) < count, named)
    return [gpu for gpu in can_be if gpu] if count else []


def _is_number(gpu: str) -> bool:
    return re.fullmatch(r"-?\d+", gpu) is not None


def _count() -> int:
    """Return the number of GPUs of the machine, hidden ones included."""
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"],
            capture_output=True, text=True, check=True, timeout=20,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):  # in a container, perhaps
        return len(list(Path("/dev").glob("nvidia[0-9]*")))
    return len(listed.stdout.split())
