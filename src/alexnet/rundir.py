"""The files of a run and of a sweep: the only contract between training and reporting.

A sweep folder holds one folder per run, `sweep.json` (what was planned) and `report/`.
Standard library only, so that listing and reporting start at once.
"""

import csv
import fcntl
import json
import logging
import math
import os
import shutil
import signal
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, Self

from alexnet import factors

log = logging.getLogger(__name__)

METRICS_COLUMNS = (
    "epoch",
    factors.TRAIN_LOSS,
    factors.TRAIN_ERROR,
    factors.VAL_LOSS,
    factors.VAL_ERROR,
    factors.VAL_ERROR_TOP5,
    "lr",
    "seconds",
    "images_per_second",
)
PROGRESS_COLUMNS = ("epoch", "images", factors.TRAIN_LOSS, factors.TRAIN_ERROR)

Row = dict[str, float]

CANNOT_BE_BUILT = "cannot be built"
"""The cause of a failure in status.json that the person at the keyboard can mend: Exit.WRONG."""


class Exit(IntEnum):
    """How a command ends, and how the process of a run does."""

    FINISHED = 0  # all of it; also when no run crossed a threshold
    FAILED = 1  # some run failed, or the folder is in use
    WRONG = 2  # the command was wrong or data are missing: nothing was trained
    STOPPED = 75  # by SIGTERM; the same command goes on
    INTERRUPTED = 130  # by Ctrl-C; the same command goes on


SIGNALS_TO_STOP = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)


class Stopped(BaseException):
    """The run was told to stop by one of those; it goes on from its last checkpoint.

    No Exception, which somebody's `except Exception` around an import would swallow.
    """

    @classmethod
    def by(cls, teller: str) -> Self:
        """What told it: the name of a signal, for example."""
        name = "Ctrl-C (SIGINT)" if teller == "SIGINT" else teller
        return cls(f"stopped by {name}; the same command goes on")


class FolderInUse(RuntimeError):
    """Another process is writing there."""


class DamagedFile(ValueError):
    """A file of a run or a sweep cannot be read: somebody else has written there."""


@dataclass(frozen=True)
class RunDir:
    """One run: an arm with a seed. Files are written whole or not at all; rows are appended."""

    path: Path

    @property
    def name(self) -> str:
        """For example nonlinearity-relu_seed-0."""
        return self.path.name

    @property
    def config(self) -> Path:
        """The resolved configuration, complete: a run can be started from it alone."""
        return self.path / ".hydra" / "config.yaml"

    @property
    def log(self) -> Path:
        """All that the run printed."""
        return self.path / "train.log"

    @property
    def status(self) -> Path:
        """How it is doing, or how it ended."""
        return self.path / "status.json"

    @property
    def metrics(self) -> Path:
        """One row per epoch."""
        return self.path / "metrics.csv"

    @property
    def progress(self) -> Path:
        """Several rows per epoch."""
        return self.path / "progress.csv"

    @property
    def last_checkpoint(self) -> Path:
        """The very end of training."""
        return self.path / "checkpoints" / "last.ckpt"

    @property
    def best_checkpoint(self) -> Path:
        """The lowest validation error so far."""
        return self.path / "checkpoints" / "best.ckpt"

    def accept_checkpoint(self, partial: Path, *, is_best: bool = False) -> None:
        """Make a file that is completely written last.ckpt, and best.ckpt if it is.

        The last.ckpt before it stays as previous.ckpt, so that there is a whole one at any instant.
        """
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        if is_best:
            second_name = partial.with_name("best.partial")
            second_name.unlink(missing_ok=True)
            try:
                os.link(partial, second_name)
            except OSError:  # some file systems have no links
                shutil.copyfile(partial, second_name)
            os.replace(second_name, self.best_checkpoint)
        if self.last_checkpoint.exists():
            os.replace(self.last_checkpoint, self._previous_checkpoint)
        os.replace(partial, self.last_checkpoint)

    def whole_checkpoint(self) -> Path | None:
        """The newest checkpoint that is whole, by the sums in the file; None if there is none.

        A damaged one is passed over with a warning.
        """
        for checkpoint in (self.last_checkpoint, self._previous_checkpoint):
            if _is_whole(checkpoint):
                return checkpoint
            if checkpoint.exists():
                log.warning("%s is damaged: going on from the one before it", checkpoint)
        return None

    @property
    def _previous_checkpoint(self) -> Path:
        return self.last_checkpoint.with_name("previous.ckpt")

    @property
    def is_finished(self) -> bool:
        """Whether result.json exists, which is written last of all."""
        return (self.path / "result.json").exists()

    @property
    def has_begun(self) -> bool:
        """Whether there is something to go on from, or a result."""
        checkpoints = (self.last_checkpoint, self._previous_checkpoint)
        return self.is_finished or any(each.exists() for each in checkpoints)

    def rank_log(self, rank: int) -> Path:
        """What another process of the run printed: rank-1.log."""
        return self.path / f"rank-{rank}.log"

    def rank_end(self, rank: int) -> Path:
        """How another process of the run failed: rank-1.json."""
        return self.path / f"rank-{rank}.json"

    @property
    def state(self) -> str:
        """In a word: finished, running, stopped, failed; dead; or not started.

        What status.json says, except that a run whose process is gone without a word is dead, and
        that one whose result.json was taken away is stopped. A finished run that is being trained
        on is running, whatever result.json it still has.
        """
        status = self.read_status()
        state = status.get("state", "finished" if self.is_finished else "not started")
        if state == "running" and self.is_alive is False:
            return "dead"
        if state == "finished" and not self.is_finished:
            return "stopped"
        return state

    @property
    def is_alive(self) -> bool | None:
        """Whether the process that status.json names is still there; None: on another host.

        A process of the same number is another one if it started after the run did, unless its
        command names this folder: a clock that was set forward makes old processes look young.
        Without /proc (macOS) the number alone decides.
        """
        status = self.read_status()
        if "pid" not in status:
            return False
        if status.get("host", os.uname().nodename) != os.uname().nodename:
            return None
        pid = int(status["pid"])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass  # somebody else's: it exists
        if not Path("/proc/self/stat").exists():
            return True
        try:
            state, began = _process_state(pid)
            if state in "ZX":  # over, and nobody has asked how it ended
                return False
            # A second: the kernel gives the time of its own start in whole seconds.
            if began <= status.get("started", math.inf) + 1:
                return True
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            return False
        return os.fsencode(self.path.absolute()) in command

    def append_metrics(self, row: Mapping[str, float]) -> None:
        """Add the row of one epoch to metrics.csv."""
        _append_row(self.metrics, METRICS_COLUMNS, row)

    def append_progress(self, row: Mapping[str, float]) -> None:
        """Add a row to progress.csv: fractional epoch, error over the images since the last row."""
        _append_row(self.progress, PROGRESS_COLUMNS, row)

    def read_metrics(self) -> list[Row]:
        """Rows of metrics.csv, [] if there is none yet."""
        return _read_rows(self.metrics)

    def read_progress(self) -> list[Row]:
        """Rows of progress.csv, [] if there is none yet."""
        return _read_rows(self.progress)

    def write_status(self, status: Mapping[str, Any]) -> None:
        """Replace status.json: state is running, stopped, finished or failed."""
        write_json(self.status, status)

    def read_status(self) -> dict[str, Any]:
        """Content of status.json, {} if the run has not started."""
        return _read_json(self.status)

    def write_rank_end(self, rank: int, end: Mapping[str, Any]) -> None:
        """Replace rank-K.json: as status.json at the end of a failed run, and the time."""
        write_json(self.rank_end(rank), end)

    def read_rank_end(self, rank: int) -> dict[str, Any]:
        """Content of rank-K.json, {} unless that process has failed."""
        return _read_json(self.rank_end(rank))

    def write_provenance(self, provenance: Mapping[str, Any]) -> None:
        """Replace provenance.json: commit, versions, hardware, threads, command, data."""
        write_json(self.path / "provenance.json", provenance)

    def read_provenance(self) -> dict[str, Any]:
        """Content of provenance.json, {} if the run has not started."""
        return _read_json(self.path / "provenance.json")

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Write result.json, which declares the run finished; previous.ckpt has served."""
        write_json(self.path / "result.json", result)
        self._previous_checkpoint.unlink(missing_ok=True)

    def read_result(self) -> dict[str, Any]:
        """Content of result.json, {} unless the run is finished."""
        return _read_json(self.path / "result.json")


@dataclass(frozen=True)
class SweepDir:
    """All runs of one experiment under one configuration."""

    path: Path

    @property
    def report(self) -> Path:
        """Folder of the report."""
        return self.path / "report"

    def write_plan(self, plan: Mapping[str, Any]) -> None:
        """Replace sweep.json: `experiment` (claim, measure) and `runs` by name (arm, seed)."""
        write_json(self.path / "sweep.json", plan)

    def read_plan(self) -> dict[str, Any]:
        """Content of sweep.json, {} if the folder is no sweep."""
        return _read_json(self.path / "sweep.json")

    def run(self, name: str) -> RunDir:
        """The run of that name, whether or not it exists yet."""
        return RunDir(self.path / name)

    def runs(self) -> Iterator[RunDir]:
        """Every planned run, in the order of the plan."""
        for name in self.read_plan().get("runs", {}):
            yield self.run(name)


def find_sweeps(folder: Path) -> list[SweepDir]:
    """The folder itself if it is a sweep, else the sweeps in it, one or two levels down."""
    if (folder / "sweep.json").is_file():
        return [SweepDir(folder)]
    found = (*folder.glob("*/sweep.json"), *folder.glob("*/*/sweep.json"))
    return [SweepDir(path.parent) for path in sorted(found)]


def find_checkpoint(path: Path) -> Path:
    """The file itself, or the last checkpoint of a run folder, whose errors result.json has.

    Raises FileNotFoundError if there is none, with a run's folder if there are some below it.
    """
    path = path.expanduser()
    if not path.is_dir():
        if path.is_file():
            return path
        raise FileNotFoundError(f"{path} does not exist: give a checkpoint, or the folder of a run")
    if (checkpoint := RunDir(path).last_checkpoint).is_file():
        return checkpoint
    if sweeps := find_sweeps(path):
        what = "is a sweep" if sweeps[0].path == path else "is a folder of sweeps"
        runs = (run for sweep in sweeps for run in sweep.runs())
        if trained := next((run for run in runs if run.last_checkpoint.is_file()), None):
            raise FileNotFoundError(f"{path} {what}: give one run, such as {trained.path}")
        raise FileNotFoundError(f"{path} {what}, and no run in it has checkpoints/last.ckpt")
    raise FileNotFoundError(
        f"{path} is a folder without checkpoints/last.ckpt: give a checkpoint, or the folder of a "
        "run"
    )


def run_of(checkpoint: Path) -> RunDir | None:
    """The run whose checkpoint this is, if it lies where the run has written it."""
    run = RunDir(checkpoint.absolute().parent.parent)
    return (
        run
        if run.last_checkpoint.parent == checkpoint.absolute().parent and run.config.is_file()
        else None
    )


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Replace the file at once, so that no reader ever sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("w") as file:
        json.dump(content, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def _is_whole(checkpoint: Path) -> bool:
    """Whether every part of the file has its CRC-32: torch writes a zip archive."""
    try:
        with zipfile.ZipFile(checkpoint) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError):
        return False


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise DamagedFile(f"{path} is damaged ({error})") from error
    if not isinstance(content, dict):
        raise DamagedFile(f"{path} is not what a run has written")
    return content


def _append_row(path: Path, columns: tuple[str, ...], row: Mapping[str, float]) -> None:
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        if not file.tell():  # new, or a run that goes on has taken all rows back
            writer.writeheader()
        writer.writerow(row)


def _read_rows(path: Path) -> list[Row]:
    """Those that are whole: the file may be appended to meanwhile."""
    try:
        whole = path.read_text().rpartition("\n")[0]
    except FileNotFoundError:
        return []
    return [
        {key: float(value) if value else math.nan for key, value in row.items()}
        for row in csv.DictReader(whole.splitlines())
    ]


def _process_state(pid: int) -> tuple[str, float]:
    """A letter (R, S, Z, ...) and the time of its start, from /proc.

    The second field is the command's name in parentheses, and may itself hold spaces and
    parentheses; so fields are counted from the last one.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    lines = Path("/proc/stat").read_text().splitlines()
    boot = next(int(line.split()[1]) for line in lines if line.startswith("btime "))
    return fields[0], boot + int(fields[19]) / os.sysconf("SC_CLK_TCK")


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Keep the folder for this process alone, until the block ends or the process dies.

    Raises FolderInUse if another process has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise FolderInUse(f"{folder} is in use by process {lock.read() or 'unknown'}") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
