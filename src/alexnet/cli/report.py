"""Write the report of a sweep: `python src/report.py FOLDER`.

FOLDER is a sweep (it holds sweep.json): its report/ is written again. Or it contains sweeps, as
outputs/ or outputs/<experiment>/ do: each gets its report, all claims go into FOLDER/scorecard.md.

Exit status: 0 all written; 1 some sweep could not be reported; 2 the folder was wrong.
"""

import argparse
import sys
from collections.abc import Sequence

from alexnet.cli import folder_of
from alexnet.folders.sweep import find_sweeps


def main(arguments: Sequence[str]) -> int:
    """Write the reports and print what they say."""
    parser = argparse.ArgumentParser(
        prog="report.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=folder_of, metavar="FOLDER")
    folder = parser.parse_args(arguments).folder
    sweeps = [sweep.path for sweep in find_sweeps(folder)]
    if not sweeps:
        what = "has no sweep in it" if folder.is_dir() else "is no folder"
        print(
            f"{folder} {what}: expected a folder with sweep.json, such as "
            "outputs/relu_vs_tanh/cifar10-0123abcd, or a folder of such folders",
            file=sys.stderr,
        )
        return 2

    # Only now: pandas and matplotlib take a second; a mistyped folder is answered at once.
    from alexnet.results import write_report, write_scorecard

    reports, failures = [], []
    for sweep in sweeps:
        try:
            report = write_report(sweep)
        except (OSError, ValueError) as error:
            failures.append(f"{sweep}: {error}")
            continue
        reports.append(report)
        print(f"{report.line}\n  {report.folder / 'README.md'}")
    if sweeps != [folder] and reports:
        print(f"\n{write_scorecard(folder, reports)}\n\n{folder / 'scorecard.md'}")
    for failure in failures:
        print(failure, file=sys.stderr)
    if failures and sweeps == [folder]:
        return 2
    return 1 if failures else 0
