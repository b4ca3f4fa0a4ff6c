"""A sweep folder in any state, read as tables."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from alexnet.results import load_sweep

from .handmade import LRN_ON_OFF, RELU_VS_TANH, Run, relu_and_tanh, write_json, write_sweep

TANH = {"model.nonlinearity": "tanh"}


def test_every_planned_run_has_a_row_in_the_order_of_the_plan(sweep_folder: Path):
    runs = relu_and_tanh({0: 2.0, 1: 2.0}, {0: 8.0})
    runs[0].metrics = {"test/error": 0.3}
    runs.append(Run(arm=TANH, seed=1, state=None))
    table = load_sweep(write_sweep(sweep_folder, RELU_VS_TANH, runs)).runs
    assert list(table["run"]) == [run.name for run in runs]
    assert list(table["model.nonlinearity"]) == ["relu", "relu", "tanh", "tanh"]
    assert list(table["seed"]) == [0, 1, 0, 1]
    assert list(table["state"]) == ["finished", "finished", "finished", "missing"]
    assert table["test/error"][0] == 0.3
    assert table["epochs"][0] == 10


def test_the_table_of_runs_has_what_the_experiment_measures(sweep_folder: Path):
    runs = relu_and_tanh({0: 2.0}, {0: 8.0})
    runs += [
        Run(arm=TANH, seed=1, progress=[(0.5, 0.9), (10.0, 0.8)]),
        Run(arm=TANH, seed=2, state=None),
    ]
    sweep = load_sweep(write_sweep(sweep_folder, RELU_VS_TANH, runs))

    assert sweep.runs["measure"][:3].round(6).to_list() == [2.0, 8.0, 10.0]
    assert math.isnan(sweep.runs["measure"][3])
    assert sweep.runs["censored"].to_list() == [False, False, True, False]


def test_a_sweep_is_shown_in_one_line(sweep_folder: Path):
    runs = [*relu_and_tanh({0: 2.0}, {0: 8.0}), Run(arm=TANH, seed=1, state=None)]
    sweep = load_sweep(write_sweep(sweep_folder, RELU_VS_TANH, runs))

    shown = repr(sweep)

    assert shown.startswith("Sweep(relu_vs_tanh on cifar10: 2 finished, 1 missing; measure: ")
    assert "epochs_to_error train/error of 0.25" in shown
    assert "progress 40 x 7" in shown
    assert len(shown) < 200


def test_a_folder_near_a_sweep_is_refused_with_the_sweep(sweep_folder: Path):
    runs = relu_and_tanh({0: 2.0}, {})
    write_sweep(sweep_folder, RELU_VS_TANH, runs)

    with pytest.raises(FileNotFoundError, match=f"this is a run: give its sweep, {sweep_folder}$"):
        load_sweep(sweep_folder / runs[0].name)
    with pytest.raises(FileNotFoundError, match=f"contains 1: give one, such as {sweep_folder}$"):
        load_sweep(sweep_folder.parent)


def test_metrics_and_progress_say_whose_rows_they_are(sweep_folder: Path):
    runs = [Run(arm=TANH, seed=3, progress=[(0.5, 0.9)], val_errors=[0.8, 0.7])]
    sweep = load_sweep(write_sweep(sweep_folder, RELU_VS_TANH, runs))
    assert sweep.progress.iloc[0][["run", "model.nonlinearity", "seed"]].to_list() == [
        "nonlinearity-tanh_seed-3",
        "tanh",
        3,
    ]
    assert list(sweep.metrics["val/error"]) == [0.8, 0.7]


def test_a_half_written_result_makes_a_run_unfinished_and_says_so(sweep_folder: Path):
    write_sweep(sweep_folder, RELU_VS_TANH, relu_and_tanh({0: 2.0}, {0: 8.0}))
    (sweep_folder / "nonlinearity-tanh_seed-0" / "result.json").write_text('{"metrics": {"te')
    sweep = load_sweep(sweep_folder)
    assert sweep.runs["state"][1] == "unreadable"
    assert "cannot read result.json" in sweep.runs["cause"][1]
    assert [each.fate for each in sweep.outcomes()] == ["finished", "unfinished"]


@pytest.mark.parametrize("content", ["[]", "{}", '{"metrics": 3}'])
def test_a_result_of_another_shape_is_not_a_result(sweep_folder: Path, content: str):
    write_sweep(sweep_folder, RELU_VS_TANH, relu_and_tanh({0: 2.0}, {}))
    (sweep_folder / "nonlinearity-relu_seed-0" / "result.json").write_text(content)
    assert load_sweep(sweep_folder).runs["state"][0] == "unreadable"


def test_a_garbled_progress_file_makes_a_run_unfinished(sweep_folder: Path):
    write_sweep(sweep_folder, RELU_VS_TANH, relu_and_tanh({0: 2.0}, {}))
    progress = sweep_folder / "nonlinearity-relu_seed-0" / "progress.csv"
    progress.write_text(progress.read_text() + "1.5,what,is,this,now\n")
    assert "progress.csv" in load_sweep(sweep_folder).runs["cause"][0]


def test_a_broken_provenance_is_told_and_changes_nothing(sweep_folder: Path):
    write_sweep(sweep_folder, RELU_VS_TANH, relu_and_tanh({0: 2.0}, {}))
    (sweep_folder / "nonlinearity-relu_seed-0" / "provenance.json").write_text("{")
    row = load_sweep(sweep_folder).runs.iloc[0]
    assert row["state"] == "finished"
    assert "provenance.json" in row["cause"]


def test_a_status_that_says_finished_without_a_result_is_not_believed(sweep_folder: Path):
    write_sweep(sweep_folder, RELU_VS_TANH, relu_and_tanh({0: 2.0}, {}))
    (sweep_folder / "nonlinearity-relu_seed-0" / "result.json").unlink()
    assert load_sweep(sweep_folder).outcomes()[0].fate == "unfinished"


def test_rows_written_again_after_a_resume_replace_the_earlier_ones(sweep_folder: Path):
    rows = [(1.0, 0.9), (2.0, 0.8), (3.0, 0.1), (2.0, 0.7), (3.0, 0.6)]
    write_sweep(sweep_folder, RELU_VS_TANH, [Run(arm=TANH, progress=rows)])
    assert list(load_sweep(sweep_folder).progress["train/error"]) == [0.9, 0.7, 0.6]


def test_a_final_metric_comes_from_the_result_or_else_from_the_last_row(sweep_folder: Path):
    runs = [
        Run(arm={"a": 0}, val_errors=[0.5, 0.4], metrics={"val/error": 0.39}),
        Run(arm={"a": 1}, val_errors=[0.5, 0.4]),
        Run(arm={"a": 2}),
    ]
    sweep = load_sweep(write_sweep(sweep_folder, LRN_ON_OFF, runs))
    assert [(each.value, each.fate) for each in sweep.outcomes()] == [
        (0.39, "finished"),
        (0.4, "finished"),
        (None, "unmeasured"),
    ]


def test_diverged_is_told_from_failed(sweep_folder: Path):
    runs = [
        Run(arm=TANH, seed=0, state="failed", cause="diverged"),
        Run(arm=TANH, seed=1, state="failed", cause="out of memory"),
        Run(arm=TANH, seed=2, state="running"),
    ]
    outcomes = load_sweep(write_sweep(sweep_folder, RELU_VS_TANH, runs)).outcomes()
    assert [each.fate for each in outcomes] == ["diverged", "failed", "unfinished"]


def test_a_run_that_diverged_counts_its_whole_budget_or_the_error_of_guessing(sweep_folder: Path):
    run = Run(arm=TANH, progress=[(0.5, 0.9)], state="failed", cause="diverged")
    [timed] = load_sweep(write_sweep(sweep_folder, RELU_VS_TANH, [run])).outcomes()
    assert (timed.fate, timed.value, timed.censored) == ("diverged", 10.0, True)

    [unknown] = load_sweep(write_sweep(sweep_folder, LRN_ON_OFF, [run])).outcomes()
    write_json(sweep_folder / run.name / "provenance.json", {"num_classes": 10})
    [guessing] = load_sweep(sweep_folder).outcomes()
    assert (unknown.fate, unknown.value) == ("diverged", None)
    assert (guessing.fate, guessing.value, guessing.censored) == ("diverged", 0.9, False)


@pytest.mark.parametrize("number", [math.inf, math.nan])
def test_a_result_that_is_not_finite_has_diverged(sweep_folder: Path, number: float):
    # The error of an earlier epoch does not stand for it.
    run = Run(arm={}, metrics={"val/error": number}, val_errors=[0.5])
    [outcome] = load_sweep(write_sweep(sweep_folder, LRN_ON_OFF, [run])).outcomes()
    assert (outcome.fate, outcome.value) == ("diverged", None)


@pytest.mark.parametrize(
    ("config", "data", "is_cut"),
    [
        ({}, "cifar10", False),
        ({"data.classes": 100}, "cifar10 with classes=100", False),
        ({"data.fraction": 0.5}, "cifar10 with fraction=0.5", False),
        ({"trainer.max_steps": 20}, "cifar10", True),
        ({"trainer.limit_train_batches": 4}, "cifar10", True),
        ({"trainer.limit_train_batches": 1}, "cifar10", True),
        ({"trainer.overfit_batches": 1}, "cifar10", True),
        ({"trainer.overfit_batches": 0.0}, "cifar10", False),
    ],
)
def test_a_sweep_knows_on_what_it_was_made_and_by_what_it_was_cut(
    config: dict, data: str, is_cut: bool, sweep_folder: Path
):
    run = Run(arm={}, val_errors=[0.1], config=config)
    setting = load_sweep(write_sweep(sweep_folder, LRN_ON_OFF, [run])).setting
    assert (setting.data, setting.network, bool(setting.cut)) == (data, "CifarNet", is_cut)


def test_the_epochs_of_a_sweep_are_those_that_were_trained(sweep_folder: Path):
    whole = Run(arm={}, seed=0, config={"trainer.max_epochs": 90}, epochs=90)
    unfinished = replace(whole, seed=1, state="running")
    assert (
        load_sweep(write_sweep(sweep_folder, LRN_ON_OFF, [whole, unfinished])).setting.epochs == 90
    )

    stopped_early = replace(whole, seed=2, epochs=40.5)
    sweep = load_sweep(write_sweep(sweep_folder, LRN_ON_OFF, [whole, stopped_early]))
    assert sweep.setting.epochs == 40


def test_a_folder_that_is_no_sweep_is_an_error_in_one_line(tmp_path: Path):
    for wrong in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(FileNotFoundError, match=r"expected a folder with sweep\.json") as error:
            load_sweep(wrong)
        assert str(wrong) in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"measure": {"kind": "median", "metric": "val/error"}}, "measure.kind"),
        ({"effect": "product"}, "effect=product"),
        ({"measure": {"kind": "epochs_to_error", "metric": "train/error"}}, "threshold"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused_by_its_key(
    sweep_folder: Path, change: dict, complaint: str
):
    write_sweep(sweep_folder, {**RELU_VS_TANH, **change}, relu_and_tanh({0: 2.0}, {}))
    with pytest.raises(ValueError, match=complaint):
        load_sweep(sweep_folder)


def test_a_plan_cut_short_is_refused(sweep_folder: Path):
    write_json(sweep_folder / "sweep.json", {})
    (sweep_folder / "sweep.json").write_text('{"experiment": {')
    with pytest.raises(ValueError, match=r"cannot read .*sweep\.json"):
        load_sweep(sweep_folder)


def test_the_data_set_is_read_off_the_name_of_the_folder(sweep_folder: Path):
    write_sweep(sweep_folder, RELU_VS_TANH, relu_and_tanh({0: 2.0}, {}))
    again = sweep_folder.with_name(f"{sweep_folder.name}-2")
    sweep_folder.rename(again)

    assert load_sweep(again).data == "cifar10"
