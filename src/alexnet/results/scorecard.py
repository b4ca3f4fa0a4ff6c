"""All claims beside what was measured: one row for each, including those that were not run."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from alexnet.config.experiment import Claim, Experiment
from alexnet.files import replacing
from alexnet.paths import CONF
from alexnet.results import wording
from alexnet.results.claims import ClaimResult
from alexnet.results.parts import Part, Table, markdown
from alexnet.results.report import Report
from alexnet.results.statistics import LEVEL, holm

TITLE = "Scorecard"
NOT_RUN = "not run"

_PAPERS = "Claims of the paper and of the logs of 2012"
_ANALOGUES = "Analogues: other data, another network or fewer epochs than the claim's"
_OURS = "Claims that are not the paper's"
_SEARCHES = "Searches, which choose by the same runs that they compare: no evidence"
_PLAIN = "Sweeps without a claim"
_TRIALS = "Trial runs, on a few batches: no evidence"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A claim, and its result in one sweep; without a report, the claim was not run.

    `result` is None for a sweep without a claim, and for a claim that was not run.
    """

    experiment: Experiment
    claim: Claim | None
    report: Report | None = None
    result: ClaimResult | None = None

    @property
    def kind(self) -> str:
        """The title of the table that the row belongs to."""
        if self.report is not None and self.report.sweep.setting.cut:
            return _TRIALS
        if self.report is not None and self.experiment.searched:
            return _SEARCHES
        if self.claim is None:
            return _PLAIN
        if self.result is not None and self.result.elsewhere:
            return _ANALOGUES
        return _OURS if self.claim.by == "us" else _PAPERS

    @property
    def measured(self) -> Experiment:
        """The experiment, as the claim measures it."""
        return self.result.experiment if self.result else self.experiment

    @property
    def is_value(self) -> bool:
        """Whether the claim is about an error itself and not about an effect."""
        return self.result is not None and self.result.claim.direction == "value"

    @property
    def unit(self) -> str:
        """What follows the number of an effect; an error has its per cent."""
        return "" if self.is_value else f" {wording.effect_unit(self.measured)}"


@cache
def shipped() -> tuple[Experiment, ...]:
    """Return the experiments of conf/experiment, by name."""
    defaults = yaml.safe_load((CONF / "config.yaml").read_text())["experiment"]
    names = sorted(file.stem for file in (CONF / "experiment").glob("*.yaml"))
    return tuple(Experiment.model_validate(_section_of(name, defaults)) for name in names)


def _section_of(name: str, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the section `experiment` of a file, over those of the experiments that it extends."""
    content = yaml.safe_load((CONF / "experiment" / f"{name}.yaml").read_text()) or {}
    section = dict(defaults)
    for base in content.get("defaults", ()):
        if isinstance(base, str) and base != "_self_":
            section = _section_of(base, section)
    own = content.get("experiment", {})
    return {**section, **own, "measure": {**section["measure"], **own.get("measure", {})}}


def rows(reports: Sequence[Report]) -> list[Row]:
    """Return a row for every claim of every sweep, and for every shipped claim that was not run.

    An analogue or a trial run of a claim does not count as a run of it. A claim that several
    experiments have is "not run" once, and only if none of them ran it.
    """
    found: list[Row] = []
    for report in reports:
        experiment = report.sweep.experiment
        results = report.comparison.claims
        found += [
            Row(experiment=experiment, claim=result.claim, report=report, result=result)
            for result in results
        ] or [Row(experiment=experiment, claim=None, report=report)]
    count = (_PAPERS, _OURS, _SEARCHES)
    judged = [row for row in found if row.kind in count]
    claims = {
        (experiment.name, place): Row(experiment=experiment, claim=claim)
        for experiment in shipped()
        for place, claim in enumerate(experiment.claims)
    }
    places = {(row.experiment.name, _place(row)) for row in judged} & claims.keys()
    listed = [row.claim for row in (*judged, *map(claims.__getitem__, places))]
    for row in claims.values():
        if row.claim not in listed:
            listed.append(row.claim)
            found.append(row)
    return sorted(found, key=lambda row: (row.experiment.section or "9", row.experiment.name))


def _place(row: Row) -> int:
    """Return the index of the claim in its experiment: its text may have changed since."""
    assert row.report is not None
    results = row.report.comparison.claims
    return next((place for place, each in enumerate(results) if each is row.result), -1)


def write_scorecard(folder: str | Path, reports: Sequence[Report]) -> str:
    """Write <folder>/scorecard.md and scorecard.html, and return the Markdown.

    The claims of the paper and its logs come first, with Holm's adjustment over all that were run.
    Analogues, our own claims, sweeps without a claim, and searches and shortened runs, which are no
    evidence, have separate tables.
    """
    from alexnet.results.page import scorecard_page

    folder = Path(folder)
    all_rows = rows(reports)
    text = markdown([f"# {TITLE}", *_parts(all_rows, folder, "README.md")])
    page = scorecard_page(TITLE, _parts(all_rows, folder, "index.html"))
    for name, content in (("scorecard.md", text), ("scorecard.html", page)):
        with replacing(folder / name) as file:
            file.write(content)
    return text.removesuffix("\n")


def _parts(all_rows: Sequence[Row], folder: Path, file: str) -> Iterator[Part]:
    scored = [row for row in all_rows if row.kind == _PAPERS and row.result is not None]
    papers = [row for row in all_rows if row.kind == _PAPERS]
    yield (
        f"{len(papers)} claims of the paper and of the logs of 2012, of which "
        f"{len(scored)} {'was' if len(scored) == 1 else 'were'} run in the setting of the claim."
    )
    p_values = holm([row.result.direction.p for row in scored if row.result])
    adjusted = {id(row): p for row, p in zip(scored, p_values, strict=True)}
    for title in (_PAPERS, _ANALOGUES, _OURS, _PLAIN, _SEARCHES, _TRIALS):
        members = [row for row in all_rows if row.kind == title]
        if members:
            yield f"## {title}"
            yield Table(HEAD, [_cells(row, folder, file, adjusted) for row in members])
        if title == _PAPERS and scored:
            yield (
                f"Holm's adjustment is made over the directions of the "
                f"{wording.count(len(scored), 'claim')} of this table that were run; a verdict "
                f"that is not significant at {100 * LEVEL:g} % after it is marked."
            )
    yield (
        "Cost: the total time of all runs on the hardware that the report names. "
        f"*{NOT_RUN.capitalize()}*: the experiment was not run in the setting of the claim."
    )


HEAD = (
    "section", "claim", "experiment", "data", "paper", "log of 2012", "ours", "95 % interval", "n",
    "direction", "size", "adjusted p", "cost",
)  # fmt: skip


def _cells(
    row: Row, folder: Path, file: str, adjusted: Mapping[int, float | None]
) -> tuple[str, ...]:
    experiment, claim, result, report = row.experiment, row.claim, row.result, row.report
    name = experiment.name
    if report is not None:
        if row.kind == _SEARCHES:  # there may be one for each initialization of the same network
            name = f"{name}, {report.sweep.path.name}"
        name = f"[{name}]({os.path.relpath(report.folder / file, folder)})"
    p = adjusted.get(id(row))
    return (
        experiment.section or "-",
        " ".join(claim.text.split()) if claim else "-",
        name,
        report.sweep.data if report else (claim.data if claim and claim.data else "-"),
        _claimed(row, "paper"),
        _claimed(row, "log"),
        *_measured(row),
        _counts(report) if report else "-",
        _direction(row, p),
        result.size.verdict if result and result.size and not result.cut else "-",
        wording.p_value(p),
        _cost(report) if report else "-",
    )


def _claimed(row: Row, by: str) -> str:
    """Return the number that the paper or a log states."""
    if row.claim is None or row.claim.by != by or row.claim.size is None:
        return "-"
    about = row.experiment.about(row.claim)
    if row.claim.direction == "value":
        return wording.value(row.claim.size.value, about.measure)
    if row.claim.size.value is None:
        return "no difference"
    return wording.paper_value(row.claim.size.value, about)


def _measured(row: Row) -> tuple[str, str]:
    """Return the effects and their intervals as text, in two columns."""
    effects = _effects(row)
    if not effects:
        return "-", "-"
    means, intervals = zip(*effects, strict=True)
    return f"{'; '.join(means)}{row.unit}", "; ".join(intervals)


def _effects(row: Row) -> list[tuple[str, str]]:
    """Return each effect, with its name if there are several, and its interval."""
    if row.report is None:
        return []
    effects = row.result.effects if row.result else row.report.comparison.claimed

    def write(number: float | None) -> str:
        if row.is_value:
            return wording.value(number, row.measured.measure)
        return wording.effect_value(number, row.measured)

    return [
        (
            (f"{effect.of} " if len(effects) > 1 else "")
            + wording.bound(effect.bound)
            + write(effect.mean),
            wording.interval(effect.ci95, write),
        )
        for effect in effects
    ]


def _counts(report: Report) -> str:
    counts = [arm.n for arm in report.comparison.arms]
    if len(counts) <= 3:
        return " / ".join(map(str, counts))
    least, most = min(counts), max(counts)
    return f"{least if least == most else f'{least} to {most}'} in {len(counts)} arms"


def _direction(row: Row, adjusted: float | None) -> str:
    """Return the verdict, marked if it is not significant among all claims of the scorecard."""
    report, result = row.report, row.result
    if report is None:
        return NOT_RUN
    if result is None:
        return wording.short_verdict(report.comparison)
    is_first = result is report.comparison.claims[0]
    if is_first and report.comparison.problem:
        return wording.short_verdict(report.comparison)
    if result.cut:
        return "not judged: runs cut short"
    verdict: str = result.direction.verdict
    if result.effects and min(effect.n for effect in result.effects) < 2:
        verdict = "too few finished runs"
    if result.elsewhere:
        return f"analogue: {verdict}"
    is_decided = verdict in ("agrees", "disagrees")
    if is_decided and adjusted is not None and adjusted > LEVEL:
        return f"{verdict} (undecided among all claims)"
    return verdict


def _cost(report: Report) -> str:
    finished = report.sweep.runs.reindex(columns=["run", "seconds"]).set_index("run")["seconds"]
    trained = report.sweep.metrics.groupby("run")["seconds"].max()  # also of runs that were stopped
    total = float(finished.fillna(trained).sum())
    runs = wording.count(len(report.sweep.runs), "run")
    if total <= 0:
        return runs
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if total >= length:
            return f"{runs}, {total / length:.3g} {unit}"
    return f"{runs}, {total:.3g} s"


# The table of a README


def readme_table(reports: Sequence[Report], folder: Path) -> str:
    """Return a Markdown table: a row per measured claim, and per comparison without a claim.

    Searches and trial runs are left out. Links are relative to the folder.
    """
    all_rows = rows(reports)
    evidence = [row for row in all_rows if row.kind not in (_SEARCHES, _TRIALS)]
    measured = [
        row for row in evidence if row.report and (row.claim or row.report.comparison.claimed)
    ]
    papers = [row for row in all_rows if row.kind == _PAPERS]
    left = sum(row.result is None for row in papers)
    rest = (
        f"{left} of the {len(papers)} claims of the paper and of the logs of 2012 have not been "
        "run in the setting of the claim."
    )
    if not measured:
        return "No complete sweep is published in docs/results yet.\n"
    table = Table(
        ("section", "claim", "on", "claimed", "measured (95 % interval)", "n", "verdict"),
        [_short_cells(row, folder) for row in measured],
    )
    return f"{markdown([table, rest])}"


def _short_cells(row: Row, folder: Path) -> tuple[str, ...]:
    assert row.report is not None
    claimed = [number for by in ("paper", "log") if (number := _claimed(row, by)) != "-"]
    link = os.path.relpath(row.report.folder / "README.md", folder)
    size = row.result.size.verdict if row.result and row.result.size else "undecided"
    verdict = _direction(row, None) + (f", {size}" if size != "undecided" else "")
    text = " ".join(row.claim.text.split()) if row.claim else f"`{row.experiment.name}`"
    if row.claim and row.claim.by == "us":
        text += " (our claim)"
    effects = _effects(row)
    each, last = ("", row.unit) if len(effects) > 1 else (row.unit, "")  # the unit once
    measured = "; ".join(
        f"{mean}{each}" + (f" ({interval})" if interval != "-" else "")
        for mean, interval in effects
    )
    return (
        row.experiment.section or "-",
        text,
        row.report.sweep.data,
        "; ".join(claimed) or "-",
        f"{measured}{last}" if effects else "-",
        _counts(row.report),
        f"[{verdict}]({link})",
    )
