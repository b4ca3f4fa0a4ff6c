"""Write the tables of README.md and docs/results.md that are made from the sweeps in docs/results.

    python docs/results.py

docs/results/<experiment>/<name>/ is a copy of a sweep's folder without its checkpoints.
"""

from pathlib import Path

from alexnet.folders.sweep import find_sweeps
from alexnet.results.report import read_report
from alexnet.results.scorecard import readme_table

FOLDER = Path(__file__).with_suffix("")
FILES = (FOLDER.parents[1] / "README.md", FOLDER.with_suffix(".md"))
BEGIN = "<!-- Made by docs/results.py, from here -->\n"
END = "<!-- to here -->\n"


def table(file: Path, folder: Path = FOLDER) -> str:
    """The text between the two comments of a file, with links relative to that file."""
    reports = [read_report(sweep.path) for sweep in find_sweeps(folder)]
    return f"\n{readme_table(reports, file.parent)}\n"


def main() -> None:
    """Put the table into both files."""
    for file in FILES:
        before, _, rest = file.read_text().partition(BEGIN)
        after = rest.partition(END)[2]
        file.write_text(f"{before}{BEGIN}{table(file)}{END}{after}")


if __name__ == "__main__":
    main()
