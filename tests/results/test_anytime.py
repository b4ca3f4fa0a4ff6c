"""Tests that stay valid at any look, against independent calculations."""

import math
from pathlib import Path

import pytest
from scipy.integrate import quad
from scipy.stats import nct, norm, t

from alexnet.config.experiment import Claim, Experiment, Measure, Size
from alexnet.results import anytime
from alexnet.results.compare import compare
from alexnet.results.effects import Outcome

from .simulations import looks

VALUES = [1.2, 0.7, 1.9, 1.1, 0.4]


def test_the_e_value_is_the_mixture_of_the_densities_of_t():
    n = len(VALUES)
    mean = sum(VALUES) / n
    deviation = math.sqrt(sum((x - mean) ** 2 for x in VALUES) / (n - 1))
    statistic = mean / deviation * math.sqrt(n)

    def weighted(d: float) -> float:
        likelihood = nct.pdf(statistic, n - 1, d * math.sqrt(n)) / t.pdf(statistic, n - 1)
        return likelihood * norm.pdf(d, 0, math.sqrt(anytime.PRIOR))

    below, above = (2 * quad(weighted, *ends, limit=200)[0] for ends in ((-20, 0), (0, 20)))

    assert anytime.e_value(VALUES, 0.0) == pytest.approx(below + above - 1, rel=1e-6)
    assert anytime.e_value(VALUES, 0.0) <= above  # the evidence for "above 0" alone


def test_the_interval_ends_where_the_test_does():
    low, high = anytime.interval(VALUES)
    assert anytime.one_sided(VALUES, low) == pytest.approx((0.025, 1.0))
    assert anytime.one_sided(VALUES, high) == pytest.approx((1.0, 0.025))
    shift = [value + 10 for value in VALUES]
    assert anytime.interval(shift) == pytest.approx((low + 10, high + 10))


def test_two_values_or_equal_ones_exclude_nothing():
    assert anytime.interval([0.1, 0.100001]) is None
    assert anytime.interval([0.1] * 5) is None
    assert anytime.e_value([0.1] * 5, 0.0) is None


def test_a_ratio_is_judged_on_logarithms_and_with_its_bound():
    about = Experiment(
        name="x", factor=("f",), effect="ratio",
        claims=[Claim(by="us", text="", size=Size(kind="about", value=2.0, margin=1.5))],
        measure=Measure(kind="epochs_to_error", metric="val/error", threshold=0.25),
    )  # fmt: skip
    outcomes = [
        Outcome(
            run=f"{arm}{seed}", arm={"f": arm}, seed=seed, fate="finished",
            value=5.0 * (2 + 0.1 * (-1) ** seed if arm == "other" else 1),
            censored=arm == "other" and seed == 5,
        )
        for arm in ("ours", "other")
        for seed in range(6)
    ]  # fmt: skip

    [effect] = compare(outcomes, experiment=about, is_anytime=True).effects
    [exact] = compare(outcomes[:5] + outcomes[6:11], experiment=about, is_anytime=True).effects

    assert (effect.bound, effect.ci95[1]) == ("lower", None)
    logs = [math.log(2 + 0.1 * (-1) ** seed) for seed in range(5)]
    assert [math.log(end) for end in exact.ci95] == pytest.approx(anytime.interval(logs))
    assert exact.p == pytest.approx(2 / anytime.e_value(logs, 0.0))


def test_looking_until_it_is_settled_is_rarely_wrong():
    found = looks(4000)
    for arms in ("normal", "skewed arms"):
        assert found[f"false verdicts, {arms}"]["seed=auto"] <= 0.05
        assert found[f"false verdicts, {arms}"]["repeated t-tests"] > 0.15
    medians = [found[f"effect of {effect}: median n"]["seed=auto"] for effect in (1, 2, 3)]
    assert medians == pytest.approx([13, 6, 4], abs=1)


def test_power_is_that_of_the_noncentral_t(tmp_path: Path):
    """Power with t-tests and with tests at any look, by scipy's distribution."""
    deviation, effect = 0.02, 0.05
    for n in (3, 6):
        critical = anytime.critical_t(n)
        found = anytime.smallest_effect(deviation, n)
        shift = found / deviation * math.sqrt(n)
        assert nct.sf(critical, n - 1, shift) == pytest.approx(0.8, abs=1e-3)
    n = anytime.seeds_needed(effect, deviation)

    def power(n: int) -> float:
        return float(nct.sf(anytime.critical_t(n), n - 1, effect / deviation * math.sqrt(n)))

    assert power(n) >= 0.8 > power(n - 1)
