"""List sweeps and their runs, or free disk space.

    python src/runs.py [FOLDER]                  state, epoch, error, age and size of every run
    python src/runs.py prune [FOLDER] [--yes]    remove checkpoints of finished runs, after asking

FOLDER is outputs/ (the project's, if none is given), an experiment's folder in it, or one sweep.
A run is dead if it says that it is running and its process is gone; the command that started it
goes on with it. Age is the time since the run last wrote anything.

Exit status: 0 done, or nothing to do; 1 not pruned, or not all of it; 2 the command was wrong.
"""

import argparse
import math
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alexnet import vocabulary
from alexnet.cli import folder_of
from alexnet.folders.files import DamagedFile, FolderInUse, hold
from alexnet.folders.run import RunDir
from alexnet.folders.sweep import SweepDir, find_sweeps
from alexnet.paths import outputs_folder

# Standard library only: rich alone would take longer than everything here.

OUTPUTS = outputs_folder("outputs")
_BLOCK = 512  # bytes of st_blocks, whatever the disk's are


@dataclass(frozen=True, kw_only=True)
class Line:
    """What is said of one run."""

    state: str
    name: str
    epoch: str
    error: str
    written: float  # when it last wrote anything, in seconds since 1970
    size: int  # bytes on the disk
    remark: str


def main(arguments: Sequence[str]) -> int:
    """The command line; see the module's text."""
    prunes = arguments[:1] == ["prune"]
    parser = argparse.ArgumentParser(
        prog="runs.py prune" if prunes else "runs.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=folder_of, nargs="?", metavar="FOLDER", default=OUTPUTS)
    if prunes:
        parser.add_argument("--yes", action="store_true", help="remove them without asking")
    parsed = parser.parse_args(arguments[1:] if prunes else arguments)

    folder: Path = parsed.folder
    sweeps = find_sweeps(folder)
    if not sweeps:
        if folder == OUTPUTS:
            print(f"no sweeps yet in {folder}: python src/train.py makes one")
            return 0
        what = "has no sweep in it" if folder.is_dir() else "is no folder"
        return _complain(
            f"{folder} {what}: expected outputs, or a folder with sweep.json such as "
            "outputs/relu_vs_tanh/cifar10-0123abcd"
        )
    if prunes:
        return prune(sweeps, yes=parsed.yes)
    damaged = 0
    for sweep in sweeps:
        try:
            print("\n".join(describe(sweep)))
        except DamagedFile as error:
            damaged = _complain(str(error))
    return damaged


def _is_finished(sweep: SweepDir, run: RunDir) -> bool:
    """True if the run finished and its result is readable; else its checkpoints must be kept."""
    try:
        planned = sweep.read_plan().get("runs", {}).get(run.name)
        return run.state == "finished" and bool(run.read_result(planned=planned))
    except (OSError, ValueError):
        return False


def describe(sweep: SweepDir) -> Iterator[str]:
    """A headline for the sweep, a line for each run, an empty line."""
    lines = [_line(run) for run in _runs(sweep)]
    counts = Counter(line.state for line in lines)
    states = ", ".join(f"{count} {state}" for state, count in counts.most_common()) or "no runs"
    size = _size_in_words(sum(line.size for line in lines))
    yield f"{sweep.path}: {states}; {size}"

    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    now = time.time()
    names = max((len(line.name) for line in lines), default=0)
    for line in lines:
        age = _age_in_words(now - line.written) if line.written else ""
        text = (
            f"  {line.state:<11}  {line.name:<{names}}  {line.epoch:>9}  {line.error:>12}"
            f"  {age:>6}  {_size_in_words(line.size):>8}  {line.remark}"
        ).rstrip()
        yield text if not columns or len(text) <= columns else text[: columns - 3] + "..."
    yield ""


def prune(sweeps: Sequence[SweepDir], *, yes: bool) -> int:
    """Remove the checkpoints of finished runs, and of no others, after asking."""
    finished = [
        (sweep, run, size)
        for sweep in sweeps
        for run in _runs(sweep)
        if _is_finished(sweep, run) and (size := _size(run.checkpoints))
    ]
    if not finished:
        print("no finished run has checkpoints")
        return 0
    for _, run, size in finished:
        print(f"  {_size_in_words(size):>8}  {run.last_checkpoint.parent}")
    total = _size_in_words(sum(size for *_, size in finished))
    what = f"the checkpoints of {len(finished)} finished {_plural('run', len(finished))}"
    if not yes:
        if not sys.stdin.isatty():
            return _complain(f"{what}, {total}: no terminal to ask on; add --yes to remove them")
        try:
            answer = input(f"Remove {what} and free {total}? They cannot be recovered [y/N] ")
        except (EOFError, KeyboardInterrupt):
            answer = ""
            print()
        if answer.strip().lower() not in ("y", "yes"):
            print("nothing was removed")
            return 1

    freed, failures = 0, []
    for sweep, run, size in finished:
        try:
            # The sweep's is that of train.py, the run's that of another launcher's worker.
            with hold(sweep.path), hold(run.path):
                if not _is_finished(sweep, run):  # it was trained on meanwhile
                    failures.append(f"{run.path} is no longer finished: left alone")
                    continue
                for file in run.checkpoints:
                    file.unlink()
        except (FolderInUse, OSError) as error:
            failures.append(f"{run.path} is left alone: {error}")
        freed += size - _size(run.checkpoints)
        with suppress(OSError):  # there may be files of somebody else
            run.last_checkpoint.parent.rmdir()
    print(f"freed {_size_in_words(freed)}")
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    return 1 if failures else 0


def _size(files: Sequence[Path]) -> int:
    """Bytes that they take on the disk; a file with two names counts once."""
    stats = {stat.st_ino: stat for stat in (file.lstat() for file in files)}
    return sum(_BLOCK * stat.st_blocks for stat in stats.values())


def _runs(sweep: SweepDir) -> Iterator[RunDir]:
    """Planned runs in the order of the plan, then folders of runs that no plan mentions.

    A plan that cannot be read costs the order, not the list.
    """
    try:
        planned = list(sweep.runs())
    except ValueError:
        planned = []
    yield from planned
    names = {run.name for run in planned}
    for status in sorted(sweep.path.glob("*/status.json")):
        if status.parent.name not in names:
            yield RunDir(status.parent)


def _line(run: RunDir) -> Line:
    size, written = _measure(run.path)
    about: dict[str, Any] = {"name": run.name, "size": size, "written": written}
    try:
        status, state, result = run.read_status(), run.state, run.read_result()
        metrics = run.read_metrics()
    except (ValueError, OSError) as damage:
        return Line(state="unreadable", epoch="", error="", remark=_first_line(damage), **about)
    last = metrics[-1] if metrics else {}
    if state == "finished":
        error = _error(result.get("metrics", {}), vocabulary.TEST_ERROR, vocabulary.VAL_ERROR)
        epoch = result.get("epochs", math.nan)
    else:
        error = _error(last, vocabulary.VAL_ERROR, vocabulary.TRAIN_ERROR)
        epoch = last.get("epoch", status.get("epoch", math.nan))
    return Line(
        state=state,
        epoch="" if math.isnan(epoch) else f"epoch {epoch:.4g}",
        error=error,
        remark=_remark(run, state, status),
        **about,
    )


def _error(metrics: dict[str, float], *keys: str) -> str:
    """The first of these errors that is known, in per cent."""
    for key in keys:
        if not math.isnan(error := metrics.get(key, math.nan)):
            return f"{key.partition('/')[0]} {100 * error:.2f} %"
    return ""


def _remark(run: RunDir, state: str, status: dict[str, Any]) -> str:
    """Why it is not finished, in one line."""
    if state == "dead":
        return f"its process {status.get('pid', '')} is gone: see {run.log}"
    if state == "running" and run.is_alive is None:
        return f"on {status['host']}: whether it lives cannot be seen from here"
    if state in ("failed", "stopped"):
        cause, error = status.get("cause", ""), _first_line(status.get("error", ""))
        return ": ".join(part for part in (cause, error) if part)
    return ""


def _measure(folder: Path) -> tuple[int, float]:
    """Bytes on the disk below a folder, and when anything in it was last written; 0 if nothing.

    Links are not followed, and a file with two names counts once.
    """
    seen: set[tuple[int, int]] = set()
    size, written = 0, 0.0
    folders = [str(folder)]
    while folders:
        try:
            entries = list(os.scandir(folders.pop()))
        except (FileNotFoundError, NotADirectoryError):  # a run may be clearing up
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
                size += _BLOCK * stat.st_blocks
            written = max(written, stat.st_mtime)
    return size, written


def _size_in_words(size: float) -> str:
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


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else f"{noun}s"


def _first_line(text: object) -> str:
    return next(iter(str(text).splitlines()), "")


def _complain(text: str) -> int:
    print(f"error: {text}", file=sys.stderr)
    return 2
