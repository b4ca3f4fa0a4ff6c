"""Anytime-valid tests and intervals, for sweeps to which seeds are added one at a time.

The e-value of n paired effects x is that of a mixture over the standardized effect d = mean / sd,
normal around 0 with the variance c = PRIOR, against d = 0, with the standard deviation unknown
(its right Haar prior; Wang and Ramdas, "Anytime-valid t-tests and confidence sequences for Gaussian
means with unknown variance", arXiv:2310.03722). With a = 1 + n c and t the t-statistic,

    E = a**(-1/2) * ((1 + t**2 / (n - 1)) / (1 + t**2 / (n - 1) / a)) ** (n / 2)

For normal effects whose mean is zero, whatever their deviation, the chance that E ever exceeds e,
over all n, is at most 1 / e. Half of E is the mixture over d > 0, half that over d < 0. The half on
the side opposite to the mean is at most 1, so 2 E - 1 is an e-value for the sign alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from statistics import fmean

from typing_extensions import override

from alexnet.results.effects import Effect, Interval, clip
from alexnet.results.statistics import LEVEL, MOST_SEEDS, POWER, power_of, spread

PRIOR = 10.0
"""Variance of standardized effects. A smaller one could never settle a claim with three seeds."""

SETTLES = 2 / LEVEL
"""The e-value of a sign that settles a single claim at the level of a two-sided test."""


def e_value(values: Sequence[float], point: float) -> float | None:
    """Return the e-value for the observed sign of mean - point; None without spread.

    Negative results become 0: such values support neither sign.
    """
    deviation = spread(values)
    if deviation is None:
        return None
    n = len(values)
    square = n * ((fmean(values) - point) / deviation) ** 2 / (n - 1)
    a = 1 + n * PRIOR
    logarithm = n / 2 * (math.log1p(square) - math.log1p(square / a)) - math.log(a) / 2
    return max(0.0, 2 * math.exp(min(logarithm, 700.0)) - 1)


def one_sided(values: Sequence[float], point: float) -> tuple[float, float] | None:
    """Return p-values of "the mean is above the point" and "is below it"; None without spread.

    Each is one over the e-value, at most 1: the chance that it is ever below p is at most p.
    """
    found = e_value(values, point)
    if found is None:
        return None
    p = 1 / max(1.0, found)
    return (p, 1.0) if fmean(values) > point else (1.0, p)


def interval(values: Sequence[float], *, level: float = LEVEL) -> tuple[float, float] | None:
    """Return the interval (low, high) of the points that a two-sided test does not exclude.

    The chance that it ever misses the mean, over all n, is at most the level. None without spread,
    and for too few values to exclude any point.
    """
    deviation, critical = spread(values), critical_t(len(values), level)
    if deviation is None or critical is None:
        return None
    half = critical * deviation / math.sqrt(len(values))
    return fmean(values) - half, fmean(values) + half


def critical_t(n: int, level: float = LEVEL) -> float | None:
    """Return the t-statistic at which a two-sided test over n values is significant, or None."""
    if n < 2:
        return None
    a = 1 + n * PRIOR
    needed = ((1 / level + 0.5) * math.sqrt(a)) ** (2 / n)
    return math.sqrt((n - 1) * (needed - 1) / (1 - needed / a)) if needed < a else None


def level_at(n: int, level: float = LEVEL) -> float:
    """Return the level of the t-test that is as strict as this test with n values; 0 if none is."""
    from scipy.special import stdtr

    critical = critical_t(n, level)
    return 2 * float(stdtr(n - 1, -critical)) if critical is not None else 0.0


def smallest_effect(deviation: float, n: int) -> float | None:
    """Return the smallest effect that n values show with POWER, if tested at that n only, or None.

    It has the unit of the deviation.
    """
    from alexnet.results import statistics

    level = level_at(n)
    return statistics.smallest_effect(deviation, n, level=level) if level else None


def seeds_needed(
    effect: float, deviation: float, *, level: float = LEVEL, power: float = POWER
) -> int | None:
    """Return how many values show that effect with that power; None if more than MOST_SEEDS.

    With earlier looks this number is still sufficient; often fewer are needed.
    """
    for n in range(2, MOST_SEEDS + 1):
        strict = level_at(n, level)
        if strict and power_of(effect, deviation, n, level=strict) >= power:
            return n
    return None


@dataclass(frozen=True, kw_only=True)
class AnytimeEffect(Effect):
    """An effect whose test and interval are valid at any number of seeds, looked at in between."""

    @override
    def evidence(self, point: float) -> tuple[float, float] | None:
        if self.mean is None or (self.kind == "ratio" and point <= 0):
            return None
        sides = one_sided(self.scale, math.log(point) if self.kind == "ratio" else point)
        if sides is None:
            return None
        above, below = sides
        return (1.0 if self.bound == "upper" else above, 1.0 if self.bound == "lower" else below)

    @property
    def e_value(self) -> float | None:
        """The e-value for the sign of the effect; None where nothing can be tested."""
        if self.mean is None or not self.scale:
            return None
        return e_value(self.scale, 0.0)


def at_any_look(effect: Effect, within: Interval = (None, None)) -> AnytimeEffect:
    """Return the effect with an anytime-valid interval, clipped to its possible range `within`."""
    given = {each.name: getattr(effect, each.name) for each in fields(Effect)}
    found = interval(effect.scale) if effect.mean is not None else None
    if found is not None and effect.kind == "ratio":
        low, high = (math.exp(max(-700.0, min(end, 700.0))) for end in found)
        found = low, high
    ci95: Interval | None = None
    if ends := clip(found, within):
        ci95 = (
            None if effect.bound == "upper" else ends[0],
            None if effect.bound == "lower" else ends[1],
        )
    return AnytimeEffect(**{**given, "ci95": ci95})
