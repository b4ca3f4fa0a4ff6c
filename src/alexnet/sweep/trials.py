"""The levels of swept keys, and the trials of a search in intervals."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override

from alexnet.config.schema import ConfigError

MOST_RUNS = 10_000
"""Maximum number of runs of one command."""

Interval = tuple[float, float]


class Axes(dict[str, list[str]]):
    """Swept keys and the levels of each.

    Runs are the product of all levels, except for keys that were given as an interval: one trial of
    a search has one level of each of them, so these keys are advanced together. `intervals` holds
    their ends.
    """

    def __init__(self, levels: Mapping[str, list[str]], intervals: Mapping[str, Interval]) -> None:
        super().__init__(levels)
        self.intervals = dict(intervals)

    @property
    def trials(self) -> int:
        """Number of trials of the intervals; 0 without an interval."""
        return next((len(self[key]) for key in self.intervals), 0)

    def count(self) -> int:
        """Return the number of runs."""
        alone = [len(levels) for key, levels in self.items() if key not in self.intervals]
        return math.prod(alone) * max(1, self.trials)

    def combinations(self) -> Iterator[dict[str, str]]:
        """Yield one level of each key for each run; the last key varies fastest."""
        first = next(iter(self.intervals), None)
        axes: list[list[dict[str, str]]] = []
        for key, levels in self.items():
            if key == first:
                trials = zip(*(self[each] for each in self.intervals), strict=True)
                axes.append([dict(zip(self.intervals, each, strict=True)) for each in trials])
            elif key not in self.intervals:
                axes.append([{key: level} for level in levels])
        for parts in itertools.product(*axes):
            merged = {key: level for part in parts for key, level in part.items()}
            yield {key: merged[key] for key in self}


def axes_of(swept: Mapping[str, Override], trials: int | None) -> Axes:
    """Return the levels of each key; those of intervals come from a sequence of `trials`.

    Raises ConfigError for a key without levels or with too many, and for intervals without a number
    of trials.
    """
    intervals = {
        key: _interval(override) for key, override in swept.items() if override.is_interval_sweep()
    }
    levels = {key: levels_of(each) for key, each in swept.items() if key not in intervals}
    if intervals:
        if trials is None:
            first = next(iter(intervals))
            raise ConfigError(
                f"{swept[first].input_line} needs a number of trials: add trials=8, or list the "
                "levels"
            )
        if trials > MOST_RUNS:
            raise ConfigError(f"trials={trials} are too many: at most {MOST_RUNS}")
        points = sequence(list(intervals.values()), trials)
        for index, key in enumerate(intervals):
            levels[key] = [point[index] for point in points]
    return Axes({key: levels[key] for key in swept}, intervals)


def levels_of(override: Override) -> list[str]:
    """Return the levels of a key that is swept by a list; a plain value is a single level.

    Raises ConfigError for no level, and for more than MOST_RUNS.
    """
    if not override.is_sweep_override():
        return [override.get_value_element_as_str()]
    levels = list(itertools.islice(override.sweep_string_iterator(), MOST_RUNS + 1))
    if not levels:
        raise ConfigError(
            f"{override.input_line} has no levels: no name or number matches. List the levels, as "
            f"in {override.key_or_group}=A,B"
        )
    if len(levels) > MOST_RUNS:
        raise ConfigError(f"{override.input_line} has too many levels: at most {MOST_RUNS}")
    return levels


def sequence(intervals: Sequence[Interval], count: int) -> list[tuple[str, ...]]:
    """Return `count` points of a box, evenly spread on logarithmic scales for any count.

    They are the points of the Halton sequence without scrambling, except the first, which is a
    corner: the middle comes first, and a longer sequence begins with a shorter one. Nothing is
    random, so every arm, machine and version tries the same points. They have two significant
    digits, and more only where a point would repeat an earlier one.
    """
    from scipy.stats import qmc

    halton = qmc.Halton(len(intervals), scramble=False)
    halton.fast_forward(1)
    points: dict[tuple[str, ...], None] = {}
    for place in halton.random(count):
        values = [
            low * (high / low) ** float(share)
            for (low, high), share in zip(intervals, place, strict=True)
        ]
        rounded = (tuple(f"{v:.{digits}g}" for v in values) for digits in range(2, 18))
        points[next(each for each in rounded if each not in points)] = None
    return list(points)


def _interval(override: Override) -> Interval:
    value: Any = override.value()
    assert isinstance(value, IntervalSweep)
    assert value.start is not None
    assert value.end is not None
    low, high = float(value.start), float(value.end)
    if not 0 < low < high < math.inf:
        raise ConfigError(
            f"{override.input_line} is not possible: interval(LOW, HIGH) is searched on a "
            "logarithmic scale and needs 0 < LOW < HIGH"
        )
    return low, high
