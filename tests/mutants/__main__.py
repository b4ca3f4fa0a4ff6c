"""Do the tests notice the bugs of others? One bug at a time, in a copy of the project.

    python -m tests.mutants             all of them, on two processes
    python -m tests.mutants LRN flip    those whose name contains one of the words
    python -m tests.mutants --jobs=4

First the named tests run without any bug: they must pass. Exit status 1 if fewer than 19 of 20
bugs are caught, 2 if a bug cannot be injected or a test fails without one.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from tests.mutants.catalogue import MUTANTS, PROJECT, Mutant

ENOUGH = 19 / 20
_COPIED = ("src", "conf", "tests", "docs", "pyproject.toml", "README.md")
_SECONDS = 300  # for the tests of one mutant: a bug may also hang


@dataclass(frozen=True)
class Outcome:
    """What became of one bug; `by` is the test that failed."""

    mutant: Mutant
    is_caught: bool
    by: str
    seconds: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the mutants that are asked for, and print their table."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("words", nargs="*", help="parts of names; none: all mutants")
    parser.add_argument("--jobs", type=int, default=2, help="how many at once")
    asked = parser.parse_args(arguments)
    chosen = [
        each
        for each in MUTANTS
        if not asked.words or any(word.lower() in each.name.lower() for word in asked.words)
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
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copies: SimpleQueue[Path] = SimpleQueue()
        for number in range(asked.jobs):
            copies.put(_copy(Path(folder) / str(number)))
        with ThreadPoolExecutor(asked.jobs) as pool:
            files = list(dict.fromkeys(file for each in chosen for file in each.tests))
            print(f"{len(files)} test files without a bug", flush=True)
            if failed := [by for by in pool.map(lambda f: _failure(copies, [f]), files) if by]:
                print(f"these fail without any bug: {', '.join(failed)}", file=sys.stderr)
                return 2
            outcomes = list(_with_progress(pool.map(lambda m: _try(copies, m), chosen), chosen))
    print("\n" + table(outcomes))
    caught = sum(each.is_caught for each in outcomes)
    print(f"\n{caught} of {len(outcomes)} caught in {time.monotonic() - began:.0f} seconds")
    return 0 if caught >= ENOUGH * len(outcomes) else 1


def table(outcomes: Iterable[Outcome]) -> str:
    """For docs/mutants.md."""
    lines = ["| bug | seen in | caught by |", "|---|---|---|"]
    for each in outcomes:
        by = f"`{each.by}`" if each.is_caught else "**not caught**"
        lines.append(f"| {each.mutant.name} | {each.mutant.source} | {by} |")
    return "\n".join(lines)


def _copy(folder: Path) -> Path:
    """Of what tests need. Compiled LRN kernels come along: they take seconds to make."""
    folder.mkdir()
    for name in _COPIED:
        source, target = PROJECT / name, folder / name
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, target)  # type: ignore[operator]
    for cache in folder.rglob("__pycache__"):
        # Python compares times in whole seconds: a bug of equal length would go unnoticed.
        for compiled in cache.glob("*.pyc"):
            compiled.unlink()
    return folder


def _try(copies: "SimpleQueue[Path]", mutant: Mutant) -> Outcome:
    began = time.monotonic()
    by = _failure(copies, mutant.tests, mutant)
    return Outcome(mutant, by is not None, by or "", time.monotonic() - began)


def _failure(
    copies: "SimpleQueue[Path]", tests: Sequence[str], mutant: Mutant | None = None
) -> str | None:
    """The first test that fails, None if none does."""
    project = copies.get()
    whole = (project / mutant.file).read_text() if mutant else ""
    try:
        if mutant:
            (project / mutant.file).write_text(mutant.apply(project))
        return _first_failure(project, tests)
    finally:
        if mutant:
            (project / mutant.file).write_text(whole)
        copies.put(project)


def _first_failure(project: Path, tests: Sequence[str]) -> str | None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(project / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
    }
    try:
        done = subprocess.run(
            [
                sys.executable, "-m", "pytest", "-q", "-x", "--tb=no", "-p", "no:cacheprovider",
                "-p", "no:warnings", "-m", "not slow", *(f"tests/{file}" for file in tests),
            ],
            cwd=project, env=environment, capture_output=True, text=True, timeout=_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"{tests[0]} (no end after {_SECONDS} seconds)"
    if done.returncode == 0:
        return None
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if done.returncode != 1 and not failed:
        raise RuntimeError(f"pytest ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return failed[0].split(" ", 1)[1].partition(" - ")[0].removeprefix("tests/")


def _with_progress(outcomes: Iterable[Outcome], chosen: Sequence[Mutant]) -> Iterable[Outcome]:
    for number, each in enumerate(outcomes, start=1):
        how = f"caught by {each.by}" if each.is_caught else "NOT CAUGHT"
        print(
            f"[{number}/{len(chosen)}] {each.seconds:4.0f} s  {each.mutant.name}: {how}", flush=True
        )
        yield each


if __name__ == "__main__":
    sys.exit(main())
