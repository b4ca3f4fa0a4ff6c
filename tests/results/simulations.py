"""How often intervals and verdicts are wrong, by simulation: the table of docs/statistics.md.

python -m tests.results.simulations
"""

import random
from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
from scipy.special import stdtrit

from alexnet.config.experiment import Claim, Experiment, Measure, Size
from alexnet.results import anytime
from alexnet.results.compare import Comparison, compare
from alexnet.results.effects import Outcome
from alexnet.results.statistics import LEVEL, t_interval

REPEATS = 2000
DEVIATION = 0.01

Draw = Callable[[random.Random], float]


def normal(chance: random.Random) -> float:
    return chance.gauss(0, DEVIATION)


def skewed(chance: random.Random) -> float:
    """Exponential, with mean 0."""
    return chance.expovariate(1 / DEVIATION) - DEVIATION


def coverage(draw: Draw, n: int) -> float:
    """Share of intervals of paired differences that hold the true one."""
    chance, held = random.Random(n), 0
    for _ in range(REPEATS):
        interval = t_interval([draw(chance) for _ in range(n)])
        assert interval is not None
        held += interval[0] <= 0 <= interval[1]
    return held / REPEATS


def compared(
    draw: Draw,
    chance: random.Random,
    n: int,
    *,
    effect: float = 0.0,
    size: Size | None = None,
    kind: str = "difference",
    limit: float | None = None,
    others: int = 1,
) -> Comparison:
    """One sweep: a baseline and others that differ from it by the effect."""
    is_equal = size is not None and size.kind == "within"
    direction = "equal" if is_equal else "better"
    claims = [
        Claim(by="us", text="", levels=(f"other{i}",), size=size, direction=direction)
        for i in range(others)
    ]
    is_time = limit is not None
    measure = Measure(
        kind="epochs_to_error" if is_time else "final",
        metric="val/error",
        threshold=0.25 if is_time else None,
    )
    about = Experiment(name="x", factor=("f",), claims=claims, measure=measure, effect=kind)
    outcomes = []
    for arm, seed in product(("ours", *(f"other{i}" for i in range(others))), range(n)):
        value = 0.3 + draw(chance) + (effect if arm != "ours" else 0)
        censored = limit is not None and value > limit
        outcomes.append(
            Outcome(
                run=f"{arm}{seed}", arm={"f": arm}, seed=seed, fate="finished",
                value=limit if censored else value, censored=censored,
            )
        )  # fmt: skip
    return compare(outcomes, experiment=about)


def share(of: Callable[[random.Random], bool], repeats: int = REPEATS) -> float:
    chance = random.Random(0)
    return sum(of(chance) for _ in range(repeats)) / repeats


def is_decided(result: Comparison) -> bool:
    return any(each.direction.verdict != "undecided" for each in result.claims)


def rows(n: int, repeats: int = REPEATS) -> Iterator[tuple[str, float]]:
    """(what, share) for n seeds. Of no effect, a decision is false."""
    yield "coverage, normal", coverage(normal, n)
    yield "coverage, skewed", coverage(skewed, n)

    def false(**settings: object) -> float:
        return share(lambda chance: is_decided(compared(chance=chance, n=n, **settings)), repeats)

    yield "false verdicts, difference, normal", false(draw=normal)
    yield "false verdicts, difference, skewed", false(draw=skewed)
    yield "false verdicts, ratio, normal", false(draw=normal, kind="ratio")
    yield "false verdicts, ratio, a third censored", false(draw=normal, kind="ratio", limit=0.3044)
    yield "false verdicts, any of 7 claims (Holm)", false(draw=normal, others=7)
    within = Size(kind="within", margin=0.01)
    yield (
        "false equivalence, true effect at the margin",
        share(
            lambda chance: (
                compared(normal, chance, n, effect=0.01, size=within).claims[0].direction.verdict
                == "agrees"
            ),
            repeats,
        ),
    )
    yield "power, effect of two deviations", false(draw=normal, effect=2 * DEVIATION)


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
    numbers = (2, 3, 5, 10)
    columns = {n: dict(rows(n)) for n in numbers}
    print(f"| | {' | '.join(f'n = {n}' for n in numbers)} |\n|---|{'---|' * len(numbers)}")
    for what in columns[2]:
        print(f"| {what} | {' | '.join(f'{100 * columns[n][what]:.1f} %' for n in numbers)} |")
    print("\n| | seed=auto | repeated t-tests |\n|---|---|---|")
    for what, by_test in looks().items():
        is_count = what.endswith("n")
        cells = (f"{x:g}" if is_count else f"{100 * x:.1f} %" for x in by_test.values())
        print(f"| {what} | {' | '.join(cells)} |")
