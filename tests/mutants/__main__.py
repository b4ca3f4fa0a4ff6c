"""Do the tests notice the bugs of others? One bug at a time, in a copy of the project.

    python -m tests.mutants             all of them, two at once
    python -m tests.mutants LRN flip    those whose name contains one of the words
    python -m tests.mutants --jobs=4

First the tests run without any bug: they must pass. Exit status 1 if fewer than 19 of 20 bugs are
caught, 2 if a bug cannot be injected or a test fails without one.
"""

import argparse
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import pytest

from tests.mutants.catalogue import MUTANTS, PROJECT, Mutant

ENOUGH = 19 / 20
_COPIED = ("src", "conf", "tests", "docs", "pyproject.toml", "README.md")
_SECONDS = 600  # for the tests of one mutant: a bug may also hang
# Imported once, by the process from which all are forked; of the project nothing is.
_IMPORTED = ("torch", "lightning.pytorch", "torchmetrics", "torchvision", "hydra", "pandas")


@dataclass(frozen=True)
class Job:
    """Tests to run with one bug, or with none."""

    tests: tuple[str, ...]
    mutant: Mutant | None = None


@dataclass(frozen=True)
class Outcome:
    """Which test failed first; None: all passed."""

    job: Job
    failed: str | None
    seconds: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the mutants that are asked for, and print their table."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutants",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("words", nargs="*", help="parts of names; none: all mutants")
    parser.add_argument("--jobs", type=int, default=2, help="how many at once")
    asked = parser.parse_args(arguments)
    words = [word.lower() for word in asked.words]
    chosen = [
        each for each in MUTANTS if not words or any(word in each.name.lower() for word in words)
    ]
    if not chosen:
        print(f"no mutant is called {' or '.join(asked.words)}", file=sys.stderr)
        return 2
    try:
        for each in chosen:
            each.apply(PROJECT)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    began = time.monotonic()
    for module in _IMPORTED:
        __import__(module)
    whole = [Job((test,)) for test in dict.fromkeys(t for each in chosen for t in each.tests)]
    bugs = [Job(each.tests, each) for each in chosen]
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copies = [_copy(Path(folder) / str(number)) for number in range(asked.jobs)]
        failed = [each.failed for each in _run(whole, copies) if each.failed]
        if failed:
            print(f"these fail without any bug: {', '.join(failed)}", file=sys.stderr)
            return 2
        outcomes = list(_run(bugs, copies))
    print("\n" + table(outcomes))
    caught = sum(each.failed is not None for each in outcomes)
    print(f"\n{caught} of {len(outcomes)} caught in {time.monotonic() - began:.0f} seconds")
    return 0 if caught >= ENOUGH * len(outcomes) else 1


def table(outcomes: Iterable[Outcome]) -> str:
    """For docs/mutants.md, in the order of the catalogue."""
    by_name = {each.job.mutant: each.failed for each in outcomes}
    lines = ["| bug | seen in | caught by |", "|---|---|---|"]
    for mutant in MUTANTS:
        if mutant in by_name:
            by = f"`{failed}`" if (failed := by_name[mutant]) else "**not caught**"
            lines.append(f"| {mutant.name} | {mutant.source} | {by} |")
    return "\n".join(lines)


def _copy(folder: Path) -> Path:
    """Of what tests need. Compiled LRN kernels come along: they take seconds to make."""
    folder.mkdir()
    for name in _COPIED:
        if (source := PROJECT / name).is_dir():
            # No compiled modules: Python would compare times in whole seconds, and lengths.
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("*.pyc"))
        else:
            shutil.copy2(source, folder / name)
    return folder


def _run(jobs: Sequence[Job], copies: Sequence[Path]) -> Iterator[Outcome]:
    """In the order in which they end, one process for each copy."""
    left, free, done = list(jobs), list(copies), 0
    running: dict[Connection, tuple[Any, Job, Path, float]] = {}
    fork = multiprocessing.get_context("fork")
    while left or running:
        while left and free:
            job, project = left.pop(0), free.pop()
            receiver, sender = fork.Pipe(duplex=False)
            process = fork.Process(target=_in_child, args=(job, project, sender))
            process.start()
            sender.close()
            running[receiver] = process, job, project, time.monotonic()
        ready = wait(list(running), timeout=1)
        for receiver, (process, job, project, began) in list(running.items()):
            seconds = time.monotonic() - began
            if receiver not in ready and seconds < _SECONDS:
                continue
            failed = f"{job.tests[0]} (no end)"
            if receiver in ready:
                try:
                    failed = receiver.recv()
                except EOFError:
                    failed = f"{job.tests[0]} (the process died)"
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # and what it has started
            process.join()
            if job.mutant:
                shutil.copy2(PROJECT / job.mutant.file, project / job.mutant.file)
            del running[receiver]
            free.append(project)
            done += 1
            _tell(outcome := Outcome(job, failed, seconds), f"{done}/{len(jobs)}")
            yield outcome


def _tell(outcome: Outcome, count: str) -> None:
    mutant, failed = outcome.job.mutant, outcome.failed
    if mutant is None:
        text = f"{outcome.job.tests[0]} without a bug: {'FAILS' if failed else 'passes'}"
    else:
        text = f"{mutant.name}: {f'caught by {failed}' if failed else 'NOT CAUGHT'}"
    print(f"[{count}] {outcome.seconds:4.0f} s  {text}", flush=True)


class _FirstFailure:
    """A plugin of pytest."""

    name: str | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and self.name is None:
            self.name = report.nodeid.removeprefix("tests/")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and self.name is None:
            self.name = f"{report.nodeid.removeprefix('tests/')} (cannot be imported)"


def _in_child(job: Job, project: Path, sender: Connection) -> None:
    """Run the tests on the copy, and send the first that fails."""
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    if job.mutant:
        (project / job.mutant.file).write_text(job.mutant.apply(project))
    for name in [each for each in sys.modules if each.partition(".")[0] == "tests"]:
        del sys.modules[name]
    os.chdir(project)
    os.environ["PYTHONPATH"] = str(project / "src")
    sys.path[:0] = [str(project), str(project / "src")]
    sys.dont_write_bytecode = True
    assert "alexnet" not in sys.modules
    first = _FirstFailure()
    options = ["-q", "-x", "--tb=no", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "not slow"]
    code = pytest.main([*options, *(f"tests/{test}" for test in job.tests)], plugins=[first])
    if code and first.name is None:
        first.name = f"{job.tests[0]} (pytest ended with {int(code)})"
    sender.send(first.name)
    sender.close()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
