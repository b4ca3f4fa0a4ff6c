"""The folder of a sweep's report: index.html, README.md, figures, tables and verdict.json."""

import os
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from alexnet.files import cell
from alexnet.folders.files import write_json
from alexnet.folders.sweep import SweepDir
from alexnet.results import wording
from alexnet.results.findings import Findings, comparison_of
from alexnet.results.latex import latex
from alexnet.results.parts import Part, Table, markdown
from alexnet.results.runs import Sweep, load_sweep
from alexnet.results.search import SEARCH_FILE
from alexnet.results.text import arms_table, effects_table, report_parts
from alexnet.results.verdict_file import verdict_content

_SECONDS_TO_WRITE = 3600.0


@dataclass(frozen=True, kw_only=True)
class Report(Findings):
    """The report of a sweep: its findings and its folder."""

    folder: Path

    @property
    def files(self) -> list[Path]:
        """Everything in the report's folder."""
        return sorted(self.folder.iterdir())

    @property
    def page(self) -> Path:
        """The page to open, a self-contained file."""
        return self.folder / "index.html"

    @property
    def tables(self) -> dict[str, Table]:
        """The printed tables by name: "arms", and "effects" if something was compared."""
        tables = {"arms": arms_table(self.comparison, self.experiment)}
        if self.comparison.effects:
            tables["effects"] = effects_table(self.comparison, self.experiment)
        return tables

    @property
    def answer(self) -> str:
        """The outcome in one sentence, with numbers and n."""
        return wording.answer(self.comparison, self.experiment)

    @property
    def line(self) -> str:
        """Experiment, data set, verdict and answer, for a log."""
        verdict = wording.short_verdict(self.comparison)
        kind = wording.REHEARSAL if self.sweep.is_rehearsal else ""
        return f"{kind}{self.experiment.name} on {self.sweep.data}: {verdict}. {self.answer}"


def write_report(folder: str | Path, *, refresh: int | None = None) -> Report:
    """Write <folder>/report from the files of a sweep, replacing an older report as a whole.

    With `refresh`, index.html reloads itself after that many seconds while runs are unfinished.
    Raises FileNotFoundError if the folder is not a sweep, ValueError if its sweep.json is damaged.
    """
    report = read_report(folder)
    sweep, comparison, target = report.sweep, report.comparison, report.folder
    partial = target.with_name(f".report-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    _clear_partial(sweep.path)
    partial.mkdir()
    try:
        figures = _draw(report, partial)
        _write_table(sweep, partial / "table.csv")
        write_json(partial / "verdict.json", verdict_content(report))
        if comparison.trials:
            from alexnet.results.search_file import write_search

            write_search(sweep, comparison, partial / SEARCH_FILE)
        parts = list(report_parts(report, figures))
        (partial / "README.md").write_text(markdown(parts))
        (partial / "table.tex").write_text(_latex(report))
        _write_page(report, parts, partial, refresh)
        _swap(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return report


def read_report(folder: str | Path) -> Report:
    """Return the report of a sweep without writing it. Raises the errors of write_report."""
    sweep = load_sweep(folder)
    return Report(folder=SweepDir(sweep.path).report, sweep=sweep, comparison=comparison_of(sweep))


def _write_page(
    findings: Findings, parts: Sequence[Part], folder: Path, refresh: int | None
) -> None:
    from alexnet.results.page import report_page

    sweep = findings.sweep
    page = report_page(
        findings,
        parts,
        folder=folder,
        refresh=refresh if sweep.ended < len(sweep.runs) else None,
    )
    (folder / "index.html").write_text(page)


def _latex(report: Report) -> str:
    experiment = report.sweep.experiment
    where = f"{experiment.name} on {report.sweep.data}"
    text = "\n".join(
        latex(table, label=f"{experiment.name}-{name}", caption=f"{where}: {name}.")
        for name, table in report.tables.items()
    )
    return f"% Needs \\usepackage{{booktabs}}.\n{text}"


def _clear_partial(folder: Path) -> None:
    """Remove unfinished reports of killed processes: to write one takes only seconds."""
    for left in folder.glob(".report-*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _SECONDS_TO_WRITE and not left.is_symlink():
                shutil.rmtree(left)


def _draw(findings: Findings, folder: Path) -> list[str]:
    from alexnet import plotting
    from alexnet.results.figures import draw

    drawn = draw.draw(findings)
    plotting.save(drawn, folder)
    return list(drawn)


def _write_table(sweep: Sweep, path: Path) -> None:
    """Write the table of runs, one row per planned run."""
    sweep.runs.map(cell).to_csv(path, index=False)


def _swap(new: Path, target: Path) -> None:
    """Replace the old folder by the new one; for a moment there is none."""
    old = target.with_name(f".report-old-{os.getpid()}")
    if target.exists():
        os.rename(target, old)
    os.rename(new, target)
    shutil.rmtree(old, ignore_errors=True)
