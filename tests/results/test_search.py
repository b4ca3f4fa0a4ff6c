"""Searches over hand-made outcomes and sweeps."""

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import yaml

from alexnet.config.experiment import Experiment
from alexnet.config.schema import Config
from alexnet.config.searches import Search, Winner, searches_used
from alexnet.results import write_report
from alexnet.results.compare import Comparison, compare
from alexnet.results.effects import Outcome
from tests.conftest import plan
from tests.results.handmade import LRN_ON_OFF, RELU_VS_TANH, Run, falling, write_sweep

NONLINEARITY, LR, DECAY = "model.nonlinearity", "learning.lr", "learning.weight_decay"


def run(
    arm: str, lr: float, value: float | None, *, censored: bool = False, **others: Any
) -> Outcome:
    about = {"fate": "finished", "seed": 0, **others}
    levels = {NONLINEARITY: arm, LR: lr}
    return Outcome(run="", arm=levels, value=value, censored=censored, **about)


def searched(outcomes: Sequence[Outcome], **settings: Any) -> Comparison:
    experiment = Experiment.model_validate({**RELU_VS_TANH, "search": LR, "baseline": "relu"})
    return compare(outcomes, experiment=experiment, **settings)


def both(*runs: Outcome) -> list[Outcome]:
    """The same runs for relu and tanh."""
    arms = ("relu", "tanh")
    return [
        Outcome(**{**vars(each), "arm": {**each.arm, NONLINEARITY: arm}})
        for arm in arms
        for each in runs
    ]


def test_among_censored_trials_the_error_decides_and_not_when_they_were_stopped():
    # Early stopping ended the worse one sooner: its limit is smaller.
    result = searched(
        both(
            run("", 0.001, 5.0, censored=True, error_reached=0.6),
            run("", 0.01, 20.0, censored=True, error_reached=0.3),
            run("", 0.1, 5.0, censored=True, error_reached=0.5),
        )
    )
    assert [best.level for best in result.best] == [0.01, 0.01]
    assert result.problem is not None
    assert "no run of relu reached the threshold" in result.problem


def test_a_search_with_runs_left_is_unfinished():
    whole = both(run("", 0.001, 9.0), run("", 0.01, 5.0), run("", 0.1, 8.0))
    assert searched(whole).problem is None
    left = [*whole[:-1], run("tanh", 0.1, None, fate="missing")]
    assert searched(left).problem == "search unfinished: 1 of 6 runs have not finished"


def test_a_run_that_is_already_later_than_the_best_need_not_finish():
    def with_one_left(*trial: Outcome) -> str | None:
        rest = both(run("", 0.001, 9.0), run("", 0.01, 5.0))
        return searched([*rest, run("relu", 0.1, 8.0), *trial]).problem

    def left(not_by: float | None, **about: Any) -> Outcome:
        return run("tanh", 0.1, None, fate="unfinished", not_by=not_by, **about)

    assert with_one_left(left(5.0)) is None
    for early in (4.9, None):
        unfinished = with_one_left(left(early))
        assert unfinished == "search unfinished: 1 of 6 runs have not finished"
    # Over two seeds their mean decides: 3 and more than 7 are later than 5, 3 and 6 are not.
    assert with_one_left(run("tanh", 0.1, 3.0, seed=1), left(7.0)) is None
    assert with_one_left(run("tanh", 0.1, 3.0, seed=1), left(6.0)) is not None
    # A seed that was not started could be as early as one likes, but 11 and 0 are later than 5.
    missing = run("tanh", 0.1, None, fate="missing", seed=1)
    assert with_one_left(left(11.0), missing) is None
    assert with_one_left(left(9.0), missing) is not None
    # A seed that diverged has lost the trial, whenever the others reach the threshold.
    diverged = run("tanh", 0.1, 20.0, seed=1, censored=True, fate="diverged")
    assert with_one_left(diverged, left(1.0)) is None


def test_a_beaten_trial_makes_the_best_of_fewer_trials_a_bound():
    # If the beaten one reaches the threshold at 4.1, it is the best of two of the three pairs.
    beaten = run("", 0.1, None, fate="unfinished", not_by=4.1)
    [budget, _] = searched(both(run("", 0.001, 9.0), run("", 0.01, 4.0), beaten)).budgets
    assert budget.expected == pytest.approx(((9 + 4 + 4.1) / 3, (4 + 4 + 4.1) / 3, 4))
    assert budget.is_bound == (True, True, False)


def test_a_beaten_trial_that_has_crossed_is_known():
    crossed = run("", 0.1, None, fate="unfinished", not_by=5.0, has_crossed=True)
    [budget, _] = searched(both(run("", 0.001, 9.0), run("", 0.01, 4.0), crossed)).budgets
    assert budget.expected == pytest.approx((6, (4 + 4 + 5) / 3, 4))
    assert budget.is_bound == (False, False, False)


def test_a_search_by_an_error_waits_for_every_run():
    # The mean of 0.9 and of 0, if a missing error were as good as possible, is worse than 0.2.
    errors = {(0.01, 0): 0.2, (0.01, 1): 0.2, (0.1, 0): 0.9, (0.1, 1): None, (1.0, 0): 0.8}
    errors[1.0, 1] = 0.8
    outcomes = [
        Outcome(
            run="", arm={LR: rate}, seed=seed, value=error,
            fate="missing" if error is None else "finished",
        )
        for (rate, seed), error in errors.items()
    ]  # fmt: skip
    about = {**LRN_ON_OFF, "factor": [], "search": LR, "claim": None, "paper": None}
    problem = compare(outcomes, experiment=Experiment.model_validate(about)).problem
    assert problem is not None
    assert "1 of 6 runs have not finished" in problem


def test_the_best_itself_has_to_finish():
    best = run("tanh", 0.01, None, seed=1, fate="unfinished", not_by=30.0)
    whole = both(run("", 0.001, 9.0), run("", 0.01, 5.0), run("", 0.1, 8.0))
    assert searched([*whole, best]).problem is not None


def test_a_diverged_trial_is_a_result_on_the_edge():
    diverged = run("", 0.1, 20.0, censored=True, fate="diverged")
    assert searched(both(run("", 0.001, 9.0), run("", 0.01, 5.0), diverged)).problem is None


def in_a_plane(best: tuple[float, float], trials: Sequence[tuple[float, float]]) -> Comparison:
    outcomes = [
        Outcome(
            run="", arm={LR: lr, DECAY: decay}, seed=0, fate="finished",
            value=1.0 if (lr, decay) == best else 2.0,
        )
        for lr, decay in trials
    ]  # fmt: skip
    about = {**RELU_VS_TANH, "factor": [], "search": [LR, DECAY], "claim": None, "paper": None}
    box = [{LR: (1e-4, 1.0), DECAY: (1e-4, 1.0)}]
    return compare(outcomes, experiment=Experiment.model_validate(about), intervals=box)


def test_the_best_of_two_keys_is_one_trial_and_each_key_has_its_edge():
    # Sixteen trials: half the spacing of a grid of 4 x 4 is an eighth of each side, half a decade.
    trials = [(10**-a, 10**-b) for a in (0.1, 1.4, 2.6, 3.9) for b in (0.1, 1.4, 2.6, 3.9)]
    inside = in_a_plane(trials[5], trials)
    assert inside.problem is None
    assert inside.best[0].levels == {LR: trials[5][0], DECAY: trials[5][1]}

    outermost = in_a_plane(trials[4], trials)
    assert outermost.best[0].on_edge == (DECAY,)
    assert f"{DECAY}={trials[4][1]}, is on the edge" in str(outermost.problem)


def test_a_trial_next_to_the_end_of_its_interval_is_on_the_edge_although_one_lies_beyond():
    trials = [(10**-a, 10**-b) for a in (0.1, 0.3, 2.6, 3.9) for b in (0.1, 1.4, 2.6, 3.9)]
    assert in_a_plane(trials[5], trials).best[0].on_edge == (LR,)


def test_the_expected_best_of_k_trials_is_its_mean_over_all_subsets():
    relu, tanh = [3.0, 9.0, 4.0, 6.0, 5.0], [20.0, 35.0, 18.0, 30.0, 19.0]
    rates = (0.001, 0.01, 0.02, 0.04, 0.1)
    result = searched(
        [
            run(arm, lr, value)
            for arm, values in (("relu", relu), ("tanh", tanh))
            for lr, value in zip(rates, values, strict=True)
        ]
    )
    [effect] = result.budget_effects

    assert effect.of == "tanh vs relu"
    for k in range(1, 6):
        means = [fmean(map(min, itertools.combinations(v, k))) for v in (relu, tanh)]
        assert [each.expected[k - 1] for each in result.budgets] == pytest.approx(means)
        assert effect.values[k - 1] == pytest.approx(means[1] / means[0])
    assert set(effect.bounds) == {None}


def test_censored_trials_make_bounds_as_long_as_one_of_them_could_be_the_best():
    tanh = [run("tanh", 0.001, 40.0, censored=True), run("tanh", 0.01, 20.0),
            run("tanh", 0.1, 40.0, censored=True)]  # fmt: skip
    relu = [run("relu", 0.001, 9.0), run("relu", 0.01, 5.0), run("relu", 0.1, 8.0)]
    result = searched([*relu, *tanh])

    assert [each.is_bound for each in result.budgets] == [(False,) * 3, (True, True, False)]
    assert result.budget_effects[0].bounds == ("lower", "lower", None)
    assert result.budget_effects[0].values[2] == 4.0


# Reports


@pytest.fixture(autouse=True)
def unsaved_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw figures without saving them, which would take seconds."""
    monkeypatch.setattr("alexnet.plotting.save", lambda figures, folder: None)


def sweep_of_a_search(folder: Path, crossings: Mapping[str, Sequence[float]]) -> None:
    runs = [
        Run(
            arm={NONLINEARITY: arm, LR: lr}, seed=seed, progress=falling(crossing + seed / 10),
            config={"model.init": "source_2012", "model.normalization": "none"},
        )
        for arm, values in crossings.items()
        for lr, crossing in zip((0.001, 0.004, 0.016), values, strict=True)
        for seed in range(2)
    ]  # fmt: skip
    write_sweep(folder, {**RELU_VS_TANH, "name": "relu_vs_tanh_lr", "search": LR}, runs)


@pytest.fixture
def search_folder(tmp_path: Path) -> Path:
    return tmp_path / "relu_vs_tanh_lr" / "cifar10-0123abcd"


def test_a_report_shows_the_effect_by_the_number_of_trials(search_folder: Path):
    sweep_of_a_search(search_folder, {"relu": (4, 2, 3), "tanh": (9, 8, 30)})
    report = write_report(search_folder).folder

    content = json.loads((report / "verdict.json").read_text())["tuning_budget"]
    assert [len(arm["expected"]) for arm in content["arms"]] == [3, 3]
    assert content["effects"][0]["values"][2] == pytest.approx(8.05 / 2.05)
    readme = (report / "README.md").read_text()
    assert "| 3 | 2.0 | 8.1 | 3.93 |" in readme
    assert "| 1 | 3.0 | at least 9.0 | at least 2.96 |" in readme
    assert "*at least*" in readme
    assert "](tuning_budget.svg)" in readme


def test_marks_that_no_trial_has_are_not_explained(search_folder: Path):
    sweep_of_a_search(search_folder, {"relu": (4, 2, 3), "tanh": (9, 8, 9)})

    assert "*at least*" not in (write_report(search_folder).folder / "README.md").read_text()


def test_what_a_search_has_found_is_read_by_an_experiment_of_that_network_alone(
    search_folder: Path, tmp_path: Path
):
    sweep_of_a_search(search_folder, {"relu": (4, 2, 3), "tanh": (9, 8, 30)})
    report = write_report(search_folder).folder
    [(name, content)] = yaml.safe_load((report / "search.yaml").read_text()).items()
    search = Search.model_validate(content)

    assert name == "relu_vs_tanh_lr-cifar10-0123abcd"
    assert (search.unfinished, search.seeds, search.n_trials) == (None, (0, 1), 3)
    assert search.space == {LR: [0.001, 0.004, 0.016]}
    assert [dict(each.levels) for each in search.winners] == [{LR: 0.004}, {LR: 0.004}]
    here = {"model._target_": "alexnet.model.CifarNet", "model.init": "source_2012",
            "model.normalization": "none", NONLINEARITY: "tanh", LR: 0.004}  # fmt: skip
    assert isinstance(search.winner(here.get), Winner)
    assert search.winner({**here, "model.init": "he"}.get) == (
        "was made with model.init=source_2012, not he"
    )
    assert list(searches_used({name: search}, here)) == [name]
    assert searches_used({name: search}, {**here, LR: 0.1}) == {}


def test_a_run_that_was_stopped_as_beaten_is_named_in_the_file_of_a_finished_search(
    search_folder: Path,
):
    runs = [
        Run(arm={NONLINEARITY: arm, LR: lr}, progress=falling(crossing), state=state)
        for arm in ("relu", "tanh")
        for lr, crossing, state in (
            (0.001, 6, "finished"), (0.004, 4, "finished"), (0.016, 30, "stopped")
        )
    ]  # fmt: skip
    experiment = {**RELU_VS_TANH, "name": "relu_vs_tanh_lr", "search": LR}
    write_sweep(search_folder, experiment, runs)
    [content] = yaml.safe_load(
        (write_report(search_folder).folder / "search.yaml").read_text()
    ).values()

    assert content["unfinished"] is None
    assert content["notes"].endswith(
        "with the epoch before which they could not reach the threshold: "
        "nonlinearity-relu_lr-0.016_seed-0 (9.5), nonlinearity-tanh_lr-0.016_seed-0 (9.5)"
    )
    found = [(each.get("mean"), each.get("is_bound", False)) for each in content["trials"][:3]]
    assert found == [(6, False), (4, False), (9.5, True)]


def test_an_unfinished_search_says_so_in_its_file(search_folder: Path):
    sweep_of_a_search(search_folder, {"relu": (2, 3, 4), "tanh": (9, 8, 30)})
    text = (write_report(search_folder).folder / "search.yaml").read_text()
    [content] = yaml.safe_load(text).values()

    assert content["unfinished"] == (
        "the best of relu, learning.lr=0.001, is on the edge of what was searched"
    )
    assert content["winners"][0]["on_edge"] == [LR]


@pytest.mark.parametrize(("data", "is_judged"), [("cifar10", False), ("mnist5k", True)])
def test_runs_with_values_of_an_unfinished_search_get_no_verdict_on_its_data(
    sweep_folder: Path, data: str, is_judged: bool
):
    folder = sweep_folder.parent / f"{data}-0123abcd"
    values = {"lrn": [0.10, 0.11], "none": [0.15, 0.16]}
    runs = [
        Run(arm={"model.normalization": level}, seed=seed, metrics={"val/error": error})
        for level, errors in values.items()
        for seed, error in enumerate(errors)
    ]
    write_sweep(folder, LRN_ON_OFF, runs)
    note = {"sha256": "ab" * 32, "data": "cifar10", "seeds": [0], "unfinished": "one seed"}
    for each in runs:
        file = folder / each.name / "provenance.json"
        content = json.loads(file.read_text())
        file.write_text(json.dumps({**content, "searches": {"lr_of_lrn": note}}))

    report = write_report(folder)
    readme = (report.folder / "README.md").read_text()
    assert (report.comparison.problem is None) == is_judged
    assert "search: lr_of_lrn (sha256 abababababab), made on cifar10" in readme
    assert ("No verdict: search unfinished: the values of lr_of_lrn (one seed)." in readme) != (
        is_judged
    )


def test_a_search_of_one_key_is_stored_as_it_always_was():
    def stored(tune: str) -> Any:
        command = ("+experiment=lrn_on_off", tune, "trials=1", "model.normalization=lrn")
        config: Config = plan(*command)[0].config
        return config.experiment.plain().get("search")

    assert stored("+tune=lr") == LR
    assert stored("+tune=lr_and_decay") == [LR, DECAY]


@pytest.mark.parametrize("tune", ["+tune=lr", "+tune=lr_and_decay"])
def test_a_search_does_not_name_the_search_that_its_experiment_reads(tune: str):
    winners = "learning.lr=0.004,0.008"  # what the shipped search found

    runs = plan("+experiment=relu_vs_tanh", tune, winners)

    assert runs
    assert not any(run.config.searches for run in runs)
