"""What a run will cost, told before most of it is spent. Standard library only.

The process of the run measures it and keeps it in status.json; the launcher tells it of a sweep.
"""

import logging
import math
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

log = logging.getLogger(__name__)

# Checkpoints that may be there at once: last, the one before it, best, and the one being written.
MOST_CHECKPOINTS = 4
# Without one that is whole beside the one being written, a run that is killed is lost.
LEAST_CHECKPOINTS = 2
# Of a finished run: last and best.
KEPT_CHECKPOINTS = 2


@dataclass(frozen=True, kw_only=True)
class Disk:
    """Room for the checkpoints of a run, in bytes."""

    checkpoint: int  # one of them
    there: int  # all that the run has already
    free: int

    @classmethod
    def of(cls, folder: Path, *, checkpoint: int) -> Self:
        """Of the folder of a run's checkpoints, which need not exist yet."""
        files = {file.stat().st_ino: file.stat().st_size for file in folder.glob("*.ckpt")}
        root = next(each for each in (folder, *folder.parents) if each.exists())
        free = shutil.disk_usage(root).free
        return cls(checkpoint=checkpoint, there=sum(files.values()), free=free)

    @property
    def most(self) -> int:
        """All that the checkpoints will take at once."""
        return MOST_CHECKPOINTS * self.checkpoint

    def holds(self, checkpoints: int) -> bool:
        """Whether so many fit beside each other, one of which must still be written."""
        return self.free >= max(self.checkpoint, checkpoints * self.checkpoint - self.there)

    def check(self, run: Path) -> None:
        """Warn if they will not all fit; OSError if a run could not even be kept alive."""
        if not self.holds(LEAST_CHECKPOINTS):
            raise OSError(
                f"the disk of {run} is too full: a checkpoint takes {space(self.checkpoint)}, "
                f"{LEAST_CHECKPOINTS} must fit beside each other, and {space(self.free)} are free. "
                "Free some space, or set outputs=FOLDER on another disk"
            )
        if not self.holds(MOST_CHECKPOINTS):
            log.warning("the disk of %s may fill up: %s", run, self.describe())

    def describe(self) -> str:
        """What the checkpoints will take, and what is left."""
        text = f"checkpoints take up to {space(self.most)} of disk, {space(self.free)} are free"
        return text if self.holds(MOST_CHECKPOINTS) else f"{text}: NOT ENOUGH"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one run will take: time, memory and disk."""

    images_per_second: float
    seconds: float  # to go
    seconds_in_all: float  # more, if it goes on from a checkpoint
    may_end_earlier: bool
    memory_bytes: float  # of each process
    processes: int
    disk: Disk

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> Self:
        """From what `plain` has made."""
        return cls(**{**plain, "disk": Disk(**plain["disk"])})

    def plain(self) -> dict[str, Any]:
        """As nested dictionaries, for status.json."""
        return asdict(self)

    def describe(self) -> str:
        """The cost of the run in one line."""
        each = f" in each of {self.processes} processes" if self.processes > 1 else ""
        return (
            f"{self.images_per_second:,.0f} images/s, {self._about} {duration(self.seconds)} to "
            f"go; memory {space(self.memory_bytes)}{each}; {self.disk.describe()}"
        )

    def describe_sweep(self, *, running: int, waiting: int) -> str:
        """In one line, of all runs that are left, `running` at once, if they are like this one."""
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
    """For people, in seconds, minutes, hours or days."""
    if seconds < 90:
        return "1 second" if round(seconds) == 1 else f"{seconds:.0f} seconds"
    hours = seconds / 3600
    if hours < 2:
        return f"{seconds / 60:.0f} minutes"
    return f"{hours:.1f} hours" if hours < 48 else f"{hours:.0f} hours ({hours / 24:.1f} days)"


def space(size: float) -> str:
    """For people, in MB or GB."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
