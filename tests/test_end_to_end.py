"""Whole commands as users run them, and the files that they leave."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import isotonic_regression

from alexnet.folders.sweep import SweepDir
from alexnet.model import AlexNet
from alexnet.results import load_sweep
from alexnet.run.fork_server import VARIABLE
from tests.conftest import Train, run_train, the_sweep

QUICK = ("data=synthetic", "data.num_images=256", "data.batch_size=32", "trainer.threads=1")
HE = ("model.init=he", "learning.lr=0.01")  # of which there is no search
THREE_EPOCHS = (*QUICK, "trainer.max_epochs=3", "model.dropout=0.5")


@pytest.fixture(scope="module")
def relu_vs_tanh(tmp_path_factory: pytest.TempPathFactory) -> SweepDir:
    outputs = tmp_path_factory.mktemp("outputs")
    done = run_train(outputs, "+experiment=relu_vs_tanh", *QUICK, "seed=0,1", *HE)
    sweep = the_sweep(outputs)
    assert done.returncode == 0, done.stderr
    assert str(sweep.report) in done.stdout
    return sweep


def test_relu_vs_tanh_ends_in_a_figure_a_table_and_a_computed_verdict(relu_vs_tanh: SweepDir):
    verdict = json.loads((relu_vs_tanh.report / "verdict.json").read_text())

    assert verdict["factor"] == "model.nonlinearity"
    assert [arm["level"] for arm in verdict["arms"]] == ["relu", "tanh"]
    assert [arm["n"] for arm in verdict["arms"]] == [2, 2]
    assert (relu_vs_tanh.report / "learning_curves.svg").exists()
    assert (relu_vs_tanh.report / "learning_curves.png").exists()
    with (relu_vs_tanh.report / "table.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 4


def test_the_report_says_which_initial_weights_and_which_rates(relu_vs_tanh: SweepDir):
    readme = (relu_vs_tanh.report / "README.md").read_text()

    assert "init=he" in readme
    assert "`lr=0.01`" in readme


def test_the_verdict_is_what_the_progress_files_say(relu_vs_tanh: SweepDir):
    verdict = json.loads((relu_vs_tanh.report / "verdict.json").read_text())

    values = []
    for run in relu_vs_tanh.runs():
        rows = run.read_progress()
        ends = np.array([0.0, *(row["epoch"] for row in rows)])
        errors = isotonic_regression([row["train/error"] for row in rows], increasing=False).x
        # A training error is a mean since the row before: it stands in the middle between both.
        values.append(np.interp(-0.25, -errors, (ends[1:] + ends[:-1]) / 2))
    assert [each for arm in verdict["arms"] for each in arm["values"]] == pytest.approx(values)


def test_a_run_that_never_crosses_is_censored_and_no_error(train: Train, tmp_path: Path):
    done = train(
        "+experiment=relu_vs_tanh", *QUICK, "seed=0", "model.init=he",
        "learning.lr=1e-9", "trainer.max_epochs=1",
    )  # fmt: skip

    verdict = json.loads((the_sweep(tmp_path / "outputs").report / "verdict.json").read_text())
    assert done.returncode == 0
    assert [arm["censored"] for arm in verdict["arms"]] == [1, 1]
    assert [arm["values"] for arm in verdict["arms"]] == [[None], [None]]


def test_a_rehearsal_of_the_grid_reports_main_effects_and_interactions(
    train: Train, tmp_path: Path
):
    done = train("+experiment=ablation_grid", "data=synthetic", "+debug=smoke")

    verdict = json.loads((the_sweep(tmp_path / "outputs").report / "verdict.json").read_text())
    assert done.returncode == 0, done.stderr
    assert "trial run: 4 of 8 runs" in done.stdout
    assert len(verdict["factor"]) == 3
    assert len(verdict["arms"]) == 4


def test_alexnet_trains_on_small_images_and_its_checkpoint_loads_without_the_project(
    train: Train, tmp_path: Path
):
    done = train(
        "model=alexnet", "model.hidden=[32,32]", "data=mnist5k", "data.batch_size=2",
        "trainer.max_epochs=1", "trainer.limit_train_batches=1", "trainer.limit_val_batches=1",
        "trainer.limit_test_batches=1", "trainer.threads=1",
    )  # fmt: skip

    [run] = the_sweep(tmp_path / "outputs").runs()
    checkpoint = torch.load(run.last_checkpoint, weights_only=True)
    assert done.returncode == 0, done.stderr
    settings = checkpoint["model"]
    assert settings.pop("_target_") == "alexnet.model.AlexNet"
    net = AlexNet(**settings)
    net.load_state_dict(
        {name.removeprefix("net."): value for name, value in checkpoint["state_dict"].items()}
    )
    assert checkpoint["state_dict"]["net.conv2.weight"].shape == (256, 48, 5, 5)
    assert checkpoint["mean_image"].shape == (3, 28, 28)
    assert checkpoint["class_names"] == [str(digit) for digit in range(10)]


@pytest.fixture(scope="module")
def three_epochs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The outputs folder of one run."""
    outputs = tmp_path_factory.mktemp("outputs")
    assert run_train(outputs, *THREE_EPOCHS).returncode == 0
    return outputs


def test_a_run_with_a_logger_prints_no_warning(train: Train, tmp_path: Path):
    tiny = ("data=synthetic", "data.num_images=32", "trainer.max_epochs=1")
    logger = "+logger.mine._target_=lightning.pytorch.loggers.CSVLogger"

    done = train(*tiny, logger, f"+logger.mine.save_dir={tmp_path}/logs")

    [run] = the_sweep(tmp_path / "outputs").runs()
    assert done.returncode == 0, done.stderr
    assert "arning" not in run.log.read_text()


def test_the_same_command_gives_the_same_numbers_forked_or_not(
    three_epochs: Path, train: Train, tmp_path: Path
):
    train(*THREE_EPOCHS, environment={VARIABLE: "0"})

    one, other = (
        run.path for folder in (three_epochs, tmp_path / "outputs")
        for run in the_sweep(folder).runs()
    )  # fmt: skip
    first, second = (load_sweep(run.parent).metrics for run in (one, other))
    columns = [name for name in first.columns if "/" in name]
    assert first[columns].equals(second[columns])
    states = [
        torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for run in (one, other)
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_the_test_set_is_never_used_to_choose(three_epochs: Path):
    [run] = the_sweep(three_epochs).runs()
    assert "test" not in run.metrics.read_text()
    best = torch.load(run.best_checkpoint, weights_only=True)
    errors = [row["val/error"] for row in run.read_metrics()]
    assert best["epoch"] == errors.index(min(errors))


@pytest.mark.slow
def test_the_demo_on_real_digits(train: Train, tmp_path: Path):
    done = train("+experiment=saturating", "model.nonlinearity=relu,sigmoid", "seed=0")

    verdict = json.loads((the_sweep(tmp_path / "outputs").report / "verdict.json").read_text())
    relu, sigmoid = verdict["arms"]
    assert done.returncode == 0, done.stderr
    assert 0 < 5 * relu["mean"] < sigmoid["mean"]
