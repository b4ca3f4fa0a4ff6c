"""List sweeps and their runs, or free disk space.

    python src/runs.py [FOLDER]                  state, epoch, error, age and size of every run
    python src/runs.py --state failed,dead       only runs in these states
    python src/runs.py --experiment relu_vs_tanh only sweeps of this experiment
    python src/runs.py --json                    the same as a JSON array, for other programs
    python src/runs.py prune [FOLDER] [--yes]    remove checkpoints of finished runs, after asking

FOLDER is outputs/ (default: the project's), the folder of an experiment in it, or one sweep. A run
is dead if its status is running but its process no longer exists; to resume it, give the same
command again. Age is the time since the run last wrote a file.

Exit status: 0 done, or nothing to do; 1 not pruned, or not all of it; 2 the command was wrong.
"""

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from alexnet.cli import folder_of
from alexnet.cli._listing import (
    BLOCK,
    STATES,
    experiment_of,
    listing_of,
    plan_of,
    runs_of,
    size_in_words,
    table,
)
from alexnet.config.suggest import did_you_mean
from alexnet.folders.files import FolderInUse, hold
from alexnet.folders.run import RunDir
from alexnet.folders.sweep import SweepDir, find_sweeps
from alexnet.paths import outputs_folder
from alexnet.terminal import columns_of

OUTPUTS = outputs_folder("outputs")


def main(arguments: Sequence[str]) -> int:
    """Run the command; the module's docstring is its help."""
    prunes = arguments[:1] == ["prune"]
    parser = argparse.ArgumentParser(
        prog="runs.py prune" if prunes else "runs.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=folder_of, nargs="?", metavar="FOLDER", default=OUTPUTS)
    if prunes:
        parser.add_argument("--yes", action="store_true", help="remove them without asking")
    else:
        parser.add_argument(
            "--state", type=_states, metavar="STATE[,STATE]", help=f"any of: {', '.join(STATES)}"
        )
        parser.add_argument(
            "--experiment", type=_names, metavar="NAME[,NAME]", help="as in +experiment=NAME"
        )
        parser.add_argument("--json", action="store_true", help="print a JSON array of all runs")
    parsed = parser.parse_args(arguments[1:] if prunes else arguments)

    folder: Path = parsed.folder
    sweeps = find_sweeps(folder)
    if not sweeps:
        if folder == OUTPUTS:
            nothing = f"no sweeps yet in {folder}: start one with python src/train.py"
            print("[]" if not prunes and parsed.json else nothing)
            return 0
        what = "has no sweep in it" if folder.is_dir() else "is not a folder"
        return _complain(
            f"{folder} {what}: expected outputs, or a folder with sweep.json such as "
            "outputs/relu_vs_tanh/cifar10-0123abcd"
        )
    if prunes:
        return prune(sweeps, yes=parsed.yes)
    return show(sweeps, states=parsed.state, experiments=parsed.experiment, as_json=parsed.json)


def show(
    sweeps: Sequence[SweepDir],
    *,
    states: Sequence[str] | None = None,
    experiments: Sequence[str] | None = None,
    as_json: bool = False,
) -> int:
    """Print the runs in these states, in sweeps of these experiments (default: all)."""
    for state in states or ():
        if state not in STATES:
            return _complain(f"--state {state}: {did_you_mean(state, STATES)}")
    if experiments:
        named = [(sweep, experiment_of(sweep, plan_of(sweep))) for sweep in sweeps]
        there = {each for _, each in named}
        for name in experiments:
            if name not in there:
                return _complain(
                    f"--experiment {name}: there is no sweep of it here, "
                    f"{did_you_mean(name, there)}"
                )
        sweeps = [sweep for sweep, each in named if each in experiments]
    listings = [listing_of(sweep) for sweep in sweeps]
    chosen = states or STATES
    if as_json:
        runs = [run for each in listings for run in each.plain() if run["state"] in chosen]
        print(json.dumps(runs, indent=1))
        return 0
    counts = Counter(line.state for each in listings for line in each.lines)
    if states and not any(counts[state] for state in states):
        found = ", ".join(f"{count} {state}" for state, count in counts.most_common())
        print(f"no run is {' or '.join(states)}; there are {found or 'no runs'}")
        return 0
    for line in table(listings, columns_of(sys.stdout), states=chosen):
        print(line)
    return 0


def _names(text: str) -> list[str]:
    return text.split(",")


def _states(text: str) -> list[str]:
    """Parse a list of states; not-started and not_started are accepted for "not started"."""
    return re.sub("[-_]", " ", text).split(",")


def _is_finished(sweep: SweepDir, run: RunDir) -> bool:
    """Return whether a run finished with a readable result; if not, its checkpoints are kept."""
    try:
        planned = sweep.read_plan().get("runs", {}).get(run.name)
        return run.state == "finished" and bool(run.read_result(planned=planned))
    except (OSError, ValueError):
        return False


def prune(sweeps: Sequence[SweepDir], *, yes: bool) -> int:
    """Remove the checkpoints of finished runs, and of no others, after asking."""
    finished = [
        (sweep, run, size)
        for sweep in sweeps
        for run in runs_of(sweep, plan_of(sweep))
        if _is_finished(sweep, run) and (size := _size(run.checkpoints))
    ]
    if not finished:
        print("no finished run has checkpoints")
        return 0
    for _, run, size in finished:
        print(f"  {size_in_words(size):>8}  {run.last_checkpoint.parent}")
    total = size_in_words(sum(size for *_, size in finished))
    what = f"the checkpoints of {len(finished)} finished {_plural('run', len(finished))}"
    if not yes:
        if not sys.stdin.isatty():
            return _complain(
                f"{what}, {total}: cannot ask without a terminal; add --yes to remove them"
            )
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
            # train.py locks the sweep, and the worker of another launcher locks the run.
            with hold(sweep.path), hold(run.path):
                if not _is_finished(sweep, run):  # it was trained further in the meantime
                    failures.append(f"{run.path} is no longer finished: its checkpoints were kept")
                    continue
                for file in run.checkpoints:
                    file.unlink()
        except (FolderInUse, OSError) as error:
            failures.append(f"{run.path}: its checkpoints were kept: {error}")
        freed += size - _size(run.checkpoints)
        with suppress(OSError):  # there may be other files
            run.last_checkpoint.parent.rmdir()
    print(f"freed {size_in_words(freed)}")
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    return 1 if failures else 0


def _size(files: Sequence[Path]) -> int:
    """Return the bytes of files on the disk; a file with two names counts once."""
    stats = {stat.st_ino: stat for stat in (file.lstat() for file in files)}
    return sum(BLOCK * stat.st_blocks for stat in stats.values())


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else f"{noun}s"


def _complain(text: str) -> int:
    print(f"error: {text}", file=sys.stderr)
    return 2
