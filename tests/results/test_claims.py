"""Direction and size of claims, and how many seeds an undecided one needs."""

from typing import Any

import pytest

from alexnet.config.experiment import Claim, Experiment, Measure, Size
from alexnet.config.registration import compare_plans, register
from alexnet.results.claims import Setting
from alexnet.results.compare import Comparison, compare
from alexnet.results.effects import Outcome
from alexnet.results.statistics import (
    exact_interval,
    holm,
    one_sided_of_images,
    power_of,
    seeds_needed,
    smallest_effect,
)


def comparison(
    other: list[float], *claims: Claim, setting: Setting | None = None, **changes: Any
) -> Comparison:
    """A baseline of errors 0.3 against others."""
    baseline = [0.3] * len(other)
    outcomes = [
        Outcome(run=f"{level}{seed}", arm={"f": level}, seed=seed, fate="finished", value=value)
        for level, values in (("ours", baseline), ("other", other))
        for seed, value in enumerate(values)
    ]
    about = Experiment(
        name="x", factor=("f",), claims=claims, effect="difference",
        measure=Measure(kind="final", metric="val/error"), **changes,
    )  # fmt: skip
    return compare(outcomes, experiment=about, setting=setting)


def claim(**changes: Any) -> Claim:
    return Claim(**{"by": "paper", "text": "lower", "data": "cifar10", **changes})


def about(value: float, margin: float | None) -> Size:
    return Size(kind="about", value=value, margin=margin)


@pytest.mark.parametrize(
    ("other", "direction", "size"),
    [
        ([0.3139, 0.3141, 0.3140], "agrees", "compatible"),  # 1.4 points, as claimed
        ([0.3004, 0.3006, 0.3005], "agrees", "smaller"),  # 0.05 points
        ([0.3500, 0.3501, 0.3502], "agrees", "larger"),
        ([0.2890, 0.2900, 0.2910], "disagrees", "smaller"),
        ([0.20, 0.45, 0.31], "undecided", "undecided"),
    ],
)
def test_direction_and_size_are_judged_apart(other: list[float], direction: str, size: str):
    [result] = comparison(other, claim(size=about(0.014, 0.007))).claims
    assert (result.direction.verdict, result.size.verdict) == (direction, size)


@pytest.mark.parametrize(
    ("other", "verdict"),
    [
        ([0.3001, 0.2999, 0.3002], "equivalent"),
        ([0.3200, 0.3201, 0.3202], "different"),
        ([0.1730, 0.46, 0.30], "undecided"),
        ([0.3, 0.3, 0.3], "equivalent"),  # bit-equal
    ],
)
def test_equal_is_told_from_nothing_known(other: list[float], verdict: str):
    equal = claim(direction="equal", size=Size(kind="within", margin=0.005))
    assert comparison(other, equal).claims[0].size.verdict == verdict


def test_over_one_per_cent_is_not_shown_by_one_per_cent():
    least = claim(size=Size(kind="at_least", value=0.01))
    assert comparison([0.3099, 0.3101, 0.3100], least).claims[0].size.verdict == "undecided"
    assert comparison([0.3199, 0.3201, 0.3200], least).claims[0].size.verdict == "compatible"


@pytest.mark.parametrize("setting", [Setting(data="mnist5k"), Setting(data="cifar10", cut=("x",))])
def test_elsewhere_or_cut_short_a_claim_gets_no_verdict(setting: Setting):
    result = comparison([0.32, 0.321, 0.322], claim(), setting=setting)
    assert result.verdict is None
    assert result.analogue == (None if setting.cut else "agrees")
    assert result.papers_effect is None


@pytest.mark.parametrize(
    ("epochs", "elsewhere"), [(52, ("52 instead of 520 epochs",)), (520, ()), (600, ())]
)
def test_after_fewer_epochs_than_the_claims_a_sweep_is_an_analogue(
    epochs: int, elsewhere: tuple[str, ...]
):
    result = comparison([0.32, 0.321, 0.322], claim(epochs=520), setting=Setting(epochs=epochs))
    assert result.claims[0].elsewhere == elsewhere
    assert (result.verdict, result.analogue) == (
        (None, "agrees") if elsewhere else ("agrees", None)
    )


def test_several_claims_are_adjusted_together():
    other = [0.310, 0.312, 0.3155, 0.303]  # p is between 0.025 and 0.05
    [alone] = comparison(other, claim()).claims
    first, second = comparison(other, claim(), claim()).claims
    assert 0.025 < alone.direction.p < 0.05
    assert alone.direction.verdict == "agrees"
    assert first.direction.p_adjusted == pytest.approx(2 * alone.direction.p)
    assert (first.direction.verdict, second.direction.verdict) == ("undecided", "undecided")


def test_undecided_says_what_it_would_take():
    [result] = comparison([0.30, 0.33, 0.31], claim(size=about(0.014, 0.007))).claims
    assert result.direction.verdict == "undecided"
    assert result.power.n == 3
    deviation = 0.0152752523  # of 0, 0.03 and 0.01
    assert power_of(result.power.smallest_effect, deviation, 3) == pytest.approx(0.8)
    n = 3 + result.power.more_seeds
    assert power_of(0.014, deviation, n) >= 0.8 > power_of(0.014, deviation, n - 1)


def test_power_is_that_of_the_tables():
    # Cohen (1988), paired t-test: an effect of half a deviation needs 34 pairs for 80 %.
    assert seeds_needed(0.5, 1.0) == 34
    assert smallest_effect(1.0, 34) == pytest.approx(0.5, abs=0.01)


def test_holm_multiplies_by_what_is_left():
    assert holm([0.01, None, 0.04, 0.03]) == pytest.approx((0.03, None, 0.06, 0.06), nan_ok=True)


def test_a_file_of_0_1_states_one_claim_of_the_paper():
    old = Experiment.model_validate(
        {
            "name": "x", "section": "3.3", "claim": "lower", "claimed_levels": ["none"],
            "factor": ["f"], "measure": {"kind": "final", "metric": "val/error"},
            "effect": "difference", "paper": {"value": 0.02, "note": "n"}, "search": None,
        }
    )  # fmt: skip
    [read] = old.claims
    assert (read.by, read.text, read.levels, read.note) == ("paper", "lower", ("none",), "n")
    assert read.size == about(0.02, None)
    assert old.of_0_1()["paper"] == {"value": 0.02, "note": "n"}


# What was decided before the first run


def plan(**changes: Any) -> dict[str, Any]:
    experiment = {"claims": [{"text": "lower", "size": {"margin": 0.005}}], "factor": ["f"]}
    runs = {
        f"{level}{seed}": {"arm": {"f": level}, "seed": seed}
        for level in ("a", "b")
        for seed in range(3)
    }
    registered = register(experiment, runs, budget={"max_epochs": 5})
    return {"experiment": experiment, "runs": runs, "registered": registered, **changes}


def test_a_plan_that_nobody_has_changed_is_registered():
    assert compare_plans(plan()).text.startswith("registered before the first run")


def test_what_was_changed_after_the_first_run_is_listed():
    wider = {"claims": [{"text": "lower", "size": {"margin": 0.05}}], "factor": ["f"]}
    more = {**plan()["runs"], "a3": {"arm": {"f": "a"}, "seed": 3}}
    found = compare_plans(plan(experiment=wider, runs=more, looks=[3]))
    assert [change.partition(":")[0] for change in found.changed] == ["claims", "seeds"]
    assert "seeds: 3 added" in found.changed
    assert "looked at n = 3, then 4" in found.text


def test_a_key_that_claims_did_not_have_when_they_were_registered_is_no_change():
    later = plan()["experiment"]
    later["claims"] = [{**each, "epochs": None} for each in later["claims"]]
    assert compare_plans(plan(experiment=later)).changed == ()

    later["claims"][0]["epochs"] = 90
    assert len(compare_plans(plan(experiment=later)).changed) == 1


def test_an_edited_registration_is_refused():
    edited = plan()
    edited["registered"]["content"]["seeds"] = [0]
    with pytest.raises(ValueError, match="the registration was edited"):
        compare_plans(edited)


def test_a_sweep_of_an_earlier_version_is_not_registered():
    assert compare_plans(plan(registered=None)).plain() is None


# A claim about one network: over images if there is one run, over seeds if there are several


def one_network(*errors: float, images: int | None = 50_000, claimed: float = 0.407) -> Comparison:
    outcomes = [
        Outcome(run=f"seed-{seed}", arm={}, seed=seed, fate="finished", value=value, images=images)
        for seed, value in enumerate(errors)
    ]
    value = claim(direction="value", size=about(claimed, 0.01), images=50_000)
    measure = Measure(kind="final", metric="test/error")
    table2 = Experiment(name="x", factor=(), claims=[value], effect="difference", measure=measure)
    return compare(outcomes, experiment=table2, setting=Setting(data="cifar10", images=images))


@pytest.mark.parametrize(
    ("error", "size", "verdict"),
    [
        (0.407, "compatible", "agrees"),
        (0.4130, "compatible", "agrees"),  # 0.4 points from the end, 1.8 standard errors
        (0.4140, "undecided", "no clear difference"),  # 1.4 standard errors
        (0.4240, "larger", "disagrees"),
        (0.3900, "smaller", "disagrees"),
    ],
)
def test_the_error_of_one_run_is_judged_by_its_images(error: float, size: str, verdict: str):
    result = one_network(error)
    assert (result.claims[0].size.verdict, result.verdict) == (size, verdict)


def test_its_interval_is_the_exact_binomial_one():
    # 15 wrong of 100: 8.65 to 23.53 %, in any table of Clopper and Pearson's
    [effect] = one_network(0.15, images=100).claims[0].effects
    assert effect.ci95 == pytest.approx((0.0865, 0.2353), abs=5e-5)
    assert one_sided_of_images(15, 100, 0.10) == pytest.approx((0.0726, 0.9601), abs=5e-5)
    assert exact_interval(0, 10)[0] == 0.0
    assert exact_interval(10, 10)[1] == 1.0


def test_several_seeds_are_judged_by_their_spread():
    result = one_network(0.400, 0.407, 0.414).claims[0]
    assert result.effects[0].images is None
    assert result.size.verdict == "undecided"  # a deviation of 0.7 points: 1.2 to either side
    assert one_network(0.4060, 0.4070, 0.4080).claims[0].size.verdict == "compatible"


def test_one_run_on_an_unknown_number_of_images_has_no_verdict():
    result = one_network(0.407, images=None).claims[0]
    assert result.size.verdict == "undecided"
    assert result.size.why == "one run, on an unknown number of images"


def test_on_another_number_of_images_it_is_another_data_set():
    [result] = one_network(0.407, images=150_000).claims
    assert result.elsewhere == ("150,000 instead of 50,000 test images",)
