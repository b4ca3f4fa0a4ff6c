"""The report of a sweep: index.html and README.md with the answer first, figures and tables."""

import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alexnet.config.experiment import Experiment, Measure
from alexnet.files import cell
from alexnet.folders.files import write_json
from alexnet.folders.sweep import SweepDir
from alexnet.results import acts, wording
from alexnet.results.anytime import SETTLES, AnytimeEffect
from alexnet.results.claims import ClaimResult
from alexnet.results.compare import Comparison, compare
from alexnet.results.effects import Effect, Fate, Outcome, level_label
from alexnet.results.latex import latex
from alexnet.results.parts import Part, Picture, Table, Warning, markdown
from alexnet.results.runs import COSTS, Sweep, load_sweep
from alexnet.results.search import BudgetEffect
from alexnet.results.search_file import SEARCH_FILE, write_search
from alexnet.results.statistics import holm
from alexnet.results.survival import Pair, survival_of
from alexnet.results.verdict_file import verdict_content

_SECONDS_TO_WRITE = 3600.0

THRESHOLDS = (0.6, 0.55, 0.5, 0.45, 0.4, 0.35, 0.3, 0.25, 0.2, 0.15)

HOW_TO_READ = """
- An interval is a two-sided 95 % t-interval over seeds. Effects are paired by seed, other level
  against baseline; a ratio is the geometric mean of the seeds' ratios, with its interval taken on
  logarithms. An effect {side} {no_effect:g} means that the baseline is better. If all seeds gave
  the same effect there is no spread, and with it neither an interval nor a verdict.
- p is that of a two-sided paired t-test against no effect; adjusted: by Holm's method, for all
  rows of its table, so that a chance of 5 % holds for the table as a whole.
- *Direction*: *agrees* or *disagrees* if the adjusted p is at most 0.05, else *undecided*; a claim
  about several levels agrees only if each of them does. *Size*: *compatible* or *equivalent* if
  two one-sided tests at the 5 % level show that the effect is within the margin; *smaller*,
  *larger* or *different* if a two-sided test shows that it is outside; else *undecided*.
- An *analogue* is the same experiment on other data or with another network than the claim is
  about: it neither supports nor contradicts the claim.
- A run that diverged is a result. {diverged} Runs that failed or are missing have no
  value, are not in n, and are listed."""

DIVERGED_TIME = "It counts as not there by the end of its budget."
DIVERGED_ERROR = """It counts with the error of guessing; where that is not known, its seed is
  left out, the effect is one on runs that finish, and *agrees* is withheld."""

HOW_TO_READ_AT_ANY_LOOK = """
- Seeds were added one at a time until the first claim was settled (`seed=auto`). So for effects no
  t-test is made: their intervals and p come from e-values (a normal mixture over standardized
  effects, deviation unknown), which hold however often one looks: p is 2 over the e-value of the
  direction. Intervals of single arms and those at other thresholds remain t-intervals."""

HOW_TO_READ_TIME = """
- Epochs to {metric}: where a monotone fit of the curve (isotonic regression) reaches the
  threshold, linear between rows, once the fit has stayed there for one epoch; if the curve ends
  earlier, by the fit of all its rows. The first row at or {below} the threshold would be early: it
  is there by chance. The training error of a row of progress.csv is counted over the images since
  the row before, and stands in the middle between both.
- A run that ended without getting there is *censored*, not failed: all that is known is that it
  needs more than its limit, the epochs it was trained. Its arm has no mean. In effects it counts
  with its limit, so that they compare the restricted time min(T, limit). With censored runs on the
  other side only, an effect is a lower bound and its interval open above; with censored runs in
  the baseline only, an upper bound and open below; with both there is no estimate."""

HOW_TO_READ_GRID = """
- Main effects are averaged over all combinations of the remaining factors. An interaction is the
  difference of differences (of logarithms for a ratio), without a factor of 1/2: by how much the
  effect of one factor changes with the other. {no_effect:g} is no interaction."""

HOW_TO_READ_SEARCH = """
- Every arm is compared at its own best {search}: first the level with the largest share of runs
  that got there, then the {lowest} mean of those, and if none did, the error that they came to. The
  choice uses the same runs as the comparison, in all arms alike. If the best lies on the edge of
  what was searched, no run got there, or runs are left, the search is unfinished and nothing is
  judged."""

HOW_TO_READ_VALUE = """
- The error of a network itself is judged by two one-sided tests against the ends of the margin. Of
  one run: binomial tests and the exact (Clopper-Pearson) interval over the test images, which say
  nothing of other seeds. Of several: Student's t over seeds. A sweep on another number of test
  images than the claim's is an analogue."""

REHEARSAL = "REHEARSAL: "
"""Before the name of a sweep whose runs saw a few batches of each epoch."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was written, and what it says."""

    folder: Path
    sweep: Sweep
    comparison: Comparison

    @property
    def files(self) -> list[Path]:
        """Everything in the report's folder."""
        return sorted(self.folder.iterdir())

    @property
    def page(self) -> Path:
        """What to open: one file that needs nothing beside it."""
        return self.folder / "index.html"

    @property
    def tables(self) -> dict[str, Table]:
        """The arms, and if there is something to compare the effects, as they are printed."""
        tables = {"arms": _arms_table(self.comparison, self.sweep.experiment)}
        if self.comparison.effects:
            tables["effects"] = _effects_table(self.comparison, self.sweep.experiment)
        return tables

    @property
    def answer(self) -> str:
        """The outcome in one sentence, with numbers and n."""
        return wording.answer(self.comparison, self.sweep.experiment)

    @property
    def line(self) -> str:
        """Experiment, data set, verdict and answer, for a log."""
        verdict = short_verdict(self.comparison)
        kind = REHEARSAL if self.sweep.is_rehearsal else ""
        return f"{kind}{self.sweep.experiment.name} on {self.sweep.data}: {verdict}. {self.answer}"


def comparison_of(sweep: Sweep) -> Comparison:
    """What the runs say of the experiment, by the tests that its plan allows."""
    return compare(
        sweep.outcomes(),
        experiment=sweep.experiment,
        setting=sweep.setting,
        measured=sweep.outcomes,
        intervals=sweep.intervals,
        unfinished=sweep.unfinished_search,
        is_anytime=sweep.registered.max_seeds is not None,
    )


def write_report(folder: str | Path, *, refresh: int | None = None) -> Report:
    """Write <folder>/report from the files of a sweep, replacing an older report as a whole.

    With `refresh`, index.html loads itself again after so many seconds while runs are unfinished.
    Raises FileNotFoundError if the folder is no sweep, ValueError if its sweep.json is damaged.
    """
    report = read_report(folder)
    sweep, comparison, target = report.sweep, report.comparison, report.folder
    partial = target.with_name(f".report-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    _clear_partial(sweep.path)
    partial.mkdir()
    try:
        figures = _draw(sweep, comparison, partial)
        _write_table(sweep, partial / "table.csv")
        norms = acts.norms_at_work(sweep)
        content = verdict_content(comparison, sweep.experiment, registered=sweep.registered)
        content["acts"] = [norm.plain() for norm in norms]
        write_json(partial / "verdict.json", content)
        if comparison.trials:
            write_search(sweep, comparison, partial / SEARCH_FILE)
        parts = list(_parts(sweep, comparison, figures, norms))
        (partial / "README.md").write_text(markdown(parts))
        (partial / "table.tex").write_text(_latex(report))
        _write_page(sweep, comparison, parts, partial, refresh)
        _swap(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return report


def read_report(folder: str | Path) -> Report:
    """What a report would say, without writing it. Raises as write_report does."""
    sweep = load_sweep(folder)
    return Report(folder=SweepDir(sweep.path).report, sweep=sweep, comparison=comparison_of(sweep))


def _write_page(
    sweep: Sweep,
    comparison: Comparison,
    parts: Sequence[Part],
    folder: Path,
    refresh: int | None,
) -> None:
    from alexnet.results.page import report_page

    page = report_page(
        sweep,
        comparison,
        parts,
        verdict=_verdict(comparison),
        folder=folder,
        refresh=refresh if _ended(sweep) < len(sweep.runs) else None,
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
    """Remove what was being written by processes that have been killed; a report takes seconds."""
    for left in folder.glob(".report-*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _SECONDS_TO_WRITE and not left.is_symlink():
                shutil.rmtree(left)


def _draw(sweep: Sweep, comparison: Comparison, folder: Path) -> list[str]:
    from alexnet import plotting
    from alexnet.results.figures import draw

    drawn = draw.draw(sweep, comparison)
    plotting.save(drawn, folder)
    return list(drawn)


def _write_table(sweep: Sweep, path: Path) -> None:
    """One row per planned run: what the sweep knows of it, and its measure."""
    sweep.runs.map(cell).to_csv(path, index=False)


def _swap(new: Path, target: Path) -> None:
    """Put the new folder in the place of the old; a reader sees one of them, or briefly none."""
    old = target.with_name(f".report-old-{os.getpid()}")
    if target.exists():
        os.rename(target, old)
    os.rename(new, target)
    shutil.rmtree(old, ignore_errors=True)


# What the report says, in its order


def _parts(
    sweep: Sweep,
    comparison: Comparison,
    figures: Sequence[str],
    norms: Sequence[acts.NormAtWork],
) -> Iterator[Part]:
    experiment = sweep.experiment
    section = f" (section {experiment.section})" if experiment.section else ""
    yield f"# {REHEARSAL if sweep.is_rehearsal else ''}{experiment.name}{section} on {sweep.data}"
    yield f"**{wording.answer(comparison, experiment)}** Verdict: **{_verdict(comparison)}**."
    yield from _so_far(sweep)
    if comparison.problem:
        yield Warning(f"No verdict: {comparison.problem}.")
    yield from _cut(sweep)
    yield from _without_effect(comparison)
    yield from _mixed(sweep)
    yield from map(Warning, acts.warnings(norms))
    yield Picture(figures[0], wording.name_of_measure(experiment.measure))
    yield from _claims(comparison)
    yield f"Plan: {sweep.registered.text}"
    yield from _e_values(comparison, experiment)
    yield "## Arms"
    yield _arms_table(comparison, experiment)
    yield from _best(comparison)
    yield from _effects(comparison, experiment)
    yield from _survival(comparison, experiment)
    yield from (Picture(name, name.replace("_", " ")) for name in figures[1:])
    yield from _tuning_budget(sweep, comparison)
    yield from _sensitivity(sweep, comparison)
    yield from _norms(norms)
    yield "## What was the same, and what was not"
    yield from _settings(sweep, comparison)
    if experiment.notes:
        yield "## Notes"
        yield experiment.notes.strip()
    yield "## Runs"
    yield from _runs(sweep)
    yield "## How to read the numbers"
    yield _how_to_read(comparison, experiment, is_anytime=sweep.registered.max_seeds is not None)
    yield "## Provenance"
    yield _provenance(sweep)
    yield (
        "Files: `index.html` (interactive), `README.md`, `table.csv` (one row per run), "
        "`table.tex` (for a paper), `verdict.json` (this page for programs; errors are fractions "
        "between 0 and 1), and each figure as SVG and PNG."
    )


def _e_values(comparison: Comparison, experiment: Experiment) -> Iterator[Part]:
    """Of a sweep whose seeds were added until its first claim was settled."""
    effects = [each for each in comparison.claimed if isinstance(each, AnytimeEffect)]
    shown = [
        f"{effect.of}: e-value {effect.e_value:.3g}, anytime-valid 95 % interval "
        + wording.interval(effect.ci95, lambda number: wording.effect_value(number, experiment))
        for effect in effects
        if effect.e_value is not None
    ]
    if shown:
        yield (
            f"{'; '.join(shown)}. An e-value of {SETTLES:g} settles the direction of a claim that "
            "stands alone."
        )


def _paper_number(experiment: Experiment) -> str:
    value = experiment.paper.value if experiment.paper else None
    return wording.paper_value(value, experiment) if value is not None else "no number"


def _arms_table(comparison: Comparison, experiment: Experiment) -> Table:
    measure = experiment.measure
    keys = list(comparison.arms[0].levels) if comparison.arms else []
    lost: tuple[Fate, ...] = ("diverged", "failed", "unfinished", "missing")
    if any(arm.count("unmeasured") for arm in comparison.arms):
        lost = ("unmeasured", *lost)
    rows = []
    for arm in comparison.arms:
        mean = wording.value(arm.mean, measure)
        if arm.limit is not None:
            mean = f"more than {arm.limit:.4g} in {len(arm.limits)} of {arm.n}"
        rows.append(
            [
                *map(level_label, arm.levels.values()),
                str(arm.n),
                mean,
                wording.interval(arm.ci95, lambda number: wording.value(number, measure)),
                wording.values(arm, measure),
                str(arm.censored),
                *(str(arm.count(fate)) for fate in lost),
            ]
        )
    name = wording.name_of_measure(measure)
    head = [*keys, "n", name, "95 % interval", "by seed", "censored", *lost]
    return Table(head, rows)


def _best(comparison: Comparison) -> Iterator[Part]:
    for best in comparison.best:
        arm = ", ".join(map(level_label, best.arm.values()))
        edge = (
            " This is the edge of what was searched: a better one may lie beyond."
            if best.at_edge
            else ""
        )
        for key, level in best.levels.items():
            on_edge = edge if key in best.on_edge else ""
            yield f"Best `{key}` for {arm or 'all runs'}: {level_label(level)}.{on_edge}"
    if comparison.best:
        yield (
            f"`{SEARCH_FILE}` holds the search for other experiments: copy it to "
            "`conf/searches/NAME.yaml`, also in a folder of your own."
        )


def _tuning_budget(sweep: Sweep, comparison: Comparison) -> Iterator[Part]:
    """What fewer trials would have found: a comparison should not hang on how many there were."""
    most = max((len(each.expected) for each in comparison.budgets), default=0)
    if most < 2:
        return
    experiment = sweep.experiment
    measure = experiment.measure
    yield "## By the number of trials"
    rows = []
    for k in range(most):
        cells = []
        for budget in comparison.budgets:
            shown = "-"
            if k < len(budget.expected):
                least = wording.bound("lower" if budget.is_bound[k] else None)
                shown = f"{least}{wording.value(budget.expected[k], measure)}"
            cells.append(shown)
        effects = (_at_budget(each, k, experiment) for each in comparison.budget_effects)
        rows.append([str(k + 1), *cells, *effects])
    arms = [", ".join(map(level_label, each.arm.values())) for each in comparison.budgets]
    yield Table(["trials", *arms, *(each.of for each in comparison.budget_effects)], rows)
    yield (
        f"{wording.name_of_measure(measure).capitalize()} expected at the best of so many of each "
        f"arm's trials, over all choices of them, and the {experiment.effect} of these. *at "
        "least*: the best of some choices is censored, so that the number is a lower bound."
    )
    measures = [measure.model_copy(update={"threshold": each}) for each in _thresholds(measure)]
    if not comparison.budget_effects:
        return
    budgets = sorted({1, (most + 1) // 2, most})
    rows = []
    for at in measures:
        about = experiment.model_copy(update={"measure": at})
        there = compare(sweep.outcomes(at), experiment=about)
        cells = [
            _at_budget(effect, k - 1, experiment)
            for effect in there.budget_effects
            for k in budgets
        ]
        if set(cells) != {"-"}:
            rows.append([f"{100 * (at.threshold or 0.0):g} %", *cells])
    if not rows:
        return
    yield "## By the number of trials, at other thresholds"
    head = [
        f"{effect.of}, {wording.count(k, 'trial')}"
        for effect in comparison.budget_effects
        for k in budgets
    ]
    yield Table(["threshold", *head], rows)
    yield (
        "At each threshold every arm has the trial that is best there. Runs that end at their "
        "threshold say nothing of those below it."
    )


def _at_budget(effect: BudgetEffect, k: int, experiment: Experiment) -> str:
    if k >= len(effect.values):
        return "-"
    value = wording.effect_value(effect.values[k], experiment)
    return f"{wording.bound(effect.bounds[k])}{value}"


def _effects(comparison: Comparison, experiment: Experiment) -> Iterator[Part]:
    if not comparison.effects:
        return
    yield "## Effects"
    yield _effects_table(comparison, experiment)
    if comparison.contains_paper_value is not None:
        does = "contains" if comparison.contains_paper_value else "does not contain"
        yield f"The interval {does} the paper's value."


def _effects_table(comparison: Comparison, experiment: Experiment) -> Table:
    paper = _paper_number(experiment)
    adjusted = holm([effect.p for effect in comparison.effects])
    rows = []
    for effect, p in zip(comparison.effects, adjusted, strict=True):
        mean = wording.effect_value(effect.mean, experiment)
        if effect.bound == "neither":
            mean = "censored on both sides"
        elif effect.bound is not None:
            mean = f"{'at least' if effect.bound == 'lower' else 'at most'} {mean}"
        rows.append(
            [
                effect.of,
                mean,
                wording.interval(
                    effect.ci95, lambda number: wording.effect_value(number, experiment)
                ),
                wording.p_value(effect.p),
                wording.p_value(p),
                paper if effect is comparison.papers_effect else "-",
                str(effect.n),
                ", ".join(map(str, effect.left_out)) or "-",
            ]
        )
    unit = wording.effect_unit(experiment)
    head = ["effect", f"{experiment.effect} ({unit})", "95 % interval", "p", "adjusted"]
    return Table([*head, "paper", "n", "seeds left out"], rows)


def _survival(comparison: Comparison, experiment: Experiment) -> Iterator[Part]:
    """What every run says of the time, those that never got there included."""
    found = survival_of(comparison, experiment)
    if found is None:
        return
    yield "## Runs that did not get there"
    pairs: list[Pair | None] = [None, *found.pairs]
    head = ["arm", "n", "not there", "restricted mean (epochs)", "ratio", "log-rank p"]
    yield Table(
        head,
        [
            [
                curve.label,
                str(curve.n),
                str(len(curve.censored)),
                wording.value(curve.restricted_mean, experiment.measure),
                f"{pair.ratio:.2f}" if pair and pair.ratio is not None else "-",
                wording.p_value(pair.p if pair else None),
            ]
            for curve, pair in zip(found.curves, pairs, strict=True)
        ],
    )
    yield (
        f"The mean of min(T, {found.until:.4g} epochs) by the Kaplan-Meier estimate, its ratio to "
        f"that of {found.curves[0].label}, and a log-rank test by permutation. Runs that diverged "
        "are among those that did not get there. Nothing here is paired by seed, and no verdict "
        "rests on it."
    )


def _sensitivity(sweep: Sweep, comparison: Comparison) -> Iterator[Part]:
    """The same effects at other thresholds: a verdict should not hang on one of them."""
    experiment = sweep.experiment
    measure = experiment.measure
    if not _thresholds(measure) or not comparison.claimed or comparison.searched:
        return
    yield "## At other thresholds"
    effects = [effect.of for effect in comparison.claimed]
    rows = []
    for threshold in _thresholds(measure):
        at = measure.model_copy(update={"threshold": threshold})
        there = compare(
            sweep.outcomes(at), experiment=experiment.model_copy(update={"measure": at})
        )
        found = {effect.of: effect for effect in there.claimed}
        cells = (_with_interval(found[of], experiment) for of in effects)
        rows.append([f"{100 * threshold:g} %", *cells])
    yield Table(["threshold", *effects], rows)
    yield (
        f"Each cell: the {experiment.effect} with its 95 % interval; -: no pair of runs got there. "
        "Runs that end at their threshold say nothing of those below it. These rows are no tests."
    )


def _thresholds(measure: Measure) -> list[float]:
    """Those at which a report shows the effect; none if the measure is no time to an error."""
    is_share = measure.described.is_fraction and measure.described.better == "lower"
    if measure.kind == "final" or not is_share or measure.threshold is None:
        return []
    return sorted({*THRESHOLDS, measure.threshold}, reverse=True)


def _norms(norms: Sequence[acts.NormAtWork]) -> Iterator[Part]:
    if norms:
        yield "## What the norms do"
        yield Table(acts.HEAD, acts.rows(norms))
        yield acts.HOW_TO_READ_ACTS.strip()


def _with_interval(effect: Effect, experiment: Experiment) -> str:
    if effect.mean is None:
        return "-"
    ends = wording.interval(effect.ci95, lambda number: wording.effect_value(number, experiment))
    mean = wording.effect_value(effect.mean, experiment)
    return f"{wording.bound(effect.bound)}{mean} ({ends})"


def _settings(sweep: Sweep, comparison: Comparison) -> Iterator[Part]:
    """Keys that differ between runs beyond what is swept, then everything that was the same."""
    configs = {run: dict(_flat(config)) for run, config in sweep.configs.items() if config}
    if not configs:
        yield "No run has left its configuration."
        return
    sections = ("model", "data", "learning", "trainer")
    swept = {key for arm in sweep.arms.values() for key in arm}
    distinct = {
        key: {config.get(key, "not set") for config in configs.values()}
        for key in dict.fromkeys(key for config in configs.values() for key in config)
        if key not in swept and key.partition(".")[0] in sections
    }
    differ = [
        [f"`{key}`", *(_values_in_arm(key, arm.outcomes, configs) for arm in comparison.arms)]
        for key, values in distinct.items()
        if len(values) > 1
    ]
    if differ:
        yield "Beyond what was varied, the runs differ in:"
        yield Table(["key", *(arm.label for arm in comparison.arms)], differ)
    else:
        yield "Beyond what was varied, the runs differ in nothing."
    yield "The same in all runs:"
    same = []
    for section in sections:
        equal = [
            f"`{key.partition('.')[2]}={''.join(values)}`"
            for key, values in distinct.items()
            if key.partition(".")[0] == section and len(values) == 1
        ]
        if equal:
            same.append(f"- {section}: {', '.join(equal)}")
    yield "\n".join(same)


def _values_in_arm(
    key: str, outcomes: Iterable[Outcome], configs: Mapping[str, Mapping[str, str]]
) -> str:
    mine = (configs[each.run].get(key, "not set") for each in outcomes if each.run in configs)
    return " / ".join(dict.fromkeys(mine))


def _runs(sweep: Sweep) -> Iterator[Part]:
    """Every planned run with its folder; what did not finish says why."""
    rows = []
    measure = sweep.experiment.measure
    for row, outcome in zip(sweep.runs.to_dict("records"), sweep.outcomes(), strict=True):
        cause = row["cause"]
        if row["state"] == "finished" and outcome.value is None:
            cause = sweep.why_unmeasured()
        fate = outcome.fate
        state = row["state"] if fate == "unfinished" else fate
        shown = wording.value(outcome.value, measure)
        if outcome.fate == "diverged" and outcome.value is not None and not outcome.censored:
            shown += " (guessing)"
        if outcome.censored:
            shown = f"more than {outcome.value:.4g}"
        rows.append(
            [
                f"[{outcome.run}](../{outcome.run})",
                "censored" if outcome.censored and fate == "finished" else state,
                shown,
                _number(row["epochs"], "g"),
                *(_number(row[name], ".0f") for name in COSTS),
                cause or "-",
            ]
        )
    costs = ["seconds", "images/s", "memory (MB)"]
    head = ["run", "state", wording.name_of_measure(measure), "epochs", *costs, "cause"]
    yield _tally(row[1] for row in rows)
    yield Table(head, rows)


def _tally(states: Iterable[str]) -> str:
    counts: dict[str, int] = {}
    for state in states:
        counts[state] = counts.get(state, 0) + 1
    listed = ", ".join(f"{count} {state}" for state, count in counts.items())
    return f"{sum(counts.values())} planned: {listed}."


def _how_to_read(comparison: Comparison, experiment: Experiment, *, is_anytime: bool) -> str:
    text = HOW_TO_READ + HOW_TO_READ_AT_ANY_LOOK if is_anytime else HOW_TO_READ
    if experiment.measure.kind == "epochs_to_error":
        text += HOW_TO_READ_TIME
    if any(effect.is_interaction for effect in comparison.effects):
        text += HOW_TO_READ_GRID
    if comparison.best:
        text += HOW_TO_READ_SEARCH
    if any(claim.direction == "value" for claim in experiment.claims):
        text += HOW_TO_READ_VALUE
    measure = experiment.measure
    return text.strip().format(
        no_effect=experiment.no_effect,
        search=" and ".join(experiment.searched),
        side="above" if measure.lower_is_better else "below",
        diverged=DIVERGED_TIME if measure.kind == "epochs_to_error" else DIVERGED_ERROR,
        lowest="lowest" if measure.lower_is_better else "highest",
        metric=f"a {measure.described.printed}",
        below="below" if measure.described.better == "lower" else "above",
    )


def _provenance(sweep: Sweep) -> str:
    """Command, commit, versions, hardware, threads: each distinct value with its number of runs."""
    lines = [f"- command: `{sweep.command}`"] if sweep.command else []
    lines += [_search_used(name, each, sweep) for name, each in sweep.searches.items()]
    for name, counts in _origins(sweep).items():
        shown = _by_count(counts) if len(counts) > 1 else "".join(counts)
        lines.append(f"- {name}: {shown or 'not recorded'}")
    return "\n".join(lines)


def _search_used(name: str, search: Mapping[str, Any], sweep: Sweep) -> str:
    state = f"unfinished: {search['unfinished']}" if search.get("unfinished") else "finished"
    seeds = wording.count(len(search.get("seeds") or []), "seed")
    where = f"made on {search.get('data')}"
    where += "" if search.get("data") == sweep.data else f", not on {sweep.data}"
    return f"- search: {name} (sha256 {str(search.get('sha256'))[:12]}), {where}, {seeds}; {state}"


def _mixed(sweep: Sweep) -> Iterator[Part]:
    """A warning if runs were made by different code, which may be why their numbers differ."""
    for what, name in (("code", "commit"), ("libraries", "versions")):
        if len(counts := _origins(sweep)[name]) > 1:
            yield Warning(f"**Not all runs were made by the same {what}**: {_by_count(counts)}.")


def _origins(sweep: Sweep) -> dict[str, dict[str, int]]:
    """What the runs say of where they came from, and how many of them say so."""
    known = [provenance for provenance in sweep.provenance.values() if provenance]
    kinds = ("versions", "hardware", "threads")
    listed = {kind: dict(Counter(_listed(each.get(kind)) for each in known)) for kind in kinds}
    return {"commit": dict(Counter(map(_code, known))), **listed}


def _by_count(counts: Mapping[str, int]) -> str:
    return "; ".join(f"{text}: {wording.count(number, 'run')}" for text, number in counts.items())


def _code(provenance: Mapping[str, Any]) -> str:
    """Which code a run was made by: a commit, or without a checkout the version."""
    commit, version = provenance.get("commit"), provenance.get("version")
    if not commit and version and provenance.get("dirty") is False:  # installed
        return f"none (installed, version {version})"
    is_dirty = provenance.get("dirty")
    with_or_not = "perhaps with" if is_dirty is None else "with" if is_dirty else "without"
    return f"{commit} ({with_or_not} uncommitted changes)" if commit else "unknown"


def _listed(content: Any) -> str:
    if isinstance(content, dict):
        return ", ".join(
            f"no {key}" if value == [] else f"{key} {_listed(value)}"
            for key, value in content.items()
        )
    if isinstance(content, list):
        return " + ".join(map(_listed, content))
    return "not recorded" if content is None else str(content)


def short_verdict(comparison: Comparison) -> str:
    """That of the first claim in two or three words, or why there is none."""
    verdict = _verdict(comparison)
    return {"no claim to compare with": "no claim"}.get(verdict, verdict)


def _verdict(comparison: Comparison) -> str:
    """That of the first claim, or why there is none."""
    if comparison.problem:
        return comparison.problem.partition(":")[0].partition(",")[0]
    is_value = bool(comparison.claims) and comparison.claims[0].claim.direction == "value"
    if not comparison.claimed and not is_value:
        return "nothing to compare"
    if comparison.verdict == "too few finished runs" or not comparison.claims:
        return comparison.verdict or "no claim to compare with"
    if comparison.analogue == "too few finished runs":
        return f"analogue: {comparison.analogue}"
    return wording.verdict_of(comparison.claims[0])


def _ended(sweep: Sweep) -> int:
    """How many runs have come to an end, good or bad."""
    return sum(state in ("finished", "failed") for state in sweep.runs["state"])


def _so_far(sweep: Sweep) -> Iterator[Part]:
    """How far an unfinished sweep has got."""
    ended, planned = _ended(sweep), len(sweep.runs)
    if ended < planned:
        yield Warning(f"**{ended} of {planned} runs so far**: the numbers below are preliminary.")


def _cut(sweep: Sweep) -> Iterator[Part]:
    if sweep.setting.cut:
        yield Warning(
            f"**These runs were cut short** ({', '.join(sweep.setting.cut)}): what they show is no "
            "evidence for or against a claim."
        )


def _without_effect(comparison: Comparison) -> Iterator[Part]:
    """A factor that changes no digit of any seed may not have reached the network."""
    for effect in comparison.effects:
        nothing = 1.0 if effect.kind == "ratio" else 0.0
        is_same = bool(effect.values) and all(value == nothing for value in effect.values)
        if is_same and effect.bound is None and not effect.is_interaction:
            yield Warning(
                f"**{effect.of} changed nothing**: both levels measured exactly the same in "
                f"{wording.count(effect.n, 'seed')}. Does the factor reach the network?"
            )


def _claims(comparison: Comparison) -> Iterator[Part]:
    """Each claim with whose it is, both verdicts, and what a decision would take."""
    if not comparison.claims:
        return
    yield "## Claims"
    rows = []
    for number, result in enumerate(comparison.claims, start=1):
        claim, size = result.claim, result.size
        text = " ".join(claim.text.split())
        about = f"> {number}. {text} ({wording.WHOSE[claim.by]}"
        yield about + (f": {claim.note})" if claim.note else ")")
        rows.append(
            [
                str(number),
                wording.name_of_measure(result.experiment.measure),
                result.direction.verdict if claim.direction in ("better", "worse") else "-",
                wording.p_value(result.direction.p),
                wording.p_value(result.direction.p_adjusted),
                wording.size_claimed(result),
                size.verdict if size else "-",
                wording.p_value(size.p_adjusted) if size else "-",
            ]
        )
    head = ["claim", "measure", "direction", "p", "adjusted", "claimed size", "size", "adjusted"]
    yield Table(head, rows)
    for number, result in enumerate(comparison.claims, start=1):
        if result.elsewhere:
            yield (
                f"Claim {number} was made elsewhere ({'; '.join(result.elsewhere)}): this is an "
                "analogue."
            )
        yield from _measured(number, result)
        why = result.direction.why or (result.size.why if result.size else "")
        if why:
            yield f"Claim {number}: {why}."
        undecided = "undecided" in (result.direction.verdict, result.size and result.size.verdict)
        if undecided and result.effects:
            yield f"Claim {number} is undecided: {wording.power_in_words(result)}"


def _measured(number: int, result: ClaimResult) -> Iterator[str]:
    """The values of a claim about a value, and over what their interval is."""
    measure = result.experiment.measure
    for effect in result.effects:
        if not effect.is_value or effect.mean is None:
            continue
        of = f" ({effect.level})" if len(result.effects) > 1 else ""
        ends = wording.interval(effect.ci95, lambda end: wording.value(end, measure))
        over = (
            f"over the {effect.images:,} test images of one run: other seeds would differ"
            if effect.images
            else f"over seeds, n = {effect.n}"
        )
        yield (
            f"Claim {number}{of}: {wording.value(effect.mean, measure)}, 95 % interval {ends} "
            f"{over}."
        )


def _flat(content: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted keys of a configuration with their values as text."""
    if isinstance(content, dict) and content:
        for key, value in content.items():
            yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, content if isinstance(content, str) else json.dumps(content)


def _number(number: Any, form: str) -> str:
    is_number = isinstance(number, int | float) and number == number
    return format(number, form) if is_number else "-"
