"""The files of a run.

A sweep folder contains one folder per run, `sweep.json` (the plan) and `report/`.
Standard library only, so that listing and reporting start at once.
"""

import logging
import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alexnet import vocabulary
from alexnet.folders.files import (
    DamagedFile,
    Row,
    append_row,
    flush_to_disk,
    is_count,
    is_mapping,
    is_number,
    is_text,
    is_whole,
    keep_rows,
    link,
    read_json,
    read_rows,
    write_json,
)
from alexnet.folders.liveness import process_state

log = logging.getLogger(__name__)

_STATUS = {
    "state": lambda value: value in ("running", "stopped", "finished", "failed"),
    "pid": lambda value: is_count(value) and 0 < value < 2**31,
    "host": is_text,
    "started": is_number,
    "ticks": is_count,
    "updated": is_number,
    "epoch": is_number,
    "step": is_count,
    "cause": is_text,
    "error": is_text,
    "traceback": is_text,
    "cost": is_mapping,
}
_RESULT = {
    "metrics": lambda value: is_mapping(value) and all(map(is_number, value.values())),
    "epochs": is_number,
    "seconds": is_number,
    "images_per_second": is_number,
    "peak_memory_megabytes": is_number,
    "seed": is_count,
    "arm": is_mapping,
}
_EVALUATION = {
    "metrics": _RESULT["metrics"],
    "images": is_count,
    "crops": is_count,
}
_ACTS = {"start": is_mapping, "end": is_mapping, "not_measured": is_text}
_CHECKPOINTS = (
    "last.ckpt", "best.ckpt", "previous.ckpt",
    "partial.ckpt", "best.partial", "previous.partial",
)  # fmt: skip
_PROVENANCE = {
    "threads": is_count,
    "data": lambda value: value is None or is_mapping(value),
    "init_from": lambda value: value is None or is_mapping(value),
    "forward_flop": lambda value: value is None or is_count(value),
}

PROGRESS_COLUMNS = ("epoch", "images", vocabulary.TRAIN_LOSS, vocabulary.TRAIN_ERROR)


def metrics_columns() -> tuple[str, ...]:
    """Return the columns of metrics.csv: all metrics except those of the test, and more."""
    keys = (each.key for each in vocabulary.METRICS.values() if each.stage in ("train", "val"))
    return ("epoch", *keys, "lr", "seconds", "images_per_second")


@dataclass(frozen=True)
class RunDir:
    """The folder of one run: an arm with a seed.

    Files are written completely or not at all; rows are appended to CSV files.
    """

    path: Path

    @property
    def name(self) -> str:
        """Name of the run, such as nonlinearity-relu_seed-0."""
        return self.path.name

    @property
    def config(self) -> Path:
        """File of the resolved configuration, from which alone a run can be started."""
        return self.path / ".hydra" / "config.yaml"

    @property
    def log(self) -> Path:
        """File with the output of the run."""
        return self.path / "train.log"

    @property
    def status(self) -> Path:
        """File with the state of the run, or how it ended."""
        return self.path / "status.json"

    @property
    def metrics(self) -> Path:
        """CSV file with one row per epoch."""
        return self.path / "metrics.csv"

    @property
    def progress(self) -> Path:
        """CSV file with several rows per epoch."""
        return self.path / "progress.csv"

    @property
    def pictures(self) -> Path:
        """PNG files that loggers show: of its kernels at a step, of its test at the end."""
        return self.path / "pictures"

    @property
    def evaluation(self) -> Path:
        """File with the ten-view errors of the last checkpoint on the run's own test images."""
        return self.path / "evaluation.json"

    @property
    def last_checkpoint(self) -> Path:
        """Checkpoint from the end of training, or the latest so far."""
        return self.path / "checkpoints" / "last.ckpt"

    @property
    def best_checkpoint(self) -> Path:
        """Checkpoint with the lowest validation error so far."""
        return self.path / "checkpoints" / "best.ckpt"

    def accept_checkpoint(self, partial: Path, *, is_best: bool = False) -> None:
        """Make a completely written file last.ckpt, and best.ckpt too if `is_best`.

        The former last.ckpt stays as previous.ckpt. A complete checkpoint exists at any instant, as
        last.ckpt or, where hard links are refused, as one of the two.
        """
        for file in (
            self.metrics,
            self.progress,
            partial,
        ):  # rows first: the checkpoint counts them
            flush_to_disk(file)
        if is_best and not link(partial, self.best_checkpoint):
            copy = partial.with_name("best.partial")
            shutil.copyfile(partial, copy)
            os.replace(copy, self.best_checkpoint)
        last, previous = self.last_checkpoint, self._previous_checkpoint
        if last.exists() and not link(last, previous):
            os.replace(last, previous)
        os.replace(partial, last)

    def clear_partial(self) -> None:
        """Remove the checkpoint that a process was writing when it was killed."""
        for file in self.checkpoints:
            if "partial" in file.name:
                file.unlink()

    def go_on_from(self, checkpoint: Path) -> None:
        """Remove last.ckpt if another is used: it is damaged and must not become previous.ckpt."""
        if checkpoint != self.last_checkpoint:
            self.last_checkpoint.unlink(missing_ok=True)

    def whole_checkpoint(self) -> Path | None:
        """Return the newest checkpoint whose checksums are right; None if there is none.

        A damaged checkpoint is skipped with a warning.
        """
        for checkpoint in (self.last_checkpoint, self._previous_checkpoint):
            if is_whole(checkpoint):
                return checkpoint
            if checkpoint.exists():
                log.warning("%s is damaged: using the one before it", checkpoint)
        return None

    @property
    def checkpoints(self) -> list[Path]:
        """The checkpoint files that training has written; none if the folder is a link.

        Other files in the folder belong to the user and are not listed.
        """
        folder = self.last_checkpoint.parent
        if any(each.is_symlink() for each in (self.path, folder)):
            return []
        return [file for name in _CHECKPOINTS if os.path.lexists(file := folder / name)]

    @property
    def _previous_checkpoint(self) -> Path:
        return self.last_checkpoint.with_name("previous.ckpt")

    @property
    def is_finished(self) -> bool:
        """Whether result.json exists, which is written last."""
        return (self.path / "result.json").exists()

    @property
    def has_diverged(self) -> bool:
        """Whether the run ended with a loss that is not finite: a result, as it would recur."""
        try:
            status = self.read_status()
        except (DamagedFile, OSError):
            return False
        return status.get("state") == "failed" and status.get("cause") == "diverged"

    @property
    def is_settled(self) -> bool:
        """Whether the run has finished or diverged, so that there is nothing left to do."""
        return self.is_finished or self.has_diverged

    @property
    def has_begun(self) -> bool:
        """Whether the run has a checkpoint or a result."""
        checkpoints = (self.last_checkpoint, self._previous_checkpoint)
        return self.is_finished or any(each.exists() for each in checkpoints)

    def rank_log(self, rank: int) -> Path:
        """File with the output of another process of the run, such as rank-1.log."""
        return self.path / f"rank-{rank}.log"

    def rank_end(self, rank: int) -> Path:
        """File that says how another process of the run failed, such as rank-1.json."""
        return self.path / f"rank-{rank}.json"

    @property
    def state(self) -> str:
        """State in a word: finished, running, stopped, failed, dead or not started.

        It is the state in status.json with two exceptions. A run is dead if its process is gone and
        left no state, and stopped if its result.json was removed. A finished run whose training is
        being continued is running, even while it still has its old result.json.
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
        """Whether the process in status.json still exists; None if it is on another host.

        A process with the same pid is another one if it started at another time. Runs of version
        0.1 did not record the time: there it is another one if it started after the run did, unless
        its command names this folder (after the clock was set forward, old processes look newer).
        Without /proc (macOS) only the pid is compared.
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
            pass  # it exists, and belongs to another user
        try:
            process = process_state(pid)
            if process is None:
                return True
            if process.letter in "ZX":  # ended, but not yet reaped
                return False
            if "ticks" in status:
                return process.ticks == status["ticks"]
            # One second of tolerance: the kernel gives its own start time in whole seconds.
            if process.began <= status.get("started", math.inf) + 1:
                return True
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            return False
        return os.fsencode(self.path.absolute()) in command

    def append_metrics(self, row: Mapping[str, float]) -> None:
        """Append the row of one epoch to metrics.csv; metrics not measured stay blank."""
        append_row(self.metrics, metrics_columns(), row)

    def append_progress(self, row: Mapping[str, float]) -> None:
        """Append a row to progress.csv: fractional epoch, error over the images since the last."""
        append_row(self.progress, PROGRESS_COLUMNS, row)

    def take_back(self, *, epochs: int, images: int) -> None:
        """Remove the rows after this number of epochs in metrics.csv and images in progress.csv.

        Raises DamagedFile if a file has fewer, and leaves that file unchanged.
        """
        keep_rows(self.metrics, "epoch", epochs)
        keep_rows(self.progress, "images", images)

    def read_metrics(self) -> list[Row]:
        """Read the rows of metrics.csv; [] if there are none yet. Raises DamagedFile."""
        return read_rows(self.metrics)

    def read_progress(self) -> list[Row]:
        """Read the rows of progress.csv; [] if there are none yet. Raises DamagedFile."""
        return read_rows(self.progress)

    def write_status(self, status: Mapping[str, Any]) -> None:
        """Write status.json: state is running, stopped, finished or failed."""
        write_json(self.status, status)

    def read_status(self) -> dict[str, Any]:
        """Read status.json; {} if the run has not started. Raises DamagedFile."""
        return read_json(self.status, _STATUS)

    def write_rank_end(self, rank: int, end: Mapping[str, Any]) -> None:
        """Write rank-K.json: the entries of status.json for a failed run, and the time."""
        write_json(self.rank_end(rank), end)

    def read_rank_end(self, rank: int) -> dict[str, Any]:
        """Read rank-K.json; {} unless that process has failed."""
        return read_json(self.rank_end(rank))

    def write_provenance(self, provenance: Mapping[str, Any]) -> None:
        """Write provenance.json: commit, versions, hardware, threads, command, data."""
        write_json(self.path / "provenance.json", provenance)

    def read_provenance(self) -> dict[str, Any]:
        """Read provenance.json; {} if the run has not started. Raises DamagedFile."""
        return read_json(self.path / "provenance.json", _PROVENANCE)

    def write_acts(self, acts: Mapping[str, Any]) -> None:
        """Write acts.json: the effect of the norms at the start and at the end of training."""
        write_json(self.path / "acts.json", acts)

    def read_acts(self) -> dict[str, Any]:
        """Read acts.json; {} if nothing was measured yet. Raises DamagedFile."""
        return read_json(self.path / "acts.json", _ACTS)

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Write result.json, which marks the run as finished, and remove previous.ckpt.

        An existing evaluation.json is removed, too, because it is about other weights.
        """
        self.evaluation.unlink(missing_ok=True)
        write_json(self.path / "result.json", result)
        self._previous_checkpoint.unlink(missing_ok=True)

    def read_evaluation(self) -> dict[str, Any]:
        """Read evaluation.json; {} if there is none. Raises DamagedFile."""
        return read_json(self.evaluation, _EVALUATION)

    def read_result(self, *, planned: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Read result.json; {} unless the run is finished.

        Raises DamagedFile if the file is damaged, or belongs to another arm or seed than planned.
        """
        path = self.path / "result.json"
        result = read_json(path, _RESULT)
        if "metrics" not in result and path.exists():
            raise DamagedFile(f"{path} is damaged: it has no metrics")
        for key in ("seed", "arm"):
            if planned and key in result and result[key] != planned[key]:
                raise DamagedFile(
                    f"{path} is damaged: its {key} is {result[key]}, but the run has "
                    f"{planned[key]}. Remove the file to test the run again"
                )
        return result
