"""From what each run measured to effects, intervals and a verdict. Pure functions, no files.

Errors stay fractions. Every interval is a two-sided 95 % t-interval over seeds.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from statistics import fmean, stdev
from typing import Literal

from alexnet.config.experiment import EffectKind, Experiment

Level = str | int | float | bool | None

Fate = Literal["finished", "diverged", "failed", "unmeasured", "unfinished", "missing"]
Bound = Literal["lower", "upper", "neither"]
Verdict = Literal["agrees", "disagrees", "no clear difference", "too few finished runs"]
Interval = tuple[float | None, float | None]
Cell = tuple[Level, ...]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one planned run.

    `value` is the measure, None unless the run finished and recorded what is measured: without it
    it is unmeasured. A finished run that never reached the threshold is censored: its value is its
    limit, the epoch at which it ended.
    """

    run: str
    arm: Mapping[str, Level]
    seed: int
    fate: Fate
    value: float | None = None
    censored: bool = False


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One level, or combination of levels, with what became of each of its planned runs."""

    levels: Mapping[str, Level]
    outcomes: tuple[Outcome, ...]

    @property
    def label(self) -> str:
        """For example "relu", or "relu, lrn" in a grid."""
        return ", ".join(map(level_label, self.levels.values())) or "all runs"

    @property
    def finished(self) -> tuple[Outcome, ...]:
        """Runs with a value, censored ones included, by seed."""
        with_value = (each for each in self.outcomes if each.value is not None)
        return tuple(sorted(with_value, key=lambda each: each.seed))

    @property
    def n(self) -> int:
        """Number of finished runs."""
        return len(self.finished)

    @property
    def values(self) -> tuple[float | None, ...]:
        """One value per finished run, by seed; None where censored."""
        return tuple(None if each.censored else each.value for each in self.finished)

    @property
    def censored(self) -> int:
        """Number of finished runs that never reached the threshold."""
        return self.values.count(None)

    @property
    def reached(self) -> tuple[float, ...]:
        """The values that are known."""
        return tuple(value for value in self.values if value is not None)

    @property
    def limits(self) -> tuple[float, ...]:
        """For each censored run, the epoch at which it ended."""
        return tuple(
            each.value for each in self.finished if each.censored and each.value is not None
        )

    @property
    def limit(self) -> float | None:
        """The earliest of the limits; None if no run is censored."""
        return min(self.limits, default=None)

    @property
    def mean(self) -> float | None:
        """Over seeds. None if a run is censored: it is then only known to be above some number."""
        return fmean(self.reached) if self.reached and not self.limits else None

    @property
    def ci95(self) -> tuple[float, float] | None:
        """Interval of the mean; None for fewer than two runs or if one is censored."""
        return None if self.limits else t_interval(self.reached)

    def count(self, fate: Fate) -> int:
        """How many of the planned runs met that fate."""
        return sum(each.fate == fate for each in self.outcomes)


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What changing a factor does (main effect), or several at once beyond that (interaction).

    `levels` maps each factor to (other, baseline). `values` are the effects seed by seed, for the
    `seeds` that finished in every cell the effect uses; `left_out` are the planned seeds that did
    not. A ratio with a zero in it is None, and so are mean and ci95 then.

    Censoring: a censored run enters with its limit, so that the effect is one on the restricted
    time min(T, limit). If only runs on the other side are censored, the true effect is larger:
    `bound` is "lower" and ci95 is (low, None). If only runs on the baseline's side are, it is
    "upper" and (None, high). With both there is no bound: "neither", mean and ci95 None.
    """

    levels: Mapping[str, tuple[Level, Level]]
    kind: EffectKind
    seeds: tuple[int, ...]
    values: tuple[float | None, ...]
    mean: float | None
    ci95: Interval | None
    bound: Bound | None
    left_out: tuple[int, ...]

    @property
    def n(self) -> int:
        """Seeds that entered."""
        return len(self.seeds)

    @property
    def is_interaction(self) -> bool:
        """Whether it is about more than one factor."""
        return len(self.levels) > 1

    @property
    def other(self) -> str:
        """The level, of a main effect, that is compared with the baseline."""
        [(other, _)] = self.levels.values()
        return level_label(other)

    @property
    def of(self) -> str:
        """For example "nonlinearity: tanh vs relu"."""
        if self.is_interaction:
            return " x ".join(
                f"{short_key(key)} {level_label(other)}" for key, (other, _) in self.levels.items()
            )
        [(key, (other, baseline))] = self.levels.items()
        return f"{short_key(key)}: {level_label(other)} vs {level_label(baseline)}"


@dataclass(frozen=True, kw_only=True)
class Best:
    """The level of the searched key at which an arm did best.

    `at_edge`: it is the lowest or highest level searched, so that a better one may lie beyond.
    """

    arm: Mapping[str, Level]
    level: Level
    at_edge: bool


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All that a sweep says. In a search `arms` are at their best, `searched` has every level.

    `claimed` are the main effects of the experiment's own factors: the verdict is about them.
    `papers_effect` is the one that the paper's number is about: the experiment's first comparison.
    None if the paper prints no number, or the experiment has several factors.
    """

    factor: tuple[str, ...]
    arms: tuple[Arm, ...]
    effects: tuple[Effect, ...]
    best: tuple[Best, ...]
    searched: tuple[Arm, ...]
    claimed: tuple[Effect, ...]
    papers_effect: Effect | None
    contains_paper_value: bool | None
    verdict: Verdict | None


def compare(outcomes: Sequence[Outcome], *, experiment: Experiment) -> Comparison:
    """Compare the arms of an experiment, paired by seed.

    Factors are the experiment's and any other key that was swept with it; the verdict is about the
    experiment's alone. The first level of a factor, in the order of outcomes, is its baseline.
    """
    keys = _arm_keys(outcomes, experiment)
    best: tuple[Best, ...] = ()
    searched: tuple[Arm, ...] = ()
    chosen = list(outcomes)
    if experiment.search is not None and any(experiment.search in each.arm for each in outcomes):
        searched = _arms(outcomes, (*keys, experiment.search))
        best = _best_levels(outcomes, keys, experiment)
        chosen = _at_best(outcomes, best, experiment.search)

    levels = {key: tuple(dict.fromkeys(each.arm.get(key) for each in chosen)) for key in keys}
    factor_levels = {key: found for key, found in levels.items() if len(found) > 1}
    arms = _arms(chosen, keys)
    effects = _effects(chosen, factor_levels, experiment.effect)
    claimed = tuple(
        effect
        for effect in effects
        if not effect.is_interaction
        and set(effect.levels) <= set(experiment.factor)
        and (not experiment.claimed_levels or effect.other in experiment.claimed_levels)
    )
    papers_effect = _papers_effect(claimed, experiment)
    return Comparison(
        factor=tuple(factor_levels) or tuple(keys),
        arms=arms,
        effects=effects,
        best=best,
        searched=searched,
        claimed=claimed,
        papers_effect=papers_effect,
        contains_paper_value=_contains_paper_value(papers_effect, experiment),
        verdict=_verdict(arms, claimed, experiment),
    )


def epochs_to_error(
    epochs: Iterable[float],
    errors: Iterable[float],
    *,
    threshold: float,
    better: Literal["lower", "higher"] = "lower",
) -> tuple[float, bool]:
    """When the error first is at or below the threshold, and whether that is censored.

    With `better` higher, when a value first is at or above it.

    Linear between the row before and the first row at or below. If that is the very first row,
    its own epoch: nothing is known before it, and we do not extrapolate. If there is none, the
    epoch of the last row and True: the run was watched that long and had not reached the threshold.
    Raises ValueError without any row.
    """
    before: tuple[float, float] | None = None
    if better == "higher":
        threshold, errors = -threshold, (-each for each in errors)
    for epoch, error in zip(epochs, errors, strict=True):
        if error <= threshold:
            if before is None:
                return epoch, False
            epoch_before, error_before = before
            share = (error_before - threshold) / (error_before - error)
            return epoch_before + share * (epoch - epoch_before), False
        before = (epoch, error)
    if before is None:
        raise ValueError("no rows to find a crossing in")
    return before[0], True


def t_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Mean -+ t(0.975, n - 1) * s / sqrt(n); None for fewer than two values."""
    if len(values) < 2:
        return None
    from scipy.special import stdtrit  # scipy.stats would take a second to import

    degrees = len(values) - 1
    half = float(stdtrit(degrees, 0.975)) * stdev(values) / math.sqrt(len(values))
    return fmean(values) - half, fmean(values) + half


def level_label(level: Level) -> str:
    """As it is written on the command line."""
    if level is None:
        return "null"
    return str(level).lower() if isinstance(level, bool) else str(level)


def short_key(key: str) -> str:
    """The last part of a dotted key: nonlinearity for model.nonlinearity."""
    return key.rpartition(".")[2]


def _arm_keys(outcomes: Sequence[Outcome], experiment: Experiment) -> tuple[str, ...]:
    """Keys that name an arm: the experiment's factors first, then what else was swept."""
    swept = dict.fromkeys(key for each in outcomes for key in each.arm)
    declared = [key for key in experiment.factor if key in swept]
    keys = dict.fromkeys([*declared, *swept])
    return tuple(key for key in keys if key not in (experiment.search, "seed"))


def _cell(outcome: Outcome, keys: Iterable[str]) -> Cell:
    return tuple(outcome.arm.get(key) for key in keys)


def _by_cell(outcomes: Iterable[Outcome], keys: Sequence[str]) -> dict[Cell, list[Outcome]]:
    cells: dict[Cell, list[Outcome]] = {}
    for outcome in outcomes:
        cells.setdefault(_cell(outcome, keys), []).append(outcome)
    return cells


def _arms(outcomes: Sequence[Outcome], keys: Sequence[str]) -> tuple[Arm, ...]:
    return tuple(
        Arm(levels=dict(zip(keys, cell, strict=True)), outcomes=tuple(members))
        for cell, members in _by_cell(outcomes, keys).items()
    )


def _effects(
    outcomes: Sequence[Outcome], factor_levels: Mapping[str, Sequence[Level]], kind: EffectKind
) -> tuple[Effect, ...]:
    """Main effects, then two- and three-way interactions: each other level against the baseline."""
    cells = {
        cell: {each.seed: each for each in members if each.value is not None}
        for cell, members in _by_cell(outcomes, list(factor_levels)).items()
    }
    planned = sorted({each.seed for each in outcomes})
    return tuple(
        _effect(
            {key: (other, factor_levels[key][0]) for key, other in zip(keys, others, strict=True)},
            factor_levels=factor_levels,
            cells=cells,
            planned=planned,
            kind=kind,
        )
        for order in (1, 2, 3)
        for keys in combinations(factor_levels, order)
        for others in product(*(factor_levels[key][1:] for key in keys))
    )


def _effect(
    levels: Mapping[str, tuple[Level, Level]],
    *,
    factor_levels: Mapping[str, Sequence[Level]],
    cells: Mapping[Cell, Mapping[int, Outcome]],
    planned: Sequence[int],
    kind: EffectKind,
) -> Effect:
    """Every effect is, per seed, one weighted sum over cells, of logarithms for a ratio.

    A main effect is other - baseline. An interaction is the difference of differences,
    (other, other) - (other, baseline) - (baseline, other) + (baseline, baseline), without the
    factor 1/2 of some textbooks: by how much the effect of one factor changes with the other.
    Likewise for three. All are averaged over the combinations of the remaining factors.
    """
    weights = _weights(levels, factor_levels)
    seeds = [seed for seed in planned if all(seed in cells.get(cell, {}) for cell in weights)]
    terms = [[(weight, cells[cell][seed]) for cell, weight in weights.items()] for seed in seeds]
    values = [_weighted_sum(of_seed, kind) for of_seed in terms]
    bound = _bound([term for of_seed in terms for term in of_seed])
    # A ratio needs positive values. Leaving out the seeds that have none would bias the rest.
    is_defined = bool(values) and not any(map(math.isnan, values)) and bound != "neither"
    back = math.exp if kind == "ratio" else float
    interval = t_interval(values) if is_defined else None
    ci95: Interval | None = None
    if interval is not None:
        low, high = map(back, interval)
        ci95 = (None if bound == "upper" else low, None if bound == "lower" else high)
    return Effect(
        levels=levels,
        kind=kind,
        seeds=tuple(seeds),
        values=tuple(None if math.isnan(value) else back(value) for value in values),
        mean=back(fmean(values)) if is_defined else None,
        ci95=ci95,
        bound=bound,
        left_out=tuple(seed for seed in planned if seed not in seeds),
    )


def _weights(
    levels: Mapping[str, tuple[Level, Level]], factor_levels: Mapping[str, Sequence[Level]]
) -> dict[Cell, float]:
    """Weight of each cell: +1 for other, -1 for baseline, multiplied over the effect's factors."""
    choices = [
        [(levels[key][0], 1.0), (levels[key][1], -1.0)]
        if key in levels
        else [(level, 1.0 / len(all_levels)) for level in all_levels]
        for key, all_levels in factor_levels.items()
    ]
    return {
        tuple(level for level, _ in choice): math.prod(weight for _, weight in choice)
        for choice in product(*choices)
    }


def _weighted_sum(terms: Iterable[tuple[float, Outcome]], kind: EffectKind) -> float:
    total = 0.0
    for weight, outcome in terms:
        assert outcome.value is not None
        if kind == "difference":
            total += weight * outcome.value
        else:
            total += weight * (math.log(outcome.value) if outcome.value > 0 else math.nan)
    return total


def _bound(terms: Iterable[tuple[float, Outcome]]) -> Bound | None:
    """A censored value is too small: with positive weight it makes the effect too small."""
    signs = {weight > 0 for weight, outcome in terms if outcome.censored}
    if not signs:
        return None
    if len(signs) == 2:
        return "neither"
    return "lower" if True in signs else "upper"


def _best_levels(
    outcomes: Sequence[Outcome], keys: Sequence[str], experiment: Experiment
) -> tuple[Best, ...]:
    """For each arm the searched level with the best mean measure: the lowest, if lower is better.

    A level with a censored run is eligible only if all are (their limits then count). Before means
    are compared, more finished seeds win: a rate at which most seeds diverge is not the best rate.
    An arm without a finished run has no best level.
    """
    search = experiment.search
    assert search is not None
    sign = 1 if experiment.measure.lower_is_better else -1

    def rank(members: list[Outcome]) -> tuple[bool, int, float]:
        values = [each.value for each in members if each.value is not None]
        return any(each.censored for each in members), -len(values), sign * fmean(values)

    best = []
    for cell, members in _by_cell(outcomes, keys).items():
        by_level = {level: found for (level,), found in _by_cell(members, (search,)).items()}
        eligible = {
            level: rank(found)
            for level, found in by_level.items()
            if any(each.value is not None for each in found)
        }
        if eligible:
            level = min(eligible, key=lambda each: eligible[each])
            numbers = [each for each in by_level if isinstance(each, int | float)]
            best.append(
                Best(
                    arm=dict(zip(keys, cell, strict=True)),
                    level=level,
                    at_edge=len(numbers) > 1 and level in (min(numbers), max(numbers)),
                )
            )
    return tuple(best)


def _at_best(outcomes: Sequence[Outcome], best: Sequence[Best], search: str) -> list[Outcome]:
    """Runs of each arm at its best level; all runs of an arm that has none, so that it is seen."""

    def is_at_best(outcome: Outcome) -> bool:
        mine = [b for b in best if all(outcome.arm.get(key) == b.arm[key] for key in b.arm)]
        return not mine or outcome.arm.get(search) == mine[0].level

    return [outcome for outcome in outcomes if is_at_best(outcome)]


def _papers_effect(claimed: Sequence[Effect], experiment: Experiment) -> Effect | None:
    has_value = experiment.paper is not None
    is_one_factor = len({key for effect in claimed for key in effect.levels}) == 1
    return claimed[0] if has_value and is_one_factor else None


def _contains_paper_value(effect: Effect | None, experiment: Experiment) -> bool | None:
    """Whether the paper's value is in the interval; an end that is unknown is no limit."""
    if effect is None or effect.ci95 is None:
        return None
    assert experiment.paper is not None
    low, high = effect.ci95
    value = experiment.paper.value
    return (low is None or low <= value) and (high is None or value <= high)


def _verdict(
    arms: Sequence[Arm], claimed: Sequence[Effect], experiment: Experiment
) -> Verdict | None:
    """The paper's side is above no effect: the baseline, its proposal, has the smaller measure.

    It is below, if a higher measure is better.

    None where nothing was compared, however many runs there are, and where nothing was claimed:
    there is no side to be on.
    """
    if not claimed:
        return None
    counts = [arm.n for arm in arms] + [effect.n for effect in claimed]
    if min(counts) < 2:
        return "too few finished runs"
    if experiment.claim is None:
        return None
    none = experiment.no_effect
    intervals = [effect.ci95 or (None, None) for effect in claimed]
    above = [low is not None and low > none for low, _ in intervals]
    below = [high is not None and high < none for _, high in intervals]
    ours, other = (above, below) if experiment.measure.lower_is_better else (below, above)
    if all(ours):
        return "agrees"
    if any(other):
        return "disagrees"
    return "no clear difference"
