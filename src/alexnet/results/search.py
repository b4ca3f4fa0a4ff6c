"""A search: the best trial of each arm, whether it is finished, and what fewer trials would find.

A trial is one combination of levels of the searched keys, the same for every arm.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from alexnet.config.experiment import Experiment, Level
from alexnet.results.effects import Bound, Outcome, by_cell, level_label

Intervals = Sequence[Mapping[str, Sequence[float]]]
"""For each command that searched an interval, the two ends of each key."""

SEARCH_FILE = "search.yaml"
"""In a report's folder, what a search has found."""

_NOT_ENDED = ("unfinished", "missing", "failed", "unmeasured")


@dataclass(frozen=True, kw_only=True)
class Trial:
    """The outcomes of an arm at certain levels of the searched keys, over all of its seeds."""

    arm: Mapping[str, Level]
    levels: Mapping[str, Level]
    outcomes: tuple[Outcome, ...]

    @property
    def reached(self) -> list[float]:
        """The values of runs that are known: they finished and are not censored, or had crossed."""
        finished = (e.value for e in self.outcomes if e.fate == "finished" and not e.censored)
        crossed = (e.not_by for e in self.outcomes if e.has_crossed)
        return [value for value in (*finished, *crossed) if value is not None]

    @property
    def value(self) -> float | None:
        """Mean of the runs that have a value; others count with the time until which none had one.

        These are the censored runs, and those that were stopped because they could not win.
        """
        known = (each.not_by if each.value is None else each.value for each in self.outcomes)
        values = [value for value in known if value is not None]
        return fmean(values) if values else None

    @property
    def earliest(self) -> list[float]:
        """For each unfinished run that has not crossed, before which epoch it cannot."""
        stopped = (each for each in self.outcomes if not each.has_crossed)
        return [each.not_by for each in stopped if each.not_by is not None]

    @property
    def is_bound(self) -> bool:
        """Whether the value is a lower bound, because a run ended before it had a value."""
        return bool(self.earliest) or any(each.censored for each in self.outcomes)

    @property
    def error_reached(self) -> float | None:
        """Mean of the best errors of the runs; None if no curve was recorded."""
        errors = [each.error_reached for each in self.outcomes if each.error_reached is not None]
        return fmean(errors) if errors else None

    def rank(self, sign: int, *, is_optimistic: bool = False) -> tuple[float, ...]:
        """Return a sort key, which is lowest for the best trial.

        The share of runs in `reached` comes first, so that a trial with diverged, censored or
        missing runs never beats one without. Their mean comes next. If there are none, the error
        reached decides, because limits only tell how long a run was trained. With `is_optimistic`,
        unfinished runs count as reaching the threshold as early as they still can.
        """
        times = [*self.reached, *self.earliest] if is_optimistic else self.reached
        share = len(times) / len(self.outcomes)
        mean = sign * fmean(times) if times else 0.0
        error = self.error_reached
        rest = (math.inf if error is None else error, sign * (self.value or 0.0))
        return (-share, mean, *rest)

    @property
    def left(self) -> tuple[Outcome, ...]:
        """The runs that have not ended, or have ended without a measure."""
        return tuple(each for each in self.outcomes if each.fate in _NOT_ENDED)

    def can_beat(self, best: "Trial") -> bool:
        """Whether the runs that are left could still rank this trial before the `best` of its arm.

        Only for times: a run that has not reached the threshold by an epoch can only reach it
        later. So the share and the mean of `rank` are bounded before the runs have ended.
        """
        missing = [0.0 for each in self.left if each.fate == "missing"]
        is_bounded = all(each.fate == "missing" or each.not_by is not None for each in self.left)
        if not self.left or best.left or not best.reached or not is_bounded:
            return bool(self.left)
        times = [*self.reached, *self.earliest, *missing]
        share = len(times) / len(self.outcomes)
        its_share = len(best.reached) / len(best.outcomes)
        if share != its_share:
            return share > its_share
        return fmean(times) < fmean(best.reached)


@dataclass(frozen=True, kw_only=True)
class Best:
    """The levels of the searched keys at which an arm did best.

    `on_edge` are the keys for which a better level may lie beyond what was searched. `reached` is
    true if some run at these levels has a value that is not censored.
    """

    arm: Mapping[str, Level]
    levels: Mapping[str, Level]
    on_edge: tuple[str, ...]
    reached: bool

    @property
    def level(self) -> Level:
        """The level of the only searched key; with several, all of them in words."""
        if len(self.levels) == 1:
            return next(iter(self.levels.values()))
        return ", ".join(f"{key}={level_label(level)}" for key, level in self.levels.items())

    @property
    def at_edge(self) -> bool:
        """Whether any key is on the edge of what was searched."""
        return bool(self.on_edge)

    def plain(self) -> dict[str, Any]:
        """Return the fields as plain data, for verdict.json."""
        return {
            "arm": dict(self.arm),
            "level": self.level,
            "levels": dict(self.levels),
            "at_edge": self.at_edge,
            "on_edge": list(self.on_edge),
            "reached": self.reached,
        }


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The expected measure of an arm at the best of 1, 2, ... of its trials.

    `is_bound`, also by number of trials, is true where a censored trial could be the best, so that
    the value is a lower bound.
    """

    arm: Mapping[str, Level]
    expected: tuple[float, ...]
    is_bound: tuple[bool, ...]


@dataclass(frozen=True, kw_only=True)
class BudgetEffect:
    """Effect of the first factor at the best of 1, 2, ... trials of each arm. See Effect.bound."""

    of: str
    arm: Mapping[str, Level]
    against: Mapping[str, Level]
    values: tuple[float | None, ...]
    bounds: tuple[Bound | None, ...]


def arm_keys(outcomes: Sequence[Outcome], experiment: Experiment) -> tuple[str, ...]:
    """Return the keys that name an arm: the experiment's factors, then other swept keys."""
    swept = dict.fromkeys(key for each in outcomes for key in each.arm)
    declared = [key for key in experiment.factor if key in swept]
    keys = dict.fromkeys([*declared, *swept])
    return tuple(key for key in keys if key not in (*experiment.searched, "seed"))


def searched_keys(outcomes: Sequence[Outcome], experiment: Experiment) -> tuple[str, ...]:
    """Return the keys that the experiment searches and that were swept."""
    return tuple(key for key in experiment.searched if any(key in each.arm for each in outcomes))


def trials_of(outcomes: Sequence[Outcome], experiment: Experiment) -> list[Trial]:
    """Group outcomes into trials, arm by arm, in the order of outcomes; [] without a search."""
    keys, searched = arm_keys(outcomes, experiment), searched_keys(outcomes, experiment)
    if not searched:
        return []
    return [
        Trial(
            arm=dict(zip(keys, cell, strict=True)),
            levels=dict(zip(searched, levels, strict=True)),
            outcomes=tuple(found),
        )
        for cell, members in by_cell(outcomes, keys).items()
        for levels, found in by_cell(members, searched).items()
    ]


def best_trials(
    trials: Sequence[Trial], experiment: Experiment, intervals: Intervals
) -> tuple[Best, ...]:
    """Return the best trial of each arm that has a measured run."""
    best = []
    for mine in _by_arm(trials):
        if ranked := _ranked(mine, experiment):
            first = ranked[0]
            best.append(
                Best(
                    arm=first.arm,
                    levels=first.levels,
                    on_edge=tuple(_edges(first.levels, mine, intervals)),
                    reached=bool(first.reached),
                )
            )
    return tuple(best)


def why_unfinished(
    trials: Sequence[Trial], best: Sequence[Best], experiment: Experiment
) -> str | None:
    """Explain why a search is unfinished, so that a better trial may exist; None if finished."""
    reasons = []
    for each in best:
        arm = ", ".join(map(level_label, each.arm.values())) or "all runs"
        at = ", ".join(f"{key}={level_label(each.levels[key])}" for key in each.on_edge)
        if not each.reached:
            what = "reached the threshold" if _is_time(experiment) else "finished"
            reasons.append(f"no run of {arm} {what}")
        if each.on_edge:
            reasons.append(f"the best of {arm}, {at}, is on the edge of what was searched")
    spaces = {frozenset(tuple(each.levels.values()) for each in mine) for mine in _by_arm(trials)}
    if len(spaces) > 1:
        reasons.append("not all arms were searched at the same levels")
    left = [run for trial in trials for run in trial.left]
    if missed := len(left) - len(beaten_early(trials, experiment)):
        runs = sum(len(trial.outcomes) for trial in trials)
        reasons.append(f"{missed} of {runs} runs have not finished")
    return f"search unfinished: {'; '.join(reasons)}" if reasons else None


def beaten_early(trials: Sequence[Trial], experiment: Experiment) -> list[Outcome]:
    """Return the runs that have not finished, and need not: their trials cannot win any more.

    Nothing bounds what is not a time: there are none in other searches.
    """
    if not _is_time(experiment):
        return []
    return [
        run
        for mine in _by_arm(trials)
        for best in _ranked(mine, experiment)[:1]
        for trial in mine
        if not trial.can_beat(best)
        for run in trial.left
    ]


def at_best(
    outcomes: Sequence[Outcome], best: Sequence[Best], searched: Sequence[str]
) -> list[Outcome]:
    """Return the runs of each arm's best trial; all runs of an arm without one, to show the arm."""

    def is_at_best(outcome: Outcome) -> bool:
        mine = [b for b in best if all(outcome.arm.get(key) == b.arm[key] for key in b.arm)]
        return not mine or all(outcome.arm.get(key) == mine[0].levels[key] for key in searched)

    return [outcome for outcome in outcomes if is_at_best(outcome)]


def budgets_of(trials: Sequence[Trial], experiment: Experiment) -> tuple[Budget, ...]:
    """Return for each arm the expected best of k of its trials, for every k.

    The mean is over all subsets of k trials: of N trials, ranked from the best, the i-th is the
    best of C(N - i, k - 1) of the C(N, k) subsets. Trials are ranked as in the search, except that
    stopped runs count as early as they could have reached the threshold: the result is a lower
    bound if one of them is the best. Trials without a value are left out.
    """
    budgets = []
    for mine in _by_arm(trials):
        ranked = _ranked(mine, experiment, is_optimistic=True)
        count = len(ranked)
        expected, bounds = [], []
        for k in range(1, count + 1):
            shares = [
                math.comb(count - i, k - 1) / math.comb(count, k) for i in range(1, count + 1)
            ]
            values = [trial.value or 0.0 for trial in ranked]
            expected.append(math.fsum(s * v for s, v in zip(shares, values, strict=True)))
            bounds.append(any(t.is_bound and s for t, s in zip(ranked, shares, strict=True)))
        budgets.append(Budget(arm=mine[0].arm, expected=tuple(expected), is_bound=tuple(bounds)))
    return tuple(budgets)


def budget_effects(
    budgets: Sequence[Budget], levels: Mapping[str, Sequence[Level]], experiment: Experiment
) -> tuple[BudgetEffect, ...]:
    """Compare budgets of the first factor's levels with its baseline, at equal other levels."""
    if not levels:
        return ()
    first, (baseline, *_) = next(iter(levels.items()))
    effects = []
    for budget in budgets:
        if budget.arm[first] == baseline:
            continue
        arm = {**budget.arm, first: baseline}
        against = next((each for each in budgets if each.arm == arm), None)
        if against is None:
            continue
        rest = [level_label(level) for key, level in budget.arm.items() if key != first]
        pair = f"{level_label(budget.arm[first])} vs {level_label(baseline)}"
        pairs = zip(
            budget.expected, against.expected, budget.is_bound, against.is_bound, strict=False
        )
        values, bounds = [], []
        for mine, theirs, is_mine, is_theirs in pairs:
            bound = _bound(is_mine, is_theirs)
            is_ratio = experiment.effect == "ratio"
            value = (
                None if is_ratio and not theirs else mine / theirs if is_ratio else mine - theirs
            )
            values.append(None if bound == "neither" else value)
            bounds.append(bound)
        effects.append(
            BudgetEffect(
                of=", ".join([pair, *rest]),
                arm=budget.arm,
                against=against.arm,
                values=tuple(values),
                bounds=tuple(bounds),
            )
        )
    return tuple(effects)


def _bound(is_mine: bool, is_theirs: bool) -> Bound | None:
    if is_mine:
        return "neither" if is_theirs else "lower"
    return "upper" if is_theirs else None


def _ranked(
    trials: Sequence[Trial], experiment: Experiment, *, is_optimistic: bool = False
) -> list[Trial]:
    """Return the trials that have a value, the best first; see Trial.rank."""
    sign = 1 if experiment.measure.lower_is_better else -1
    return sorted(
        (trial for trial in trials if trial.value is not None),
        key=lambda trial: trial.rank(sign, is_optimistic=is_optimistic),
    )


def _by_arm(trials: Sequence[Trial]) -> list[list[Trial]]:
    arms: dict[tuple[Level, ...], list[Trial]] = {}
    for trial in trials:
        arms.setdefault(tuple(trial.arm.values()), []).append(trial)
    return list(arms.values())


def _edges(levels: Mapping[str, Level], tried: Sequence[Trial], intervals: Intervals) -> list[str]:
    """Return the keys whose level is on the edge of what was tried.

    The outermost levels are edges. In an interval, so are levels nearer to an end than half the
    spacing that the trials would have as a grid: trials ** (-1 / keys) of the interval, on its
    logarithmic scale.
    """
    searched = {key for each in intervals for key in each}
    found = []
    for key, level in levels.items():
        numbers = {each.levels[key] for each in tried if _is_number(each.levels[key])}
        if len(numbers) < 2 or not _is_number(level):
            continue
        is_edge = level in (min(numbers), max(numbers))  # type: ignore[type-var]
        if key in searched:
            low = min(each[key][0] for each in intervals if key in each)
            high = max(each[key][1] for each in intervals if key in each)
            distance = math.log(high / low) * len(tried) ** (-1 / len(searched))
            place = math.log(float(str(level)))
            # Slightly less than half, so that the rounding of levels does not matter.
            near = 0.49 * distance
            is_edge |= place - math.log(low) < near or math.log(high) - place < near
        if is_edge:
            found.append(key)
    return found


def _is_number(level: Level) -> bool:
    return isinstance(level, int | float) and not isinstance(level, bool)


def _is_time(experiment: Experiment) -> bool:
    return experiment.measure.kind == "epochs_to_error"
