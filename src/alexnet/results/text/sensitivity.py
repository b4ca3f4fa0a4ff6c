"""Sensitivity of the answer, which should not depend on the threshold or the number of trials."""

from collections.abc import Iterator

from alexnet.config.experiment import Experiment, Measure
from alexnet.results import wording
from alexnet.results.compare import Comparison, compare
from alexnet.results.effects import Effect, level_label
from alexnet.results.findings import Findings
from alexnet.results.parts import Part, Table
from alexnet.results.runs import Sweep
from alexnet.results.search import BudgetEffect

_THRESHOLDS = (0.6, 0.55, 0.5, 0.45, 0.4, 0.35, 0.3, 0.25, 0.2, 0.15)


def at_other_thresholds(findings: Findings) -> Iterator[Part]:
    """Yield the effects at several thresholds: a verdict should not depend on one of them."""
    sweep, comparison, experiment = findings.sweep, findings.comparison, findings.experiment
    measure = experiment.measure
    if not thresholds(measure) or not comparison.claimed or comparison.searched:
        return
    yield "## At other thresholds"
    effects = [effect.of for effect in comparison.claimed]
    rows = []
    for threshold in thresholds(measure):
        found = {effect.of: effect for effect in compared_at(sweep, threshold).claimed}
        cells = (with_interval(found[of], experiment) for of in effects)
        rows.append([f"{100 * threshold:g} %", *cells])
    yield Table(["threshold", *effects], rows)
    yield (
        f"Each cell: the {experiment.effect} with its 95 % interval; -: no pair of runs reached "
        "it. Runs that end at their threshold give no information about lower ones. These rows are "
        "not tests."
    )


def compared_at(sweep: Sweep, threshold: float) -> Comparison:
    """Compare the arms of a sweep by the time to another threshold."""
    at = sweep.experiment.measure.model_copy(update={"threshold": threshold})
    about = sweep.experiment.model_copy(update={"measure": at})
    return compare(sweep.outcomes(at), experiment=about)


def thresholds(measure: Measure) -> list[float]:
    """Return the thresholds to show; none if the measure is not a time to an error."""
    is_share = measure.described.is_fraction and measure.described.better == "lower"
    if measure.kind == "final" or not is_share or measure.threshold is None:
        return []
    return sorted({*_THRESHOLDS, measure.threshold}, reverse=True)


def with_interval(effect: Effect, experiment: Experiment) -> str:
    """An effect and its 95 % interval in a table's cell."""
    if effect.mean is None:
        return "-"
    ends = wording.interval(effect.ci95, lambda number: wording.effect_value(number, experiment))
    mean = wording.effect_value(effect.mean, experiment)
    return f"{wording.bound(effect.bound)}{mean} ({ends})"


def by_number_of_trials(findings: Findings) -> Iterator[Part]:
    """Yield what fewer trials would have found: a comparison should not depend on their number."""
    sweep, comparison, experiment = findings.sweep, findings.comparison, findings.experiment
    most = max((len(each.expected) for each in comparison.budgets), default=0)
    if most < 2:
        return
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
    note = (
        f"{wording.name_of_measure(measure).capitalize()} expected at the best of that many trials "
        f"of each arm, over all subsets of them, and the {experiment.effect} of these values."
    )
    if any(any(budget.is_bound) for budget in comparison.budgets):
        note += (
            " *at least*: the best of some subsets is censored or was stopped, so that the number "
            "is a lower bound."
        )
    yield note
    if not comparison.budget_effects:
        return
    budgets = sorted({1, (most + 1) // 2, most})
    rows = []
    for threshold in thresholds(measure):
        there = compared_at(sweep, threshold)
        cells = [
            _at_budget(effect, k - 1, experiment)
            for effect in there.budget_effects
            for k in budgets
        ]
        if set(cells) != {"-"}:
            rows.append([f"{100 * threshold:g} %", *cells])
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
        "Trials are ranked separately at each threshold. Runs that end at their threshold give no "
        "information about lower ones."
    )


def _at_budget(effect: BudgetEffect, k: int, experiment: Experiment) -> str:
    if k >= len(effect.values):
        return "-"
    value = wording.effect_value(effect.values[k], experiment)
    return f"{wording.bound(effect.bounds[k])}{value}"
