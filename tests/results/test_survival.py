"""Times of which some are only known to be larger."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from alexnet.results import write_report
from alexnet.results.effects import Arm, Outcome
from alexnet.results.survival import survival

from .handmade import RELU_VS_TANH, Run, relu_and_tanh, write_sweep


def arm(label: str, reached: Sequence[float], limits: Sequence[float] = ()) -> Arm:
    times = [(value, False) for value in reached] + [(value, True) for value in limits]
    return Arm(
        levels={"f": label},
        outcomes=tuple(
            Outcome(
                run="", arm={"f": label}, seed=seed, fate="finished", value=value, censored=censored
            )
            for seed, (value, censored) in enumerate(times)
        ),
    )


def test_the_estimate_and_the_test_are_those_of_the_textbooks():
    # Freireich et al. (1963), remission of leukaemia in weeks: 6-MP against placebo
    placebo = arm(
        "placebo", [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]
    )
    limits = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
    found = survival([placebo, arm("6-MP", [6, 6, 6, 7, 10, 13, 16, 22, 23], limits)])
    assert found is not None
    steps = dict(found.curves[1].steps)
    printed = {6: 0.857, 7: 0.807, 10: 0.753, 13: 0.690, 16: 0.627, 22: 0.538, 23: 0.448}
    assert {epoch: round(share, 3) for epoch, share in steps.items() if epoch} == printed
    assert found.curves[0].restricted_mean == pytest.approx(182 / 21)  # all known: the plain mean
    assert found.until == 35
    assert found.pairs[0].p < 0.001


def test_three_runs_against_three_cannot_have_a_smaller_p_than_one_in_ten():
    # 2 of the 20 ways to divide six runs are as far apart as that
    found = survival([arm("relu", [3, 4, 5]), arm("tanh", [], [20, 20, 20])])
    assert found is not None
    [pair] = found.pairs
    assert pair.p == pytest.approx(0.1)
    assert pair.ratio == pytest.approx(20 / 4)  # the mean of min(T, 20)
    assert found.until == 20


def test_arms_are_restricted_to_the_epoch_up_to_which_all_are_known():
    found = survival([arm("relu", [3, 30]), arm("tanh", [8], [10])])
    assert found is not None
    assert found.until == 10
    assert [curve.restricted_mean for curve in found.curves] == [6.5, 9.0]  # of (3, 10), (8, 10)


def test_there_is_none_if_every_run_got_there():
    assert survival([arm("relu", [3, 4]), arm("tanh", [8, 9])]) is None


def test_a_report_shows_it_where_runs_are_censored_or_have_diverged(sweep_folder: Path):
    tanh = {"model.nonlinearity": "tanh"}
    diverged = Run(arm=tanh, seed=1, progress=[(0.5, 0.9)], state="failed", cause="diverged")
    runs = [*relu_and_tanh({0: 2.0, 1: 2.2}, {0: 40.0}), diverged]
    report = write_report(write_sweep(sweep_folder, RELU_VS_TANH, runs))
    text = (report.folder / "README.md").read_text()
    assert "| tanh | 2 | 2 | 10.0 | 4.76 |" in text  # 10 epochs over the mean of 2.0 and 2.2
    assert "share_not_there.svg" in text
    content = json.loads((report.folder / "verdict.json").read_text())["survival"]
    assert content["until"] == 10
    assert content["curves"][1]["censored"] == [10, 10]


def test_a_report_of_runs_that_all_got_there_does_not(sweep_folder: Path):
    runs = relu_and_tanh({0: 2.0, 1: 2.2}, {0: 6.0, 1: 7.0})
    report = write_report(write_sweep(sweep_folder, RELU_VS_TANH, runs))
    assert "did not reach the threshold" not in (report.folder / "README.md").read_text()
    assert not (report.folder / "share_not_there.svg").exists()
    assert json.loads((report.folder / "verdict.json").read_text())["survival"] is None
