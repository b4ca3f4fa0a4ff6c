"""The parts of a report, in their order."""

from collections.abc import Iterator, Sequence

from alexnet.results import acts, wording
from alexnet.results.compare import Comparison
from alexnet.results.findings import Findings
from alexnet.results.parts import Part, Picture, Table, Warning
from alexnet.results.runs import Sweep
from alexnet.results.text.claims import claims, e_values
from alexnet.results.text.how_to_read import how_to_read
from alexnet.results.text.runs import mixed, provenance, runs, settings
from alexnet.results.text.sensitivity import at_other_thresholds, by_number_of_trials
from alexnet.results.text.spent import in_seconds_and_flop
from alexnet.results.text.tables import arms_table, best_levels, effects, survival


def report_parts(findings: Findings, figures: Sequence[str]) -> Iterator[Part]:
    """Yield all parts; `figures` names the figures in the report's folder, the answer's first."""
    sweep, comparison, experiment = findings.sweep, findings.comparison, findings.experiment
    section = f" (section {experiment.section})" if experiment.section else ""
    kind = wording.REHEARSAL if sweep.is_rehearsal else ""
    yield f"# {kind}{experiment.name}{section} on {sweep.data}"
    verdict = wording.verdict(comparison)
    on = " on claim 1" if len(comparison.claims) > 1 else ""
    yield f"**{wording.answer(comparison, experiment)}** Verdict{on}: **{verdict}**."
    yield from _so_far(sweep)
    if comparison.problem:
        yield Warning(f"No verdict: {comparison.problem}.")
    yield from _cut(sweep)
    yield from _without_effect(comparison)
    yield from mixed(sweep)
    if idle := acts.warning(findings.norms):
        yield Warning(idle)
    yield Picture(figures[0], wording.name_of_measure(experiment.measure))
    yield from claims(comparison)
    yield f"Plan: {sweep.registered.text}"
    yield from e_values(comparison, experiment)
    yield "## Arms"
    yield arms_table(comparison, experiment)
    yield from best_levels(comparison)
    yield from effects(comparison, experiment)
    if findings.survival:
        yield from survival(findings.survival, experiment)
    yield from (Picture(name, name.replace("_", " ")) for name in figures[1:])
    yield from by_number_of_trials(findings)
    yield from at_other_thresholds(findings)
    yield from in_seconds_and_flop(findings)
    if findings.norms:
        yield "## What the normalization layers do"
        yield Table(acts.HEAD, acts.rows(findings.norms))
        yield acts.HOW_TO_READ_ACTS.strip()
    yield "## What was the same, and what was not"
    yield from settings(sweep, comparison)
    if experiment.notes:
        yield "## Notes"
        yield experiment.notes.strip()
    yield "## Runs"
    yield from runs(sweep)
    yield "## How to read the numbers"
    yield how_to_read(findings)
    yield "## Provenance"
    yield provenance(sweep)
    yield (
        "Files: `index.html` (interactive), `README.md`, `table.csv` (one row per run), "
        "`table.tex` (for a paper), `verdict.json` (this page for programs; errors are fractions "
        "between 0 and 1), and each figure as SVG and PNG."
    )


def _so_far(sweep: Sweep) -> Iterator[Part]:
    """Warn that a sweep is unfinished."""
    ended, planned = sweep.ended, len(sweep.runs)
    if ended < planned:
        yield Warning(f"**{ended} of {planned} runs so far**: the numbers below are preliminary.")


def _cut(sweep: Sweep) -> Iterator[Part]:
    if sweep.setting.cut:
        yield Warning(
            f"**These runs were cut short** ({', '.join(sweep.setting.cut)}): their results are no "
            "evidence for or against a claim."
        )


def _without_effect(comparison: Comparison) -> Iterator[Part]:
    """Warn of a factor that changes no digit of any seed: it may not have reached the network."""
    for effect in comparison.effects:
        nothing = 1.0 if effect.kind == "ratio" else 0.0
        is_same = bool(effect.values) and all(value == nothing for value in effect.values)
        if is_same and effect.bound is None and not effect.is_interaction:
            yield Warning(
                f"**{effect.of} changed nothing**: both levels measured exactly the same in "
                f"{wording.count(effect.n, 'seed')}. Does the factor reach the network?"
            )
