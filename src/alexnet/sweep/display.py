import logging
import sys
import time
from collections.abc import Callable, Sequence
from typing import Self

from rich.live import Live
from rich.table import Table

from alexnet import vocabulary
from alexnet.folders.disk import Cost
from alexnet.folders.files import DamagedFile, Row
from alexnet.folders.run import RunDir
from alexnet.sweep.tell import status_of
from alexnet.terminal import can_redraw

log = logging.getLogger("alexnet.sweep")


class Display:
    """Shows the progress of the runs of a sweep, read from their files.

    A terminal gets one live line per run and a total; otherwise there is a log line for every
    epoch. The cost of the sweep is shown once, as soon as a run has measured its own.
    """

    def __init__(self, *, total: int) -> None:
        self.total = total
        self.done = 0
        self._began: dict[str, tuple[float, float]] = {}  # run -> time, epochs it had then
        self._rows: dict[str, int] = {}
        self._max_epochs: dict[str, float] = {}
        self._has_told_cost = False
        self._live = Live(transient=True, refresh_per_second=4) if can_redraw(sys.stdout) else None

    def __enter__(self) -> Self:
        if self._live and self.total:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live and self._live.is_started:
            self._live.stop()

    def started(self, run: RunDir, max_epochs: float) -> None:
        """Add a run; epochs from before its start are not shown again."""
        self._began[run.name] = time.monotonic(), _epochs(run)
        self._rows[run.name] = len(_read(run.read_metrics))
        self._max_epochs[run.name] = max_epochs
        if self._live is None:
            log.info("[%d/%d] %s", len(self._began), self.total, run.name)

    def ended(self, run: RunDir) -> None:
        """Show the last epochs of a run that has ended."""
        if self._live is None:
            self._tell_epochs(run)
        self.done += 1

    def update(self, running: Sequence[RunDir]) -> None:
        """Show the progress of the running runs."""
        if not self._has_told_cost:
            self._tell_cost(running)
        if self._live is None:
            for run in running:
                self._tell_epochs(run)
            return
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), caption_justify="left")
        table.add_column("run", overflow="fold")  # if cut off, names of runs would look the same
        for head in ("epoch", "training error", "validation error", "images/s", "left at most"):
            table.add_column(head, overflow="fold")
        for run in running:
            table.add_row(run.name, *self._cells(run))
        table.caption = f"{self.done} of {self.total} runs done"
        self._live.update(table)

    def _tell_cost(self, running: Sequence[RunDir]) -> None:
        costs = [(run, status_of(run).get("cost")) for run in running]
        run, known = next(((run, cost) for run, cost in costs if cost), (None, None))
        if run is None or known is None:
            return
        self._has_told_cost = True
        cost, waiting = Cost.read(known), self.total - len(self._began)
        lines = [f"{run.name}: {cost.describe()}"]
        if len(running) + waiting > 1:
            lines.append(cost.describe_sweep(running=len(running), waiting=waiting))
        for line in lines:
            if self._live is None:
                log.info("%s", line)
            else:
                self._live.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _tell_epochs(self, run: RunDir) -> None:
        rows = _read(run.read_metrics)
        for row in rows[self._rows[run.name] :]:
            log.info(
                "%s: epoch %g of %g, training error %.1f %%, validation error %.1f %%, "
                "%.0f images/s, at most %s left",
                run.name, round(row["epoch"], 2), self._max_epochs[run.name],
                100 * row[vocabulary.TRAIN_ERROR], 100 * row[vocabulary.VAL_ERROR],
                row["images_per_second"], self._left(run, row["epoch"]),
            )  # fmt: skip
        self._rows[run.name] = len(rows)  # fewer, if a resumed run has removed some

    def _cells(self, run: RunDir) -> list[str]:
        progress, metrics = _read(run.read_progress), _read(run.read_metrics)
        if not progress:
            return ["starting", "", "", "", ""]
        epoch, error = progress[-1]["epoch"], progress[-1][vocabulary.TRAIN_ERROR]
        validation = f"{100 * metrics[-1][vocabulary.VAL_ERROR]:.1f} %" if metrics else ""
        speed = f"{metrics[-1]['images_per_second']:,.0f}" if metrics else ""
        of = f"{epoch:.1f} of {self._max_epochs[run.name]:g}"
        return [of, f"{100 * error:.1f} %", validation, speed, self._left(run, epoch)]

    def _left(self, run: RunDir, epoch: float) -> str:
        """Return the time to the epoch limit at the present pace; empty if there is none yet."""
        began, before = self._began[run.name]
        if epoch <= before:
            return ""
        pace = (time.monotonic() - began) / (epoch - before)
        minutes, seconds = divmod(round(pace * (self._max_epochs[run.name] - epoch)), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{seconds:02}"


def _epochs(run: RunDir) -> float:
    rows = _read(run.read_progress)
    return rows[-1]["epoch"] if rows else 0.0


def _read(rows: Callable[[], list[Row]]) -> list[Row]:
    """Read rows; none if the file is damaged, which its run reports, while others are shown."""
    try:
        return rows()
    except (DamagedFile, OSError):
        return []
