"""Write the report of a sweep: `python src/report.py FOLDER`.

If FOLDER is a sweep (it contains sweep.json), its report/ is written again. If FOLDER contains
sweeps, as outputs/ or outputs/<experiment>/ do, the report of each is written, and a scorecard of
all claims as FOLDER/scorecard.html and scorecard.md.

Exit status: 0 all written; 1 some sweep could not be reported; 2 the folder was wrong.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from alexnet.cli import folder_of
from alexnet.folders.sweep import SweepDir, find_sweeps

SECONDS = 5
"""Interval at which --watch checks a sweep for changes."""


def main(arguments: Sequence[str]) -> int:
    """Write the reports and print a line for each."""
    parser = argparse.ArgumentParser(
        prog="report.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=folder_of, metavar="FOLDER")
    parser.add_argument("--open", action="store_true", help="open the page in a browser")
    parser.add_argument(
        "--watch",
        action="store_true",
        help="while runs are unfinished, write the report whenever they have made progress; "
        "the page refreshes itself (for one sweep)",
    )
    parsed = parser.parse_args(arguments)
    folder: Path = parsed.folder
    sweeps = [sweep.path for sweep in find_sweeps(folder)]
    if not sweeps:
        what = "has no sweep in it" if folder.is_dir() else "is not a folder"
        print(
            f"{folder} {what}: expected a folder with sweep.json, such as "
            "outputs/relu_vs_tanh/cifar10-0123abcd, or a folder of such folders",
            file=sys.stderr,
        )
        return 2
    if parsed.watch and sweeps != [folder]:
        print(
            f"--watch follows one sweep, but {folder} contains {len(sweeps)}: name one, such as "
            f"{sweeps[0]}",
            file=sys.stderr,
        )
        return 2

    # Imported late, because pandas and matplotlib take a second: a wrong folder is refused at once.
    from alexnet.results import write_report, write_scorecard
    from alexnet.results.console import console_text

    reports, failures = [], []
    for sweep in sweeps:
        try:
            report = write_report(sweep, refresh=SECONDS if parsed.watch else None)
        except (OSError, ValueError) as error:
            failures.append(f"{sweep}: {error}")
            continue
        reports.append(report)
        is_alone = sweeps == [folder]
        text = console_text(report, sys.stdout) if is_alone else f"{report.line}\n  {report.page}"
        print(text, flush=True)
    page = reports[0].page if reports else None
    if sweeps != [folder] and reports:
        print(f"\n{write_scorecard(folder, reports)}\n\n{folder / 'scorecard.html'}")
        page = folder / "scorecard.html"
    for failure in failures:
        print(failure, file=sys.stderr)
    if page and parsed.open:
        import webbrowser

        if not webbrowser.open(page.absolute().as_uri()):
            print(f"no browser could be started: open {page.absolute()}", file=sys.stderr)
    if page and parsed.watch:
        _watch(SweepDir(folder))
    if failures and sweeps == [folder]:
        return 2
    return 1 if failures else 0


def _watch(sweep: SweepDir) -> None:
    """Write the report whenever a run's files change, until all runs have ended or Ctrl-C."""
    from alexnet.results import write_report

    seen = _state(sweep)
    try:
        while not _is_over(sweep):
            time.sleep(SECONDS)
            if (now := _state(sweep)) != seen:
                seen = now
                try:
                    print(write_report(sweep.path, refresh=SECONDS).line, flush=True)
                except (OSError, ValueError) as error:  # a run may be replacing a file: next time
                    print(error, file=sys.stderr)
    except KeyboardInterrupt:
        print()
    # Once more without refresh: the last page must not keep refreshing itself.
    write_report(sweep.path)


def _is_over(sweep: SweepDir) -> bool:
    return all(
        run.is_finished or run.read_status().get("state") == "failed" for run in sweep.runs()
    )


def _state(sweep: SweepDir) -> list[tuple[str, int]]:
    """Return when each file that a report reads was last written."""
    found = []
    for run in sweep.runs():
        for file in (run.status, run.metrics, run.progress):
            try:
                found.append((str(file), file.stat().st_mtime_ns))
            except FileNotFoundError:
                continue
    return found
