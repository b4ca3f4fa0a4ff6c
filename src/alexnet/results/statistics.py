"""Intervals, tests, power and adjustment. Pure functions of numbers.

Statistics over seeds use Student's t. Without spread, nothing is known about the next seed:
intervals and p-values are then None, whatever the number of equal values.
"""

import math
from collections.abc import Sequence
from statistics import fmean

LEVEL = 0.05
"""Significance level of every test, two-sided; intervals cover 1 - LEVEL."""

POWER = 0.8
"""The power that "enough seeds" have."""

MOST_SEEDS = 1000


def spread(values: Sequence[float]) -> float | None:
    """Standard deviation; None for fewer than two values, or if they are equal up to rounding."""
    if len(values) < 2:
        return None
    mean = fmean(values)
    deviation = math.sqrt(math.fsum((each - mean) ** 2 for each in values) / (len(values) - 1))
    return deviation if deviation > 1e-9 * max(map(abs, values)) else None


def t_interval(values: Sequence[float], *, level: float = LEVEL) -> tuple[float, float] | None:
    """Mean -+ t(1 - level / 2, n - 1) * s / sqrt(n); None without spread."""
    deviation = spread(values)
    if deviation is None:
        return None
    from scipy.special import stdtrit  # scipy.stats would take a second to import

    half = float(stdtrit(len(values) - 1, 1 - level / 2)) * deviation / math.sqrt(len(values))
    return fmean(values) - half, fmean(values) + half


def one_sided(values: Sequence[float], point: float) -> tuple[float, float] | None:
    """Return p-values of "the mean is above the point" and "is below it"; None without spread."""
    deviation = spread(values)
    if deviation is None:
        return None
    from scipy.special import stdtr

    t = (fmean(values) - point) / (deviation / math.sqrt(len(values)))
    below = float(stdtr(len(values) - 1, t))
    return 1 - below, below


def exact_interval(wrong: float, images: int, *, level: float = LEVEL) -> tuple[float, float]:
    """Return Clopper and Pearson's interval of an error over images; `wrong` may be fractional.

    Ties between classes make it fractional.
    """
    from scipy.special import betaincinv

    low = float(betaincinv(wrong, images - wrong + 1, level / 2)) if wrong > 0 else 0.0
    high = float(betaincinv(wrong + 1, images - wrong, 1 - level / 2)) if wrong < images else 1.0
    return low, high


def one_sided_of_images(wrong: float, images: int, point: float) -> tuple[float, float]:
    """Return binomial p-values of "the error is above the point" and "is below it"."""
    from scipy.special import betainc

    if not 0 < point < 1:
        return (0.0, 1.0) if point <= 0 else (1.0, 0.0)
    at_least = float(betainc(wrong, images - wrong + 1, point)) if wrong > 0 else 1.0
    above = float(betainc(wrong + 1, images - wrong, point)) if wrong < images else 0.0
    return at_least, 1 - above


def holm(p_values: Sequence[float | None]) -> tuple[float | None, ...]:
    """Adjust p-values by Holm's step-down method, which controls the chance of any false positive.

    None stands for a missing test and is not counted.
    """
    known = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, index) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        adjusted[index] = largest
    return tuple(adjusted)


def power_of(effect: float, deviation: float, n: int, *, level: float = LEVEL) -> float:
    """Return the chance that a two-sided t-test over n seeds shows that effect, on its own side."""
    from scipy.special import nctdtr, stdtrit

    if n < 2:
        return 0.0
    critical = float(stdtrit(n - 1, 1 - level / 2))
    shift = min(abs(effect) / deviation * math.sqrt(n), 30.0)  # nctdtr is inaccurate beyond
    below = float(nctdtr(n - 1, shift, critical))
    return 1.0 - below if below == below else 1.0


def smallest_effect(deviation: float, n: int, *, level: float = LEVEL) -> float | None:
    """Return the smallest effect that n seeds show with POWER; None for fewer than two."""
    if n < 2:
        return None
    low, high = 0.0, deviation
    while power_of(high, deviation, n, level=level) < POWER:
        low, high = high, 2 * high
        if high > 1e6 * deviation:
            return None
    for _ in range(40):
        middle = (low + high) / 2
        is_shown = power_of(middle, deviation, n, level=level) >= POWER
        low, high = (low, middle) if is_shown else (middle, high)
    return high


def seeds_needed(
    effect: float, deviation: float, *, level: float = LEVEL, power: float = POWER
) -> int | None:
    """Return how many seeds show that effect with that power; None if more than MOST_SEEDS."""
    low, high = 1, 2
    while power_of(effect, deviation, high, level=level) < power:
        low, high = high, 2 * high
        if high > MOST_SEEDS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        is_enough = power_of(effect, deviation, middle, level=level) >= power
        low, high = (low, middle) if is_enough else (middle, high)
    return high
