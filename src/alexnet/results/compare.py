"""Compare the arms of a sweep: effects, and a verdict on each claim. Pure functions, no files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from alexnet.config.experiment import Claim, Experiment, Level, Measure, same_level
from alexnet.results.anytime import at_any_look
from alexnet.results.claims import ClaimResult, Setting, judge
from alexnet.results.effects import (
    Arm,
    Effect,
    Interval,
    Outcome,
    arms_of,
    effects_of,
    level_label,
    value_of,
)
from alexnet.results.search import (
    Best,
    Budget,
    BudgetEffect,
    Intervals,
    Trial,
    arm_keys,
    at_best,
    best_trials,
    budget_effects,
    budgets_of,
    searched_keys,
    trials_of,
    why_unfinished,
)

Verdict = Literal["agrees", "disagrees", "no clear difference", "too few finished runs"]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The arms, effects and verdicts of a sweep.

    In a search, `arms` have their best levels only, while `searched` has an arm for every level.
    `trials` are the trials of the search; `budgets` and `budget_effects` are what fewer trials
    would have found.

    `claimed` are the main effects that the claims are about; without a claim, those of the
    experiment's own factors. `papers_effect` is the effect for which the paper or its logs state a
    number; None in another setting than theirs, or with several factors. `problem` says why nothing
    can be judged. `verdict` is the direction of the first claim, and None for an analogue, whose
    direction is `analogue`.
    """

    factor: tuple[str, ...]
    arms: tuple[Arm, ...]
    effects: tuple[Effect, ...]
    best: tuple[Best, ...]
    searched: tuple[Arm, ...]
    trials: tuple[Trial, ...]
    budgets: tuple[Budget, ...]
    budget_effects: tuple[BudgetEffect, ...]
    claims: tuple[ClaimResult, ...]
    claimed: tuple[Effect, ...]
    papers_effect: Effect | None
    contains_paper_value: bool | None
    verdict: Verdict | None
    analogue: Verdict | None
    problem: str | None


def compare(
    outcomes: Sequence[Outcome],
    *,
    experiment: Experiment,
    setting: Setting | None = None,
    measured: Callable[[Measure], Sequence[Outcome]] | None = None,
    intervals: Intervals = (),
    unfinished: str | None = None,
    is_anytime: bool = False,
) -> Comparison:
    """Compare the arms of an experiment, paired by seed.

    Factors are the experiment's and any other key that was swept with it; claims are about the
    experiment's alone. The baseline of a factor is the one that the experiment names; if none is
    named, the first level in the order of outcomes. `measured` reads another measure, for claims
    that have one. `setting` distinguishes claims from analogues; without it every claim is taken as
    made in this setting. `intervals` are those of a search. `unfinished` says why the searches that
    supplied values to the runs are unfinished. With `is_anytime`, seeds are added until a claim is
    settled, so tests and intervals of effects must be valid at any look.
    """
    keys = arm_keys(outcomes, experiment)
    best: tuple[Best, ...] = ()
    searched: tuple[Arm, ...] = ()
    chosen = list(outcomes)
    trials: list[Trial] = []
    if looked_for := searched_keys(outcomes, experiment):
        searched = arms_of(outcomes, (*keys, *looked_for), within=_range(experiment))
        trials = trials_of(outcomes, experiment)
        best = best_trials(trials, experiment, intervals)
        chosen = at_best(outcomes, best, looked_for)

    levels, problem = _levels(chosen, keys, experiment)
    factor_levels = {key: found for key, found in levels.items() if len(found) > 1}
    arms = arms_of(chosen, keys, within=_range(experiment))
    effects = () if problem else _effects(chosen, factor_levels, experiment, is_anytime)
    problem = problem or why_unfinished(trials, best, experiment) or unfinished
    budgets = budgets_of(trials, experiment)

    def of_claim(claim: Claim) -> tuple[Claim, Experiment, tuple[Effect, ...]]:
        about = experiment.about(claim)
        if claim.direction == "value":
            mine = (
                outcomes if claim.measure is None or measured is None else measured(claim.measure)
            )
            values = map(value_of, arms_of(mine, keys))
            within = _range(about)
            return (
                claim,
                about,
                tuple(at_any_look(each, within) if is_anytime else each for each in values),
            )
        if problem:
            return claim, about, ()
        if claim.measure is None or measured is None:
            return claim, about, _of_claim(claim, effects, about)
        others = measured(claim.measure)
        here = {each.run for each in chosen}
        theirs = [each for each in others if each.run in here]
        there = _effects(theirs, factor_levels, about, is_anytime)
        return claim, about, _of_claim(claim, there, about)

    results = judge([of_claim(claim) for claim in experiment.claims], setting)
    claimed = _claimed(results, effects, experiment)
    papers_effect = _papers_effect(results, experiment)
    verdict = None if problem else _verdict(arms, claimed, results)
    counts = all(result.counts for result in results[:1]) and not (setting and setting.cut)
    return Comparison(
        factor=tuple(factor_levels) or tuple(keys),
        arms=arms,
        effects=effects,
        best=best,
        searched=searched,
        trials=tuple(trials),
        budgets=budgets,
        budget_effects=budget_effects(budgets, factor_levels, experiment),
        claims=results,
        claimed=claimed,
        papers_effect=papers_effect,
        contains_paper_value=_contains_paper_value(papers_effect, experiment),
        verdict=verdict if counts else None,
        analogue=verdict if results and results[0].elsewhere and not results[0].cut else None,
        problem=problem,
    )


def _range(experiment: Experiment) -> Interval:
    """Return the possible range of the measure: epochs are not negative, errors lie in 0..1."""
    measure = experiment.measure
    if measure.kind != "final":
        return 0.0, None
    return (0.0, 1.0) if measure.described.is_fraction else (None, None)


def _effects(
    outcomes: Sequence[Outcome],
    factor_levels: Mapping[str, Sequence[Level]],
    experiment: Experiment,
    is_anytime: bool,
) -> tuple[Effect, ...]:
    is_share = _range(experiment) == (0.0, 1.0) and experiment.effect == "difference"
    # An interaction of errors is a difference of differences: it has a wider range.
    effects: tuple[Effect, ...] = effects_of(outcomes, factor_levels, experiment.effect)
    if is_anytime:
        share = (-1.0, 1.0) if is_share else (None, None)
        return tuple(
            at_any_look(each, (None, None) if each.is_interaction else share) for each in effects
        )
    if not is_share:
        return effects
    within = effects_of(outcomes, factor_levels, experiment.effect, within=(-1.0, 1.0))
    return tuple(
        whole if whole.is_interaction else clipped
        for whole, clipped in zip(effects, within, strict=True)
    )


def _levels(
    outcomes: Sequence[Outcome], keys: Sequence[str], experiment: Experiment
) -> tuple[dict[str, tuple[Level, ...]], str | None]:
    """Return the levels of each key, baseline first, and what is wrong with a baseline, or None."""
    named = _baselines(experiment)
    found: dict[str, tuple[Level, ...]] = {}
    problem = None
    for key in keys:
        levels = tuple(dict.fromkeys(each.arm.get(key) for each in outcomes))
        if key in named and len(levels) > 1:
            first = [level for level in levels if same_level(level, named[key])]
            if not first:
                problem = (
                    f"the baseline, {key}={level_label(named[key])}, is not among the levels "
                    f"{', '.join(map(level_label, levels))}: add it to compare them with it"
                )
            levels = (*first, *(level for level in levels if level not in first))
        found[key] = levels
    return found, problem


def _baselines(experiment: Experiment) -> Mapping[str, Any]:
    """Return the baseline of each factor for which the experiment names one."""
    named = experiment.baseline
    if isinstance(named, dict):
        return named
    return {} if named is None or len(experiment.factor) != 1 else {experiment.factor[0]: named}


def _of_claim(
    claim: Claim, effects: Sequence[Effect], experiment: Experiment
) -> tuple[Effect, ...]:
    """The main effects that a claim is about."""
    return tuple(
        effect
        for effect in effects
        if not effect.is_interaction
        and set(effect.levels) <= set(experiment.factor)
        and (not claim.levels or any(same_level(effect.level, each) for each in claim.levels))
    )


def _claimed(
    results: Sequence[ClaimResult], effects: Sequence[Effect], experiment: Experiment
) -> tuple[Effect, ...]:
    """Return the effects on the experiment's measure that its claims are about: see Comparison."""
    if all(claim.direction == "value" for claim in experiment.claims):
        return _of_claim(Claim(by="us", text=""), effects, experiment)
    of_claims = [each for result in results if not result.claim.measure for each in result.effects]
    return tuple(effect for effect in effects if effect in of_claims)


def _papers_effect(results: Sequence[ClaimResult], experiment: Experiment) -> Effect | None:
    if not results or experiment.paper is None:
        return None
    first = results[0]
    is_one_factor = len({key for effect in first.effects for key in effect.levels}) == 1
    is_printed = first.claim.by != "us" and first.claim.measure is None
    if first.claim.direction == "value":
        return None
    return first.effects[0] if is_printed and is_one_factor and first.counts else None


def _contains_paper_value(effect: Effect | None, experiment: Experiment) -> bool | None:
    """Whether the paper's value is in the interval; None if an end is open on its side."""
    if effect is None or effect.ci95 is None:
        return None
    assert experiment.paper is not None
    low, high = effect.ci95
    value = experiment.paper.value
    if (low is not None and value < low) or (high is not None and value > high):
        return False
    return None if low is None or high is None else True


def _verdict(
    arms: Sequence[Arm], claimed: Sequence[Effect], results: Sequence[ClaimResult]
) -> Verdict | None:
    """Return the direction of the first claim, in the wording of version 0.1.

    None if nothing was compared, whatever the number of runs, or if nothing was claimed.
    """
    is_value = bool(results) and results[0].claim.direction == "value"
    if not claimed and not is_value:
        return None
    if is_value and all(effect.images for effect in results[0].effects):
        counts = []  # one run, judged by its images
    else:
        counts = [arm.n for arm in arms] + [effect.n for effect in claimed]
    if min(counts, default=2) < 2:
        return "too few finished runs"
    if not results:
        return None
    verdict = results[0].direction.verdict
    return "no clear difference" if verdict == "undecided" else verdict
