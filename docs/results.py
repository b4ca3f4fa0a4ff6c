"""Write the table of README.md that is made from the sweeps published in docs/results.

    python docs/results.py

docs/results/<experiment>/<name>/ is a copy of a sweep's folder without its checkpoints.
"""

from pathlib import Path

from alexnet.folders.sweep import find_sweeps
from alexnet.results.report import read_report
from alexnet.results.scorecard import readme_table

FOLDER = Path(__file__).with_suffix("")
FILE = FOLDER.parents[1] / "README.md"
BEGIN = "<!-- Made by docs/results.py, from here -->\n"
END = "<!-- to here -->\n"


def table(folder: Path = FOLDER) -> str:
    """What stands between the two comments."""
    reports = [read_report(sweep.path) for sweep in find_sweeps(folder)]
    return f"\n{readme_table(reports, FILE.parent)}\n"


def main() -> None:
    """Put the table into README.md."""
    before, _, rest = FILE.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    FILE.write_text(f"{before}{BEGIN}{table()}{END}{after}")


if __name__ == "__main__":
    main()
