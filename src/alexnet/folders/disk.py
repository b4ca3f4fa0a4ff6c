"""The cost of a run in time, memory and disk, known early in the run. Standard library only.

The process of the run measures it and writes it into status.json; the launcher prints it.
"""

import logging
import math
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

log = logging.getLogger(__name__)

# Checkpoints that may exist at once: last, the one before it, best, and the one being written.
MOST_CHECKPOINTS = 4
# A run that is killed is lost unless there is a complete checkpoint beside the one being written.
LEAST_CHECKPOINTS = 2
# A finished run keeps last and best.
KEPT_CHECKPOINTS = 2


@dataclass(frozen=True, kw_only=True)
class Disk:
    """Disk space for the checkpoints of a run, in bytes."""

    checkpoint: int  # size of one
    there: int  # size of those that exist
    free: int

    @classmethod
    def of(cls, folder: Path, *, checkpoint: int) -> Self:
        """Measure the folder of a run's checkpoints, which need not exist yet."""
        files = {file.stat().st_ino: file.stat().st_size for file in folder.glob("*.ckpt")}
        root = next(each for each in (folder, *folder.parents) if each.exists())
        free = shutil.disk_usage(root).free
        return cls(checkpoint=checkpoint, there=sum(files.values()), free=free)

    @property
    def most(self) -> int:
        """The most that the checkpoints will take at once."""
        return MOST_CHECKPOINTS * self.checkpoint

    def holds(self, checkpoints: int) -> bool:
        """Whether this many checkpoints fit at once, one of which is still to be written."""
        return self.free >= max(self.checkpoint, checkpoints * self.checkpoint - self.there)

    def check(self, run: Path) -> None:
        """Warn if not all checkpoints fit; raise OSError if not even LEAST_CHECKPOINTS do."""
        if not self.holds(LEAST_CHECKPOINTS):
            raise OSError(
                f"the disk of {run} is too full: a checkpoint takes {space(self.checkpoint)}, "
                f"{LEAST_CHECKPOINTS} must fit at the same time, and {space(self.free)} are free. "
                "Free some space, or set outputs=FOLDER on another disk"
            )
        if not self.holds(MOST_CHECKPOINTS):
            log.warning("the disk of %s may fill up: %s", run, self.describe())

    def describe(self) -> str:
        """Say how much the checkpoints will take, and how much is free."""
        text = f"checkpoints take up to {space(self.most)} of disk, {space(self.free)} are free"
        return text if self.holds(MOST_CHECKPOINTS) else f"{text}: NOT ENOUGH"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The time, memory and disk that one run will take."""

    images_per_second: float
    seconds: float  # remaining
    seconds_in_all: float  # with the time before a checkpoint that the run continues from
    may_end_earlier: bool
    memory_bytes: float  # per process
    processes: int
    disk: Disk

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> Self:
        """Read back the output of `plain`."""
        return cls(**{**plain, "disk": Disk(**plain["disk"])})

    def plain(self) -> dict[str, Any]:
        """Return nested dictionaries for status.json."""
        return asdict(self)

    def describe(self) -> str:
        """Describe the cost of the run in a line."""
        each = f" in each of {self.processes} processes" if self.processes > 1 else ""
        return (
            f"{self.images_per_second:,.0f} images/s, {self._about} {duration(self.seconds)} to "
            f"go; memory {space(self.memory_bytes)}{each}; {self.disk.describe()}"
        )

    def describe_sweep(self, *, running: int, waiting: int) -> str:
        """Describe the cost of all remaining runs, `running` at once, if all are like this one."""
        rounds = math.ceil(waiting / running)
        seconds = self.seconds + rounds * self.seconds_in_all
        kept = (running + waiting) * KEPT_CHECKPOINTS * self.disk.checkpoint
        short = ": NOT ENOUGH" if kept - self.disk.there > self.disk.free else ""
        return (
            f"{running + waiting} runs to go, {running} at once: {self._about} {duration(seconds)} "
            f"if all are like this one; they keep {space(kept)} of checkpoints, "
            f"{space(self.disk.free)} are free{short}"
        )

    @property
    def _about(self) -> str:
        return "at most" if self.may_end_earlier else "about"


def duration(seconds: float) -> str:
    """Format a duration in seconds, minutes, hours or days."""
    if seconds < 90:
        return "1 second" if round(seconds) == 1 else f"{seconds:.0f} seconds"
    hours = seconds / 3600
    if hours < 2:
        return f"{seconds / 60:.0f} minutes"
    return f"{hours:.1f} hours" if hours < 48 else f"{hours:.0f} hours ({hours / 24:.1f} days)"


def space(size: float) -> str:
    """Format a number of bytes in MB or GB."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
