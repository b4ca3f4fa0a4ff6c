"""What a report says at other thresholds, and with fewer trials: no answer should hang on them."""

from collections.abc import Iterator

from alexnet.config.experiment import Experiment, Measure
from alexnet.results import wording
from alexnet.results.compare import compare
from alexnet.results.effects import Effect, level_label
from alexnet.results.findings import Findings
from alexnet.results.parts import Part, Table
from alexnet.results.search import BudgetEffect

_THRESHOLDS = (0.6, 0.55, 0.5, 0.45, 0.4, 0.35, 0.3, 0.25, 0.2, 0.15)


def at_other_thresholds(findings: Findings) -> Iterator[Part]:
    """The effects at each of several thresholds: a verdict should not hang on one of them."""
    sweep, comparison, experiment = findings.sweep, findings.comparison, findings.experiment
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
        cells = (with_interval(found[of], experiment) for of in effects)
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
    return sorted({*_THRESHOLDS, measure.threshold}, reverse=True)


def with_interval(effect: Effect, experiment: Experiment) -> str:
    """An effect and its 95 % interval in a table's cell."""
    if effect.mean is None:
        return "-"
    ends = wording.interval(effect.ci95, lambda number: wording.effect_value(number, experiment))
    mean = wording.effect_value(effect.mean, experiment)
    return f"{wording.bound(effect.bound)}{mean} ({ends})"


def by_number_of_trials(findings: Findings) -> Iterator[Part]:
    """What fewer trials would have found: a comparison should not hang on how many there were."""
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
