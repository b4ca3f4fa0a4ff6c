"""Publish sweeps in docs/results, and write what is made from all of them.

    python docs/results.py            all reports, scorecard, tables of README.md and results.md
    python docs/results.py FOLDER ... copy these sweeps first, in the place of earlier copies

docs/results/<experiment>/<name>/ is a copy of a sweep's folder without checkpoints and logs. Paths
of this machine become "data" and "outputs".
"""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from alexnet.folders.files import write_json
from alexnet.folders.run import RunDir
from alexnet.folders.sweep import find_sweeps
from alexnet.results.report import Report, read_report, write_report
from alexnet.results.runs import load_sweep
from alexnet.results.scorecard import readme_table, write_scorecard

FOLDER = Path(__file__).with_suffix("")
FILES = (FOLDER.parents[1] / "README.md", FOLDER.with_suffix(".md"))
BEGIN = "<!-- Made by docs/results.py, from here -->\n"
END = "<!-- to here -->\n"


def table(file: Path, reports: Sequence[Report] | None = None) -> str:
    """The text between the two comments of a file, with links relative to that file."""
    if reports is None:
        reports = [read_report(sweep.path) for sweep in find_sweeps(FOLDER)]
    return f"\n{readme_table(reports, file.parent)}\n"


def publish(sweep: Path, folder: Path = FOLDER) -> Path:
    """Copy what a report is made of, and return the copy. Raises FileNotFoundError for no sweep."""
    sweep = sweep.resolve()
    roots = {config.get("data", {}).get("root") for config in load_sweep(sweep).configs.values()}
    names = dict.fromkeys(filter(None, roots), "data") | {str(sweep.parents[1]): "outputs"}
    target = folder / sweep.parent.name / sweep.name
    shutil.rmtree(target, ignore_errors=True)
    left_out = shutil.ignore_patterns("checkpoints", "train.log", "hydra.yaml", "report", ".lock")
    shutil.copytree(sweep, target, ignore=left_out)
    for run in map(RunDir, target.glob("*/")):
        if "traceback" in (status := run.read_status()):  # its paths are of this machine
            write_json(run.status, {key: status[key] for key in status if key != "traceback"})
    for file in filter(Path.is_file, target.rglob("*")):
        text = file.read_text()
        for path, name in names.items():
            text = text.replace(path, name)
        file.write_text(text)
    return target


def main() -> None:
    """Copy what is named, then make everything anew."""
    for sweep in sys.argv[1:]:
        print(publish(Path(sweep)))
    reports = [write_report(sweep.path) for sweep in find_sweeps(FOLDER)]
    write_scorecard(FOLDER, reports)
    for file in FILES:
        before, _, rest = file.read_text().partition(BEGIN)
        after = rest.partition(END)[2]
        file.write_text(f"{before}{BEGIN}{table(file, reports)}{END}{after}")


if __name__ == "__main__":
    main()
