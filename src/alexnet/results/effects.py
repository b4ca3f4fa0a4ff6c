"""Arms and effects, paired by seed, from what each run measured. Pure functions, no files.

Errors stay fractions. Every interval is a two-sided 95 % t-interval over seeds.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from statistics import fmean
from typing import Literal

from alexnet.config.experiment import EffectKind, Level
from alexnet.results.statistics import (
    exact_interval,
    one_sided,
    one_sided_of_images,
    spread,
    t_interval,
)

Fate = Literal["finished", "diverged", "failed", "unmeasured", "unfinished", "missing"]
Bound = Literal["lower", "upper", "neither"]
Interval = tuple[float | None, float | None]
Cell = tuple[Level, ...]

VALUE = "value"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of one planned run.

    `value` is the measure, None if it is not known; a run that finished without recording it is
    unmeasured. A finished run that never reached the threshold is censored: its value is its
    limit, the epoch at which it ended. A run that diverged is a result: it is censored at the end
    of its budget, or has the error of guessing. If neither is known its value is None.
    `error_reached` is the best value of its curve, by which censored runs are ranked. `images` is
    the number of images over which an error was counted, if known. `not_by` is the epoch before
    which an unfinished run cannot reach the threshold; with `has_crossed`, when it has reached it.
    """

    run: str
    arm: Mapping[str, Level]
    seed: int
    fate: Fate
    value: float | None = None
    censored: bool = False
    error_reached: float | None = None
    images: int | None = None
    not_by: float | None = None
    has_crossed: bool = False


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One level, or combination of levels, with the outcomes of its planned runs.

    `within` is the possible range of a value: an error lies between 0 and 1.
    """

    levels: Mapping[str, Level]
    outcomes: tuple[Outcome, ...]
    within: Interval = (None, None)

    @property
    def label(self) -> str:
        """The levels as on the command line: "relu", or "relu, lrn" in a grid."""
        return ", ".join(map(level_label, self.levels.values())) or "all runs"

    @property
    def measured(self) -> tuple[Outcome, ...]:
        """Runs with a value, including censored and diverged ones, by seed."""
        with_value = (each for each in self.outcomes if each.value is not None)
        return tuple(sorted(with_value, key=lambda each: each.seed))

    @property
    def n(self) -> int:
        """Number of runs with a value."""
        return len(self.measured)

    @property
    def values(self) -> tuple[float | None, ...]:
        """One value per measured run, by seed; None where censored."""
        return tuple(None if each.censored else each.value for each in self.measured)

    @property
    def censored(self) -> int:
        """Number of finished runs that never reached the threshold."""
        return sum(each.censored and each.fate == "finished" for each in self.measured)

    @property
    def reached(self) -> tuple[float, ...]:
        """The values of the runs that are not censored, by seed."""
        return tuple(value for value in self.values if value is not None)

    @property
    def limits(self) -> tuple[float, ...]:
        """For each censored run, the epoch by which it had not yet reached the threshold."""
        return tuple(
            each.value for each in self.measured if each.censored and each.value is not None
        )

    @property
    def limit(self) -> float | None:
        """The earliest of the limits; None if no run is censored."""
        return min(self.limits, default=None)

    @property
    def mean(self) -> float | None:
        """Mean over seeds; None if a run is censored, because only a lower bound is then known."""
        return fmean(self.reached) if self.reached and not self.limits else None

    @property
    def ci95(self) -> Interval | None:
        """Interval of the mean, (low, high); None without spread or if a run is censored."""
        return None if self.limits else clip(t_interval(self.reached), self.within)

    def count(self, fate: Fate) -> int:
        """Return the number of planned runs with this fate."""
        return sum(each.fate == fate for each in self.outcomes)


@dataclass(frozen=True, kw_only=True)
class Effect:
    """The effect of changing one factor (main effect), or of several beyond that (interaction).

    `levels` maps each factor to (other, baseline). `values` are the effects seed by seed, for the
    `seeds` that have a value in every cell the effect uses; `left_out` are the other planned seeds.
    A ratio that involves a zero is None, and so are mean and ci95 then. `scale` are the values on
    the scale on which they are tested, logarithms for a ratio. With `is_conditional`, a seed is
    left out because its run diverged, so the effect is only about runs that do not diverge. With
    `images`, this is the error of one run, judged by that number of images.

    Censoring: a censored run enters with its limit, so the effect is about the restricted time
    min(T, limit). If only runs on the other side are censored, the true effect is larger: `bound`
    is "lower" and ci95 is (low, None). If only runs on the baseline's side are, `bound` is "upper"
    and ci95 is (None, high). With both, `bound` is "neither", and mean and ci95 are None.
    """

    levels: Mapping[str, tuple[Level, Level]]
    kind: EffectKind
    seeds: tuple[int, ...]
    values: tuple[float | None, ...]
    mean: float | None
    ci95: Interval | None
    bound: Bound | None
    left_out: tuple[int, ...]
    scale: tuple[float, ...] = ()
    is_conditional: bool = False
    images: int | None = None

    @property
    def n(self) -> int:
        """The number of seeds that have a value in every compared arm."""
        return len(self.seeds)

    @property
    def spread(self) -> float | None:
        """Standard deviation over seeds, on the scale of the test; None if unknown or zero."""
        return spread(self.scale) if self.mean is not None else None

    @property
    def p(self) -> float | None:
        """p-value of the two-sided test against no effect; None where nothing can be tested."""
        sides = self.evidence(1.0 if self.kind == "ratio" else 0.0)
        return None if sides is None else min(1.0, 2 * min(sides))

    def evidence(self, point: float) -> tuple[float, float] | None:
        """Return one-sided p-values of "the effect is above the point" and "is below it".

        An effect that is only bounded on one side is no evidence for the other. None without
        spread.
        """
        if self.mean is None or (self.kind == "ratio" and point <= 0):
            return None
        if self.images is not None:
            return one_sided_of_images(self.mean * self.images, self.images, point)
        sides = one_sided(self.scale, math.log(point) if self.kind == "ratio" else point)
        if sides is None:
            return None
        above, below = sides
        return (1.0 if self.bound == "upper" else above, 1.0 if self.bound == "lower" else below)

    @property
    def is_value(self) -> bool:
        """Whether the effect is the measure of an arm itself: see `value_of`."""
        return VALUE in self.levels

    @property
    def is_interaction(self) -> bool:
        """Whether the effect is about more than one factor."""
        return len(self.levels) > 1

    @property
    def level(self) -> Level:
        """The level that a main effect compares with the baseline."""
        [(other, _)] = self.levels.values()
        return other

    @property
    def other(self) -> str:
        """The `level` as it is written on the command line."""
        return level_label(self.level)

    @property
    def of(self) -> str:
        """The name of the effect, for example "nonlinearity: tanh vs relu"."""
        if self.is_interaction:
            return " x ".join(
                f"{short_key(key)} {level_label(other)}" for key, (other, _) in self.levels.items()
            )
        [(key, (other, baseline))] = self.levels.items()
        return f"{short_key(key)}: {level_label(other)} vs {level_label(baseline)}"


def clip(interval: tuple[float, float] | None, within: Interval) -> tuple[float, float] | None:
    """Clip an interval to the possible range, which does not reduce its coverage."""
    if interval is None:
        return None
    (low, high), (least, most) = interval, within
    return (
        low if least is None else max(low, least),
        high if most is None else min(high, most),
    )


def level_label(level: Level) -> str:
    """Return a level as it is written on the command line."""
    if level is None:
        return "null"
    return str(level).lower() if isinstance(level, bool) else str(level)


def short_key(key: str) -> str:
    """Return the last part of a dotted key: nonlinearity for model.nonlinearity."""
    return key.rpartition(".")[2]


def _cell(outcome: Outcome, keys: Iterable[str]) -> Cell:
    return tuple(outcome.arm.get(key) for key in keys)


def value_of(arm: Arm) -> Effect:
    """Return the measure of an arm as an effect, for claims about a value, not a difference.

    It is judged over seeds if there are several. The error of a single run is judged over its
    images, if their number is known: this covers images like these, but not other seeds.
    """
    values = arm.reached
    images = arm.measured[0].images if len(values) == 1 and arm.n == 1 else None
    return Effect(
        levels={VALUE: (arm.label, None)},
        kind="difference",
        seeds=tuple(each.seed for each in arm.measured),
        values=arm.values,
        mean=arm.mean,
        ci95=exact_interval(values[0] * images, images) if images else arm.ci95,
        bound="lower" if arm.limits else None,
        left_out=tuple(each.seed for each in arm.outcomes if each.value is None),
        scale=values,
        is_conditional=any(each.fate == "diverged" and each.value is None for each in arm.outcomes),
        images=images,
    )


def by_cell(outcomes: Iterable[Outcome], keys: Sequence[str]) -> dict[Cell, list[Outcome]]:
    """Group outcomes by their levels of these keys."""
    cells: dict[Cell, list[Outcome]] = {}
    for outcome in outcomes:
        cells.setdefault(_cell(outcome, keys), []).append(outcome)
    return cells


def arms_of(
    outcomes: Sequence[Outcome], keys: Sequence[str], *, within: Interval = (None, None)
) -> tuple[Arm, ...]:
    """Return an arm for each combination of levels of these keys, in the order of outcomes."""
    return tuple(
        Arm(levels=dict(zip(keys, cell, strict=True)), outcomes=tuple(members), within=within)
        for cell, members in by_cell(outcomes, keys).items()
    )


def effects_of(
    outcomes: Sequence[Outcome],
    factor_levels: Mapping[str, Sequence[Level]],
    kind: EffectKind,
    *,
    within: Interval = (None, None),
) -> tuple[Effect, ...]:
    """Return main effects, then two- and three-way interactions, of other levels vs the baseline.

    The baseline is the first of a factor's levels.
    """
    members_of = by_cell(outcomes, list(factor_levels))
    cells = {
        cell: {each.seed: each for each in members if each.value is not None}
        for cell, members in members_of.items()
    }
    planned = sorted({each.seed for each in outcomes})
    lost = {
        (cell, each.seed)
        for cell, members in members_of.items()
        for each in members
        if each.fate == "diverged" and each.value is None
    }
    return tuple(
        _effect(
            {key: (other, factor_levels[key][0]) for key, other in zip(keys, others, strict=True)},
            factor_levels=factor_levels,
            cells=cells,
            planned=planned,
            lost=lost,
            kind=kind,
            within=within,
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
    lost: Collection[tuple[Cell, int]],
    kind: EffectKind,
    within: Interval,
) -> Effect:
    """Compute an effect: for each seed a weighted sum over cells, of logarithms for a ratio.

    A main effect is other - baseline. An interaction is the difference of differences,
    (other, other) - (other, baseline) - (baseline, other) + (baseline, baseline), without the
    factor 1/2 of some textbooks: by how much the effect of one factor changes with the other.
    Interactions of three factors are defined in the same way. All effects are averaged over the
    combinations of the remaining factors.
    """
    weights = _weights(levels, factor_levels)
    seeds = [seed for seed in planned if all(seed in cells.get(cell, {}) for cell in weights)]
    terms = [[(weight, cells[cell][seed]) for cell, weight in weights.items()] for seed in seeds]
    values = [_weighted_sum(of_seed, kind) for of_seed in terms]
    bound = _bound([term for of_seed in terms for term in of_seed])
    # A ratio needs positive values. Leaving out the seeds that have none would bias the rest.
    is_defined = bool(values) and not any(map(math.isnan, values)) and bound != "neither"
    back = _exp if kind == "ratio" else float
    interval = t_interval(values) if is_defined else None
    ci95: Interval | None = None
    if ends := clip(interval and (back(interval[0]), back(interval[1])), within):
        low, high = ends
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
        scale=tuple(values) if is_defined else (),
        is_conditional=any((cell, seed) in lost for cell in weights for seed in planned),
    )


def _exp(logarithm: float) -> float:
    """Exponentiate with a limit: an interval of a ratio over two seeds may exceed every float."""
    return math.exp(max(-700.0, min(logarithm, 700.0)))


def _weights(
    levels: Mapping[str, tuple[Level, Level]], factor_levels: Mapping[str, Sequence[Level]]
) -> dict[Cell, float]:
    """Return each cell's weight: +1 for other, -1 for baseline, multiplied over the factors."""
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
    """Return on which side the effect is bounded.

    A censored value is too small; with positive weight it makes the effect too small.
    """
    signs = {weight > 0 for weight, outcome in terms if outcome.censored}
    if not signs:
        return None
    if len(signs) == 2:
        return "neither"
    return "lower" if True in signs else "upper"
