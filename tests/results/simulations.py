"""How often intervals and verdicts are wrong, by simulation: the tables of docs/statistics.md.

python -m tests.results.simulations
"""

import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product
from statistics import fmean, stdev
from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.special import stdtrit

from alexnet.config.experiment import Claim, Experiment, Measure, Size
from alexnet.crossing import epochs_to_error
from alexnet.results import anytime
from alexnet.results.claims import SizeVerdict
from alexnet.results.compare import Comparison, compare
from alexnet.results.effects import Arm, Outcome
from alexnet.results.statistics import LEVEL, holm, t_interval
from alexnet.results.survival import survival

REPEATS = 10_000
NUMBERS = (2, 3, 5, 10)
DEVIATION = 0.01
ERROR, GUESSING = 0.3, 0.9
A_THIRD = ERROR + 0.44 * DEVIATION  # of normal runs is above

Draw = Callable[[random.Random], float]


def normal(chance: random.Random) -> float:
    return chance.gauss(0, DEVIATION)


def skewed(chance: random.Random) -> float:
    """Exponential, with mean 0."""
    return chance.expovariate(1 / DEVIATION) - DEVIATION


def coverage(draw: Draw, n: int, repeats: int = REPEATS) -> float:
    """Share of intervals over differences, drawn as they are, that hold the true one."""
    chance, held = random.Random(n), 0
    for _ in range(repeats):
        interval = t_interval([draw(chance) for _ in range(n)])
        assert interval is not None
        held += interval[0] <= 0 <= interval[1]
    return held / repeats


def one_run(
    arm: dict[str, Any], seed: int, chance: random.Random, *, draw: Draw, effect: float,
    limit: float | None, diverging: float,
) -> Outcome:  # fmt: skip
    """A run with an error, or with a time that is censored at the limit; or one that diverged."""
    value = ERROR + draw(chance) + effect
    about: dict[str, Any] = {"run": f"{arm}{seed}", "arm": arm, "seed": seed}
    if chance.random() < diverging:
        is_time = limit is not None
        return Outcome(
            **about, fate="diverged", value=limit if is_time else GUESSING, censored=is_time
        )
    if limit is not None and value > limit:
        return Outcome(**about, fate="finished", value=limit, censored=True)
    return Outcome(**about, fate="finished", value=value)


def compared(
    chance: random.Random,
    n: int,
    *,
    draw: Draw = normal,
    effect: float = 0.0,
    size: Size | None = None,
    kind: str = "difference",
    limit: float | None = None,
    diverging: float = 0.0,
    diverging_others: float | None = None,
    others: int = 1,
    factors: int = 1,
) -> Comparison:
    """One sweep: a baseline and others that differ from it by the effect.

    With several factors, all combinations of two levels; each factor has the effect.
    """
    keys = tuple("fgh"[:factors])
    levels = ("ours", *(f"other{i}" for i in range(others)))
    is_equal = size is not None and size.kind == "within"
    direction = "equal" if is_equal else "better"
    claims = [
        Claim(by="us", text="", levels=about, size=size, direction=direction)
        for about in ([()] if factors > 1 else [(each,) for each in levels[1:]])
    ]
    is_time = limit is not None
    measure = Measure(
        kind="epochs_to_error" if is_time else "final",
        metric="val/error",
        threshold=0.25 if is_time else None,
    )
    about = Experiment(name="x", factor=keys, claims=claims, measure=measure, effect=kind)
    outcomes = []
    for arm, seed in product(product(levels, repeat=factors), range(n)):
        changed = sum(level != "ours" for level in arm)
        rate = diverging if not changed or diverging_others is None else diverging_others
        outcomes.append(
            one_run(
                dict(zip(keys, arm, strict=True)), seed, chance,
                draw=draw, effect=changed * effect, limit=limit, diverging=rate,
            )
        )  # fmt: skip
    return compare(outcomes, experiment=about)


def share(of: Callable[[random.Random], bool], repeats: int = REPEATS) -> float:
    """Share of sweeps for which this is true."""
    chance = random.Random(0)
    return sum(of(chance) for _ in range(repeats)) / repeats


def is_decided(result: Comparison) -> bool:
    return any(each.direction.verdict != "undecided" for each in result.claims)


def holds(result: Comparison, truth: float) -> bool:
    """Whether the interval of the first effect covers the true one; a missing interval does."""
    low, high = result.effects[0].ci95 or (None, None)
    return (low is None or low <= truth) and (high is None or truth <= high)


def is_alarmed(result: Comparison) -> bool:
    """Whether any row of the table of effects stands after Holm's adjustment."""
    adjusted = holm([effect.p for effect in result.effects])
    return any(p is not None and p <= LEVEL for p in adjusted)


def log_rank(chance: random.Random, n: int) -> bool:
    def arm(label: str) -> Arm:
        runs = (
            one_run(
                {"f": label}, seed, chance, draw=normal, effect=0, limit=A_THIRD, diverging=0
            )
            for seed in range(n)
        )  # fmt: skip
        return Arm(levels={"f": label}, outcomes=tuple(runs))

    found = survival([arm("ours"), arm("other")])
    p = found.pairs[0].p if found else None
    return p is not None and p <= LEVEL


KINDS: dict[str, dict[str, Any]] = {
    "difference, normal": {},
    "difference, skewed": {"draw": skewed},
    "difference, 1 in 10 diverges": {"diverging": 0.1},
    "ratio, normal": {"kind": "ratio"},
    "ratio, skewed": {"kind": "ratio", "draw": skewed},
    "ratio, a third censored": {"kind": "ratio", "limit": A_THIRD},
    "ratio, 1 in 10 diverges": {"kind": "ratio", "limit": 2 * ERROR, "diverging": 0.1},
    "grid of 2 x 2, normal": {"factors": 2},
    "grid of 2 x 2, skewed": {"factors": 2, "draw": skewed},
    "grid of 2 x 2, a third censored": {"factors": 2, "kind": "ratio", "limit": A_THIRD},
    "grid of 2 x 2, 1 in 10 diverges": {"factors": 2, "diverging": 0.1},
}


def rows(n: int, repeats: int = REPEATS) -> Iterator[tuple[str, float]]:
    """(what, share) for n seeds. Without an effect, every decision is false."""

    def often(of: Callable[[Comparison], bool], **settings: Any) -> float:
        return share(lambda chance: of(compared(chance, n, **settings)), repeats)

    for what, settings in KINDS.items():
        truth = 1.0 if settings.get("kind") == "ratio" else 0.0
        yield f"coverage, {what}", often(lambda one, truth=truth: holds(one, truth), **settings)
    yield "coverage, differences that are skewed themselves", coverage(skewed, n, repeats)
    truth = (GUESSING - ERROR) / 5
    yield (
        "coverage, difference, 1 in 5 of the other arm diverges",
        often(lambda one: holds(one, truth), diverging_others=0.2),
    )
    for what, settings in KINDS.items():
        yield f"false verdicts, {what}", often(is_decided, **settings)
    yield "false alarms, any row of a grid's table (Holm)", often(is_alarmed, factors=2)
    yield "false verdicts, any of 7 claims (Holm)", often(is_decided, others=7)
    yield "false alarms, log-rank, a third censored", share(lambda c: log_rank(c, n), repeats // 4)

    def equal(margin: float, verdict: SizeVerdict, **settings: Any) -> float:
        within = Size(kind="within", margin=margin)
        return often(lambda one: one.claims[0].size.verdict == verdict, size=within, **settings)

    for what in ("normal", "skewed", "1 in 10 diverges"):
        settings = KINDS[f"difference, {what}"]
        truth = {"effect": DEVIATION, **settings}
        yield (
            f"false equivalence, true effect at the margin, {what}",
            equal(DEVIATION, "equivalent", **truth),
        )
    censored = {"kind": "ratio", "limit": A_THIRD, "effect": 0.1 * ERROR}
    yield (
        "false equivalence, true effect at the margin, a third censored",
        equal(1.1, "equivalent", **censored),
    )
    yield (
        "false difference, true effect at the margin, normal",
        equal(DEVIATION, "different", effect=DEVIATION),
    )
    for what, settings in KINDS.items():
        yield f"power, {what}", often(is_decided, effect=2 * DEVIATION, **settings)
    yield "power, equivalence within 4 deviations, normal", equal(4 * DEVIATION, "equivalent")


# Skewed differences: is there a better interval?


def johnson(values: Sequence[float]) -> tuple[float, float]:
    """Johnson's (1978) t, corrected for the skewness of the values."""
    n, mean, deviation = len(values), fmean(values), stdev(values)
    third = sum((each - mean) ** 3 for each in values) * n / ((n - 1) * (n - 2))
    shift = third / (6 * deviation**2 * n)
    interval = t_interval(values)
    assert interval is not None
    return interval[0] + shift, interval[1] + shift


def bootstrap_t(values: Sequence[float], chance: np.random.Generator) -> tuple[float, float]:
    """The studentized bootstrap, 999 samples; samples without spread are left out."""
    sample = np.asarray(values)
    again = chance.choice(sample, (999, len(sample)))
    deviations = again.std(axis=1, ddof=1)
    kept = deviations > 0
    t = (again.mean(axis=1) - sample.mean())[kept] / deviations[kept]
    high, low = np.quantile(t, (0.025, 0.975))
    return tuple(sample.mean() - np.array([low, high]) * sample.std(ddof=1))


def intervals(n: int, repeats: int = REPEATS) -> Iterator[tuple[str, float, float]]:
    """(interval, coverage, its median width against Student's), of exponential differences."""
    chance, resample = random.Random(n), np.random.default_rng(n)
    samples = [[skewed(chance) for _ in range(n)] for _ in range(repeats)]
    methods: dict[str, Callable[[Sequence[float]], Any]] = {
        "Student's t": t_interval,
        "Johnson's t": johnson,
        "studentized bootstrap": lambda values: bootstrap_t(values, resample),
    }
    widths: dict[str, float] = {}
    for name, method in methods.items():
        found = [method(values) for values in samples]
        widths[name] = float(np.median([high - low for low, high in found]))
        held = sum(low <= 0 <= high for low, high in found)
        yield name, held / repeats, widths[name] / widths["Student's t"]


# Times to an error: which reading of a noisy curve is the least biased?

CURVES: dict[str, tuple[tuple[float, float], tuple[float, float], int]] = {
    # (epoch of the crossing, exponent) of two arms; images in a row of progress.csv
    "as CIFAR-10: 6.4 and 41.1 epochs": ((6.4, 0.512), (41.1, 0.575), 5000),
    "faster: 2.5 and 8 epochs": ((2.5, 0.6), (8.0, 0.5), 5000),
    "as mnist5k: 0.9 and 1.8 epochs": ((0.9, 2.0), (1.8, 1.5), 400),
    "flat and small: 6.4 and 20 epochs": ((6.4, 0.512), (20.0, 0.5), 400),
}


def noisy_curve(
    at: float, exponent: float, images: int, chance: np.random.Generator
) -> tuple[list[float], list[float]]:
    """Ten rows an epoch of 0.25 (at / epoch) ** exponent, counted over so many images each."""
    epochs = np.arange(1, round(10 * (1.3 * at + 3)) + 1) / 10
    within = epochs[:, None] - 0.1 + (np.arange(20) + 0.5) / 200
    errors = np.minimum(0.9, 0.25 * (at / within) ** exponent).mean(axis=1)
    return epochs.tolist(), (chance.binomial(images, errors) / images).tolist()


def first_passage(epochs: Iterable[float], errors: Iterable[float]) -> float:
    before = None
    for epoch, error in zip(epochs, errors, strict=True):
        if error <= 0.25:
            if before is None:
                return epoch
            share_of_step = (before[1] - 0.25) / (before[1] - error)
            return before[0] + share_of_step * (epoch - before[0])
        before = epoch, error
    return math.nan


def moving_average(errors: Sequence[float], rows_each_side: int) -> list[float]:
    """Centred; windows shrink on both sides at the start and at the end."""
    last = len(errors) - 1
    halves = [min(rows_each_side, i, last - i) for i in range(len(errors))]
    return [fmean(errors[i - half : i + half + 1]) for i, half in enumerate(halves)]


def readings(epochs: list[float], errors: list[float]) -> dict[str, float]:
    middles = [epoch - 0.05 for epoch in epochs]
    monotone = isotonic_regression(errors, increasing=False).x.tolist()
    return {
        "first row at or below, at its end (0.1)": first_passage(epochs, errors),
        "the same, in its middle": first_passage(middles, errors),
        "moving average over half an epoch": first_passage(middles, moving_average(errors, 2)),
        "moving average over an epoch": first_passage(middles, moving_average(errors, 5)),
        "moving average over two epochs": first_passage(middles, moving_average(errors, 10)),
        "isotonic fit of the whole curve": first_passage(middles, monotone),
        "isotonic fit, confirmed for an epoch (ours)": epochs_to_error(
            epochs, errors, threshold=0.25, are_means=True
        )[0],
    }


def crossings(curve: str, repeats: int = REPEATS // 4) -> dict[str, tuple[float, float]]:
    """By reading: measured ratio over true ratio, and the standard deviation of its logarithm."""
    one, other, images = CURVES[curve]
    chance = np.random.default_rng(0)
    ratios: dict[str, list[float]] = {}
    for _ in range(repeats):
        fast, slow = (readings(*noisy_curve(*each, images, chance)) for each in (one, other))
        for name in fast:
            ratios.setdefault(name, []).append(math.log(slow[name] / fast[name]))
    true = math.log(other[0] / one[0])
    return {name: (math.exp(fmean(logs) - true), stdev(logs)) for name, logs in ratios.items()}


def _print_table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> None:
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for line in lines:
        print(f"| {' | '.join(line)} |", flush=True)
    print()


def looks(
    repeats: int = 10 * REPEATS, first: int = 3, most: int = 20
) -> dict[str, dict[str, float]]:
    """Seeds added one at a time, with a look at each n, until a verdict or `most` of them.

    By row, for the test of seed=auto and for repeated t-tests. Skewed: the difference of two equal
    exponential arms. One-sided: exponential differences, whose mean alone is zero. Effects are in
    deviations of the differences.
    """
    tests = {
        "seed=auto": {n: anytime.critical_t(n) for n in range(first, most + 1)},
        "repeated t-tests": {n: stdtrit(n - 1, 1 - LEVEL / 2) for n in range(first, most + 1)},
    }
    chance = np.random.default_rng(0)
    shape = (repeats, most)
    samples = {
        "false verdicts, normal": chance.normal(size=shape),
        "false verdicts, skewed arms": chance.exponential(size=shape)
        - chance.exponential(size=shape),
        "false verdicts, one-sided differences": chance.exponential(size=shape) - 1,
    }
    for effect in (1, 2, 3):
        samples[f"effect of {effect}"] = chance.normal(effect, 1, size=shape)
    found: dict[str, dict[str, float]] = {}
    for name, values in samples.items():
        for test, critical in tests.items():
            end = np.full(repeats, most + 1)
            for n in range(most, first - 1, -1):
                seen = values[:, :n]
                t = np.abs(seen.mean(1)) / seen.std(1, ddof=1) * n**0.5
                end[t >= critical[n]] = n
            if name.startswith("false"):
                found.setdefault(name, {})[test] = float((end <= most).mean())
            else:
                found.setdefault(f"{name}: median n", {})[test] = float(np.median(end))
                undecided = f"{name}: undecided at {most}"
                found.setdefault(undecided, {})[test] = float((end > most).mean())
    return found


if __name__ == "__main__":
    found = {curve: crossings(curve) for curve in CURVES}
    _print_table(
        ["reading", *CURVES],
        (
            [name, *(f"{100 * (each[name][0] - 1):+.1f} %" for each in found.values())]
            for name in found[next(iter(CURVES))]
        ),
    )
    by_n = {n: {name: numbers for name, *numbers in intervals(n)} for n in NUMBERS[1:]}
    _print_table(
        ["interval", *(f"n = {n}: coverage, width" for n in by_n)],
        (
            [name, *(f"{100 * by_n[n][name][0]:.1f} %, {by_n[n][name][1]:.1f}" for n in by_n)]
            for name in by_n[3]
        ),
    )
    columns = {n: dict(rows(n)) for n in NUMBERS}
    _print_table(
        ["", *(f"n = {n}" for n in NUMBERS)],
        ([what, *(f"{100 * columns[n][what]:.1f} %" for n in NUMBERS)] for what in columns[2]),
    )
    _print_table(
        ["", "seed=auto", "repeated t-tests"],
        (
            [
                what,
                *(f"{x:g}" if what.endswith("n") else f"{100 * x:.1f} %" for x in by_test.values()),
            ]
            for what, by_test in looks().items()
        ),
    )
