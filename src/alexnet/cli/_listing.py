"""The runs of sweeps, read from their files, as lines of a table or as plain data.

Standard library only: the import of rich alone would take longer than the whole command.
"""

import math
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alexnet import vocabulary
from alexnet.folders.run import RunDir
from alexnet.folders.sweep import SweepDir

UNREADABLE = "unreadable"
"""The state of a run whose files are damaged."""
STATES = ("finished", "running", "stopped", "failed", "dead", "not started", UNREADABLE)
BLOCK = 512
"""Bytes of a block in st_blocks, on every file system."""

_HEAD = ("state", "run", "epoch", "error", "age", "size", "")
_RUN, _EPOCH, _ERROR, _AGE, _SIZE, _REMARK = 1, 2, 3, 4, 5, 6
_TO_THE_RIGHT = (_EPOCH, _ERROR, _AGE, _SIZE)


@dataclass(frozen=True, kw_only=True)
class Line:
    """The line of one run. Fields are None if they are not known."""

    run: RunDir
    state: str
    epoch: float | None = None
    metric: str | None = None
    error: float | None = None
    """The value of `metric`, such as test/error, as a fraction."""
    written: float
    """When it last wrote anything, in seconds since 1970; 0 if never."""
    size: int
    """Bytes on the disk."""
    remark: str = ""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A sweep with its planned runs in their order, then those that are not in its plan."""

    sweep: SweepDir
    plan: Mapping[str, Any]
    lines: Sequence[Line]

    def plain(self) -> Iterator[dict[str, Any]]:
        """Yield the fields of each run, for JSON: times in seconds since 1970, sizes in bytes."""
        for line in self.lines:
            planned = self.plan.get("runs", {}).get(line.run.name, {})
            yield {
                "experiment": experiment_of(self.sweep, self.plan),
                "sweep": str(self.sweep.path),
                "run": line.run.name,
                "path": str(line.run.path),
                "arm": planned.get("arm"),
                "seed": planned.get("seed"),
                "state": line.state,
                "epoch": line.epoch,
                "metric": line.metric,
                "error": line.error,
                "written": line.written or None,
                "bytes": line.size,
                "remark": line.remark,
            }


def plan_of(sweep: SweepDir) -> dict[str, Any]:
    """Return the plan of a sweep; {} if it cannot be read, so that runs are listed without it."""
    try:
        return sweep.read_plan()
    except (OSError, ValueError):
        return {}


def experiment_of(sweep: SweepDir, plan: Mapping[str, Any]) -> str:
    """Return the name in the plan; without one, that of the folder that contains the sweep."""
    name = plan.get("experiment", {}).get("name")
    return name if isinstance(name, str) else sweep.path.absolute().parent.name


def runs_of(sweep: SweepDir, plan: Mapping[str, Any]) -> Iterator[RunDir]:
    """Yield planned runs in the order of the plan, then folders of runs that are not in it."""
    planned = plan.get("runs", {})
    yield from map(sweep.run, planned)
    for status in sorted(sweep.path.glob("*/status.json")):
        if status.parent.name not in planned:
            yield RunDir(status.parent)


def listing_of(sweep: SweepDir) -> Listing:
    """Read the lines of a sweep."""
    plan = plan_of(sweep)
    return Listing(sweep=sweep, plan=plan, lines=[_line(run) for run in runs_of(sweep, plan)])


def table(
    listings: Sequence[Listing], columns: int | None, *, states: Sequence[str] = STATES
) -> Iterator[str]:
    """Yield a header, and for each sweep a headline with all its states and the chosen runs.

    Lines fit the width of a terminal (`columns`), except for paths and names of runs, which can
    then be copied: a long name has a line of its own.
    """
    now = time.time()
    shown = [
        (each, [_cells(line, now) for line in each.lines if line.state in states])
        for each in listings
    ]
    rows = [_HEAD, *(cells for _, lines in shown for cells in lines)]
    widths = [max(len(cells[place]) for cells in rows) for place in range(len(_HEAD))]
    places = _places(widths, columns)

    def text(cells: Sequence[str]) -> Iterator[str]:
        parts = (
            cells[place].rjust(widths[place])
            if place in _TO_THE_RIGHT
            else cells[place].ljust(widths[place])
            for place in places
        )
        indent = 2
        if _RUN not in places:
            yield f"  {cells[_RUN]}"
            indent = 4
        whole = (" " * indent + "  ".join(parts)).rstrip()
        yield whole if columns is None or len(whole) <= columns else f"{whole[: columns - 3]}..."

    yield from text(_HEAD)
    for each, lines in shown:
        if lines or not each.lines:
            yield _headline(each)
            for cells in lines:
                yield from text(cells)
            yield ""


def _places(widths: Sequence[int], columns: int | None) -> list[int]:
    """Return the columns of the table that fit, in order, without the width of the remark."""
    all_places = list(range(len(_HEAD)))
    if columns is None:
        return all_places
    without_name = [place for place in all_places if place != _RUN]
    for places in (all_places, without_name):
        for given_up in ((), (_SIZE,), (_SIZE, _AGE), (_SIZE, _AGE, _EPOCH)):
            kept = [place for place in places if place not in given_up]
            if 2 + sum(widths[place] + 2 for place in kept if place != _REMARK) <= columns:
                return kept
    return [0, _ERROR, _REMARK]


def _headline(listing: Listing) -> str:
    counts = Counter(line.state for line in listing.lines)
    states = ", ".join(f"{count} {state}" for state, count in counts.most_common()) or "no runs"
    size = size_in_words(sum(line.size for line in listing.lines))
    damage = "" if listing.plan.get("runs") else "; its sweep.json is damaged: it names no run"
    return f"{listing.sweep.path}: {states}; {size}{damage}"


def _cells(line: Line, now: float) -> tuple[str, ...]:
    error = ""
    if line.metric is not None and line.error is not None:
        error = f"{line.metric.partition('/')[0]} {100 * line.error:.2f} %"
    return (
        line.state,
        line.run.name,
        "" if line.epoch is None else f"{line.epoch:.4g}",
        error,
        _age_in_words(now - line.written) if line.written else "",
        size_in_words(line.size),
        line.remark,
    )


def _line(run: RunDir) -> Line:
    size, written = _measure(run.path)
    about: dict[str, Any] = {"run": run, "size": size, "written": written}
    try:
        status, state, result = run.read_status(), run.state, run.read_result()
        # For finished runs result.json is enough; to read a thousand tables would take a second.
        metrics = run.read_metrics() if state != "finished" else []
    except (ValueError, OSError) as damage:
        return Line(state=UNREADABLE, remark=_first_line(damage), **about)
    last = metrics[-1] if metrics else {}
    if state == "finished":
        known = result.get("metrics", {})
        keys = (vocabulary.TEST_ERROR, vocabulary.VAL_ERROR)
        epoch = result.get("epochs", math.nan)
    else:
        known, keys = last, (vocabulary.VAL_ERROR, vocabulary.TRAIN_ERROR)
        epoch = last.get("epoch", status.get("epoch", math.nan))
    metric = next((key for key in keys if not math.isnan(known.get(key, math.nan))), None)
    return Line(
        state=state,
        epoch=None if math.isnan(epoch) else epoch,
        metric=metric,
        error=None if metric is None else known[metric],
        remark=_remark(run, state, status),
        **about,
    )


def _remark(run: RunDir, state: str, status: Mapping[str, Any]) -> str:
    """Explain in one line why a run is not finished."""
    if state == "dead":
        return f"its process {status.get('pid', '')} is gone: see {run.log}"
    if state == "running" and run.is_alive is None:
        return f"on {status['host']}: cannot check from here whether its process exists"
    if state in ("failed", "stopped"):
        cause, error = status.get("cause", ""), _first_line(status.get("error", ""))
        return ": ".join(part for part in (cause, error) if part)
    return ""


def _measure(folder: Path) -> tuple[int, float]:
    """Return the bytes on the disk below a folder, and the time of the last write; 0 if empty.

    Links are not followed, and a file with two names counts once.
    """
    seen: set[tuple[int, int]] = set()
    size, written = 0, 0.0
    folders = [str(folder)]
    while folders:
        try:
            entries = list(os.scandir(folders.pop()))
        except (FileNotFoundError, NotADirectoryError):  # a run may be removing files
            continue
        for entry in entries:
            try:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                    continue
                stat = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if (stat.st_dev, stat.st_ino) not in seen:
                seen.add((stat.st_dev, stat.st_ino))
                size += BLOCK * stat.st_blocks
            written = max(written, stat.st_mtime)
    return size, written


def size_in_words(size: float) -> str:
    """Return a number of bytes with a suitable unit: 512 B, 9.8 kB, 243 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if size >= 100 or unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def _age_in_words(seconds: float) -> str:
    for unit, length in (("s", 60), ("min", 60), ("h", 24)):
        if seconds < length:
            return f"{max(0, int(seconds))} {unit}"
        seconds /= length
    return f"{int(seconds)} d"


def _first_line(text: object) -> str:
    return next(iter(str(text).splitlines()), "")
