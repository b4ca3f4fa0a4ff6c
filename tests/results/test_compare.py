"""Numbers worked out by hand. t(0.975, 1) = 12.706205, t(0.975, 2) = 4.302653."""

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest

from alexnet.config.experiment import Experiment, Level, Measure, Paper
from alexnet.results import wording
from alexnet.results.compare import Comparison, compare
from alexnet.results.effects import Outcome
from alexnet.results.statistics import t_interval

NONLINEARITY = "model.nonlinearity"


def experiment(**changes: Any) -> Experiment:
    kinds: dict[str, Any] = {
        "name": "relu_vs_tanh",
        "claim": "six times faster",
        "factor": (NONLINEARITY,),
        "measure": Measure(kind="epochs_to_error", metric="train/error", threshold=0.25),
        "effect": "ratio",
        "paper": Paper(value=6.0, note=""),
    }
    return Experiment(**{**kinds, **changes})


def difference(**changes: Any) -> Experiment:
    measure = Measure(kind="final", metric="val/error")
    return experiment(measure=measure, effect="difference", paper=None, **changes)


def outcome(
    arm: dict[str, Level],
    seed: int,
    value: float | None,
    *,
    fate: Any = None,
    censored: bool = False,
) -> Outcome:
    fate = fate or ("finished" if value is not None else "missing")
    return Outcome(run="", arm=arm, seed=seed, fate=fate, value=value, censored=censored)


def arm(level: Level, values: Sequence[float | None], *, censored: Sequence[int] = ()) -> list:
    return [
        outcome({NONLINEARITY: level}, seed, value, censored=seed in censored)
        for seed, value in enumerate(values)
    ]


def relu_tanh(relu: list[Outcome], tanh: list[Outcome], **changes: Any) -> Comparison:
    return compare([*relu, *tanh], experiment=experiment(**changes))


# Arms and effects


def test_an_interval_is_the_t_interval_over_seeds():
    # 1, 2, 3: mean 2, s = 1
    half = 4.302653 / math.sqrt(3)
    assert t_interval([1.0, 2.0, 3.0]) == pytest.approx((2 - half, 2 + half), rel=1e-6)


def test_one_value_has_no_interval():
    assert t_interval([1.0]) is None


def test_a_ratio_is_the_geometric_mean_of_the_ratios_of_equal_seeds():
    # ratios 2, 4, 8: logarithms ln 2 * (1, 2, 3), mean ln 4, s = ln 2
    result = relu_tanh(arm("relu", [1.0, 2.0, 3.0]), arm("tanh", [2.0, 8.0, 24.0]))
    [effect] = result.effects
    half = 4.302653 * math.log(2) / math.sqrt(3)
    assert effect.mean == pytest.approx(4)
    assert effect.ci95 == pytest.approx((4 * math.exp(-half), 4 * math.exp(half)), rel=1e-6)
    assert effect.values == pytest.approx((2, 4, 8))
    assert (effect.of, effect.n, effect.bound) == ("nonlinearity: tanh vs relu", 3, None)


def test_a_difference_is_other_minus_baseline():
    outcomes = [*arm("lrn", [0.10, 0.12]), *arm("none", [0.13, 0.13])]
    [effect] = compare(outcomes, experiment=difference()).effects
    # differences 0.03 and 0.01: mean 0.02, s = 0.02 / sqrt(2), half = 12.706205 * 0.01
    assert effect.mean == pytest.approx(0.02)
    assert effect.ci95 == pytest.approx((0.02 - 0.12706205, 0.02 + 0.12706205), rel=1e-6)


def test_one_seed_has_an_effect_without_an_interval_and_no_verdict():
    result = relu_tanh(arm("relu", [5.0]), arm("tanh", [30.0]))
    assert result.effects[0].mean == pytest.approx(6)
    assert result.effects[0].ci95 is None
    assert result.verdict == "too few finished runs"
    assert result.contains_paper_value is None


def test_only_seeds_that_finished_in_both_arms_are_paired():
    result = relu_tanh(arm("relu", [1.0, 2.0, None]), arm("tanh", [None, 8.0, 9.0]))
    [effect] = result.effects
    assert (effect.seeds, effect.left_out) == ((1,), (0, 2))
    assert effect.mean == pytest.approx(4)
    assert [each.n for each in result.arms] == [2, 2]
    assert result.verdict == "too few finished runs"


def test_a_missing_arm_leaves_an_effect_without_a_number():
    result = relu_tanh(arm("relu", [1.0, 2.0]), arm("tanh", [None, None]))
    assert (result.effects[0].n, result.effects[0].mean) == (0, None)
    assert result.arms[1].count("missing") == 2
    assert result.verdict == "too few finished runs"


def test_failed_and_diverged_runs_are_counted_apart():
    lost = [
        outcome({NONLINEARITY: "tanh"}, seed, None, fate=fate)
        for seed, fate in enumerate(["failed", "diverged", "diverged", "unfinished"])
    ]
    tanh = relu_tanh(arm("relu", [1.0]), lost).arms[1]
    assert (tanh.count("failed"), tanh.count("diverged"), tanh.count("unfinished")) == (1, 2, 1)
    assert (tanh.n, tanh.mean, tanh.censored) == (0, None, 0)


def test_a_ratio_with_a_zero_has_no_mean():
    [effect] = relu_tanh(arm("relu", [0.0, 1.0]), arm("tanh", [1.0, 1.0])).effects
    assert (effect.mean, effect.ci95, effect.values) == (None, None, (None, pytest.approx(1)))


# Censoring


def test_an_arm_with_a_censored_run_has_a_limit_and_no_mean():
    tanh = relu_tanh(arm("relu", [5.0, 5.0]), arm("tanh", [20.0, 40.0], censored=[1])).arms[1]
    assert (tanh.n, tanh.censored, tanh.values) == (2, 1, (20.0, None))
    assert (tanh.mean, tanh.ci95, tanh.limit) == (None, None, 40.0)


def test_censored_on_the_other_side_the_ratio_is_a_lower_bound():
    result = relu_tanh(arm("relu", [5.0, 5.05]), arm("tanh", [40.0, 40.0], censored=[0, 1]))
    [effect] = result.effects
    assert effect.bound == "lower"
    # ln 8 and ln 7.9208: mean 2.074466, half = 12.706205 * 0.00995033 / 2
    assert effect.mean == pytest.approx(math.exp(2.074466), rel=1e-5)
    assert effect.ci95 == (pytest.approx(math.exp(2.074466 - 0.063215), rel=1e-5), None)
    assert result.verdict == "agrees"
    assert result.contains_paper_value is False  # the ratio is above 8, the paper's is 6


def test_censored_in_the_baseline_the_ratio_is_an_upper_bound():
    result = relu_tanh(arm("relu", [40.0, 40.0], censored=[0]), arm("tanh", [10.0, 10.1]))
    [effect] = result.effects
    assert effect.bound == "upper"
    # ln 0.25 and ln 0.2525: mean -1.381319, half = 12.706205 * 0.00995033 / 2
    assert effect.ci95 == (None, pytest.approx(math.exp(-1.381319 + 0.063215), rel=1e-5))
    assert result.verdict == "disagrees"


def test_censored_on_both_sides_there_is_no_estimate():
    result = relu_tanh(
        arm("relu", [40.0, 5.0], censored=[0]), arm("tanh", [40.0, 40.0], censored=[1])
    )
    [effect] = result.effects
    assert (effect.bound, effect.mean, effect.ci95) == ("neither", None, None)
    assert result.verdict == "no clear difference"


def test_a_censored_run_without_a_partner_bounds_nothing():
    [effect] = relu_tanh(
        arm("relu", [5.0, 5.0, None]), arm("tanh", [10.0, 10.0, 40.0], censored=[2])
    ).effects
    assert (effect.bound, effect.n) == (None, 2)


# Grids


def grid(
    cells: dict[tuple[str, ...], Sequence[float | None]], keys: Sequence[str]
) -> list[Outcome]:
    return [
        outcome(dict(zip(keys, cell, strict=True)), seed, value)
        for cell, values in cells.items()
        for seed, value in enumerate(values)
    ]


def test_main_effects_and_the_interaction_of_two_factors():
    cells = {
        ("lrn", "overlapping"): [0.10, 0.11],
        ("lrn", "non_overlapping"): [0.12, 0.14],
        ("none", "overlapping"): [0.15, 0.15],
        ("none", "non_overlapping"): [0.20, 0.22],
    }
    keys = ("normalization", "pooling")
    result = compare(grid(cells, keys), experiment=difference(factor=keys))
    normalization, pooling, both = result.effects
    # seed 0: (.15 + .20) / 2 - (.10 + .12) / 2 = .065, seed 1: .185 - .125 = .060
    assert normalization.values == pytest.approx((0.065, 0.060))
    # seed 0: .16 - .125 = .035, seed 1: .18 - .13 = .050
    assert pooling.values == pytest.approx((0.035, 0.050))
    # seed 0: (.20 - .15) - (.12 - .10) = .03, seed 1: (.22 - .15) - (.14 - .11) = .04
    assert both.values == pytest.approx((0.03, 0.04))
    assert both.mean == pytest.approx(0.035)
    # s = .01 / sqrt(2), half = 12.706205 * .005
    assert both.ci95 == pytest.approx((0.035 - 0.063531, 0.035 + 0.063531), abs=1e-6)
    assert both.of == "normalization none x pooling non_overlapping"


def test_a_three_way_interaction_is_how_much_a_two_way_one_changes():
    keys = ("a", "b", "c")
    # The sum of all main effects, plus 1 in a single cell: all interactions there are 1 or 1/2.
    cells = {
        cell: [2.0 * (cell[0] == "1") + (cell == ("1", "1", "1"))]
        for cell in product("01", repeat=3)
    }
    effects = compare(grid(cells, keys), experiment=difference(factor=keys)).effects
    assert [effect.values[0] for effect in effects] == pytest.approx(
        [2.25, 0.25, 0.25, 0.5, 0.5, 0.5, 1.0]
    )


def test_factors_that_multiply_have_a_ratio_interaction_of_one():
    keys = ("a", "b")
    cells = {("0", "0"): [2.0], ("0", "1"): [6.0], ("1", "0"): [10.0], ("1", "1"): [30.0]}
    effects = compare(grid(cells, keys), experiment=experiment(factor=keys)).effects
    assert [effect.mean for effect in effects] == pytest.approx([5, 3, 1])


def test_a_grid_uses_only_seeds_complete_in_all_cells():
    keys = ("a", "b")
    cells: dict[tuple[str, ...], Sequence[float | None]] = {
        ("0", "0"): [1, 1, 1],
        ("0", "1"): [1, 1, 1],
        ("1", "0"): [2, None, 2],
        ("1", "1"): [2, 2, 2],
    }
    for effect in compare(grid(cells, keys), experiment=difference(factor=keys)).effects:
        assert (effect.seeds, effect.left_out) == ((0, 2), (1,))


def test_each_of_several_levels_is_compared_with_the_first():
    outcomes = [*arm("relu", [1, 1]), *arm("tanh", [2, 2]), *arm("sigmoid", [4, 4])]
    effects = compare(outcomes, experiment=experiment()).effects
    assert [(effect.of, effect.mean) for effect in effects] == [
        ("nonlinearity: tanh vs relu", pytest.approx(2)),
        ("nonlinearity: sigmoid vs relu", pytest.approx(4)),
    ]


def test_the_verdict_is_about_the_factors_of_the_experiment_alone():
    keys = (NONLINEARITY, "extra")
    cells = {
        ("relu", "a"): [1.0, 1.1],
        ("relu", "b"): [1.0, 1.1],
        ("tanh", "a"): [6.0, 6.7],
        ("tanh", "b"): [6.0, 6.7],
    }
    result = compare(grid(cells, keys), experiment=experiment())
    assert len(result.effects) == 3
    assert result.verdict == "agrees"
    assert result.contains_paper_value is True


# Search


def searched(values: dict[tuple[str, float], list[tuple[float | None, bool]]]) -> Comparison:
    outcomes = [
        outcome({NONLINEARITY: level, "learning.lr": lr}, seed, value, censored=censored)
        for (level, lr), runs in values.items()
        for seed, (value, censored) in enumerate(runs)
    ]
    return compare(outcomes, experiment=experiment(search="learning.lr"))


def test_arms_are_compared_at_the_best_level_of_the_searched_key():
    result = searched(
        {
            ("relu", 0.001): [(9, False), (9, False)],
            ("relu", 0.01): [(5, False), (5, False)],
            ("relu", 0.1): [(7, False), (7, False)],
            ("tanh", 0.001): [(30, False), (30, False)],
            ("tanh", 0.01): [(35, False), (35, False)],
            ("tanh", 0.1): [(None, False), (None, False)],
        }
    )
    assert [(best.level, best.at_edge) for best in result.best] == [(0.01, False), (0.001, True)]
    [effect] = result.effects
    assert effect.mean == pytest.approx(6)
    assert [dict(each.levels) for each in result.arms] == [
        {NONLINEARITY: "relu"},
        {NONLINEARITY: "tanh"},
    ]
    assert len(result.searched) == 6


def test_a_level_with_a_censored_run_is_not_the_best_unless_all_have_one():
    result = searched(
        {
            ("relu", 0.01): [(1, False), (10, True)],  # restricted mean 5.5, and yet not eligible
            ("relu", 0.1): [(9, False), (9, False)],
            ("tanh", 0.01): [(10, True), (10, True)],
            ("tanh", 0.1): [(8, False), (10, True)],
        }
    )
    assert [best.level for best in result.best] == [0.1, 0.1]
    assert result.effects[0].bound == "lower"


def test_a_level_at_which_seeds_were_lost_is_not_the_best():
    result = searched(
        {
            ("relu", 0.1): [(1, False), (None, False)],
            ("relu", 0.01): [(5, False), (5, False)],
            ("tanh", 0.1): [(None, False), (None, False)],
        }
    )
    assert [best.level for best in result.best] == [0.01]
    assert result.arms[1].count("missing") == 2


# Verdicts


@pytest.mark.parametrize(
    ("tanh", "verdict"),
    [
        ([30.0, 31.0, 29.0], "agrees"),
        ([1.0, 1.1, 0.9], "disagrees"),
        ([2.0, 5.0, 12.0], "no clear difference"),
        ([30.0, 31.0, None], "agrees"),
        ([30.0, None, None], "too few finished runs"),
    ],
)
def test_the_verdict_on_each_side(tanh: list[float | None], verdict: str):
    assert relu_tanh(arm("relu", [5.0, 5.0, 5.0]), arm("tanh", tanh)).verdict == verdict


@pytest.mark.parametrize(
    ("other", "verdict"),
    [
        ({"normalization": 0.02, "pooling": 0.01}, "agrees"),
        ({"normalization": 0.02, "pooling": -0.01}, "disagrees"),
        ({"normalization": 0.02, "pooling": 0.0}, "no clear difference"),
    ],
)
def test_a_grid_agrees_only_if_all_main_effects_do(other: dict[str, float], verdict: str):
    keys = ("normalization", "pooling")
    noise = (0.001, -0.001)
    cells = {
        (a, b): [
            0.1
            + (a == "1") * (other["normalization"] + noise[seed] / 10)
            + (b == "1") * (other["pooling"] + noise[seed] / 10)
            for seed in range(2)
        ]
        for a, b in product("01", repeat=2)
    }
    assert compare(grid(cells, keys), experiment=difference(factor=keys)).verdict == verdict


def test_the_papers_value_is_looked_for_in_the_interval():
    inside = relu_tanh(arm("relu", [5.0, 5.0]), arm("tanh", [29.0, 31.0]))
    outside = relu_tanh(arm("relu", [5.0, 5.0]), arm("tanh", [10.0, 10.1]))
    assert (inside.contains_paper_value, outside.contains_paper_value) == (True, False)
    unknown = relu_tanh(arm("relu", [5.0, 5.0]), arm("tanh", [29.0, 31.0]), paper=None)
    assert unknown.contains_paper_value is None


def test_without_a_claim_there_is_no_verdict():
    result = relu_tanh(arm("relu", [5.0, 5.0]), arm("tanh", [30.0, 30.0]), claim=None, paper=None)
    assert result.verdict is None


def test_a_single_run_has_arms_only():
    result = compare([outcome({}, 0, 0.2)], experiment=difference(factor=()))
    assert [each.mean for each in result.arms] == [0.2]
    assert (result.effects, result.verdict) == ((), None)


def test_seeds_of_one_level_are_enough_for_an_interval_and_nothing_to_judge():
    result = compare(arm("relu", [5.0, 6.0, 7.0]), experiment=experiment())
    assert result.arms[0].ci95 is not None
    assert (result.effects, result.verdict) == ((), None)


def test_the_papers_number_belongs_to_the_first_comparison_of_one_factor():
    outcomes = [*arm("relu", [1, 1]), *arm("tanh", [6, 6]), *arm("sigmoid", [9, 9])]
    result = compare(outcomes, experiment=experiment())
    assert result.papers_effect is result.effects[0]
    keys = ("a", "b")
    cells = {cell: [1.0, 1.0] for cell in product("01", repeat=2)}
    assert compare(grid(cells, keys), experiment=experiment(factor=keys)).papers_effect is None


def test_only_the_levels_of_the_claim_decide_the_verdict_and_meet_the_paper():
    # The first other level does not differ at all; the claim is about the second.
    outcomes = [
        outcome({NONLINEARITY: level}, seed, value)
        for level, values in (
            ("relu", (0.30, 0.31, 0.32)), ("same", (0.30, 0.31, 0.32)), ("tanh", (0.40, 0.42, 0.42))
        )
        for seed, value in enumerate(values)
    ]  # fmt: skip
    claim = difference(claimed_levels=("tanh",))

    compared = compare(outcomes, experiment=claim)

    assert compared.verdict == "agrees"
    assert [effect.other for effect in compared.claimed] == ["tanh"]
    assert [effect.other for effect in compared.effects] == ["same", "tanh"]


# What a reviewer would object to


def levels(key: str, values: dict[Level, Sequence[float]]) -> list[Outcome]:
    return [
        outcome({key: level}, seed, value)
        for level, by_seed in values.items()
        for seed, value in enumerate(by_seed)
    ]


@pytest.mark.parametrize("typed", [(0, 0.5), (0.0, 0.5), (0.5, 0), ("0.0", "5e-1")])
@pytest.mark.parametrize("named", [0.5, "0.5"])
def test_the_baseline_is_the_named_value_however_and_in_whatever_order_it_was_typed(
    typed: tuple[Level, Level], named: Level
):
    outcomes = [
        outcome({"model.dropout": level}, seed, 0.3 + 0.1 * (float(level) == 0) + seed * seed / 1e3)
        for level in typed
        for seed in range(3)
    ]
    about = difference(factor=("model.dropout",), baseline={"model.dropout": named})
    [effect] = compare(outcomes, experiment=about).effects
    assert float(effect.level) == 0
    assert effect.mean == pytest.approx(0.1)


def test_without_its_baseline_a_sweep_has_no_verdict():
    outcomes = levels("arm", {"without_conv3": [0.4, 0.41], "without_conv4": [0.45, 0.47]})
    result = compare(outcomes, experiment=difference(factor=("arm",), baseline="whole"))
    assert (result.effects, result.verdict) == ((), None)
    assert "arm=whole, is not among the levels without_conv3, without_conv4" in result.problem


def test_a_baseline_that_diverges_cannot_agree():
    diverged = outcome({NONLINEARITY: "relu"}, 2, None, fate="diverged")
    result = compare(
        [*arm("lrn", []), *arm("relu", [0.10, 0.11]), diverged, *arm("tanh", [0.2, 0.22, 0.21])],
        experiment=difference(),
    )
    [effect] = result.effects
    assert effect.is_conditional
    assert result.verdict == "no clear difference"
    assert "diverged" in result.claims[0].direction.why


@pytest.mark.parametrize("other", [[0.2, 0.2], [0.2, 0.2, 0.2]])
def test_without_spread_there_is_no_interval_and_no_verdict(other: list[float]):
    result = compare(
        [*arm("relu", [0.1] * len(other)), *arm("tanh", other)], experiment=difference()
    )
    assert result.effects[0].ci95 is None
    assert result.arms[0].ci95 is None
    assert result.verdict == "no clear difference"
    assert "spread" in result.claims[0].direction.why


def test_intervals_of_errors_stay_between_0_and_1():
    result = compare([*arm("a", [0.01, 0.2]), *arm("b", [0.95, 0.99])], experiment=difference())
    assert result.arms[0].ci95[0] == 0.0
    assert result.arms[1].ci95[1] == 1.0
    assert result.effects[0].ci95[1] == 1.0


def test_a_value_that_is_no_number_is_not_explained_as_a_zero():
    other = arm("tanh", [0.2, math.nan])
    result = compare([*arm("relu", [0.1, 0.1]), *other], experiment=difference())
    assert result.claims[0].direction.why == "a value is not a number"
    assert "a value is not a number" in wording.answer(result, difference())
    zero = relu_tanh(arm("relu", [0.0, 1.0]), arm("tanh", [2.0, 2.0]))
    assert zero.claims[0].direction.why == "a value is zero, so that there is no ratio"


def test_a_ratio_of_1_1_is_on_the_side_of_six_times_and_smaller():
    result = relu_tanh(arm("relu", [5.0, 5.0, 5.0]), arm("tanh", [5.45, 5.5, 5.55]))
    [claim] = result.claims
    assert (claim.direction.verdict, claim.size.verdict) == ("agrees", "smaller")
    assert result.contains_paper_value is False


def test_an_interval_with_an_open_end_contains_no_value():
    result = relu_tanh(arm("relu", [9.0, 9.1]), arm("tanh", [40.0, 40.0], censored=[0, 1]))
    assert result.effects[0].ci95[1] is None
    assert result.contains_paper_value is None


def test_a_search_that_ends_on_an_edge_or_reaches_nothing_has_no_verdict():
    on_edge = searched(
        {
            ("relu", 0.01): [(1, False), (1.1, False)],
            ("relu", 0.1): [(9, False), (9.1, False)],
            ("tanh", 0.01): [(30, False), (31, False)],
            ("tanh", 0.1): [(40, False), (41, False)],
        }
    )
    assert on_edge.verdict is None
    assert on_edge.problem.startswith("search unfinished: the best of relu, learning.lr=0.01")


def test_censored_rates_are_ranked_by_the_error_that_they_came_to():
    outcomes = [
        Outcome(
            run="", arm={NONLINEARITY: level, "learning.lr": lr}, seed=0, fate="finished", value=20,
            censored=True, error_reached=error,
        )
        for level in ("relu", "tanh")
        for lr, error in ((0.001, 0.6), (0.01, 0.4), (0.1, 0.5))
    ]  # fmt: skip
    result = compare(outcomes, experiment=experiment(search="learning.lr"))
    assert [best.level for best in result.best] == [0.01, 0.01]
    assert "no run of tanh reached the threshold" in result.problem


def test_a_rate_at_which_most_seeds_diverge_is_not_the_best():
    lost = [
        outcome(
            {NONLINEARITY: "relu", "learning.lr": 0.1}, seed, 20, fate="diverged", censored=True
        )
        for seed in (1, 2)
    ]
    outcomes = [
        outcome({NONLINEARITY: "relu", "learning.lr": 0.1}, 0, 1.0),
        *lost,
        *(
            outcome({NONLINEARITY: "relu", "learning.lr": 0.01}, seed, 9.0, censored=seed == 2)
            for seed in range(3)
        ),
    ]
    [best] = compare(outcomes, experiment=experiment(search="learning.lr")).best
    assert best.level == 0.01
