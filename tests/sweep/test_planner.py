"""plan=true prints what a sweep would train, cost and show, and writes nothing."""

import math
import re
from pathlib import Path

import pytest
from scipy.stats import nct, t

from alexnet.folders.ending import Exit
from alexnet.sweep import planner
from alexnet.sweep.planner import _Price as Price
from tests.conftest import Train

from .untrained import LRN, Trained, sweep

DEVIATION = 0.01  # of the three effects: 0.01, 0.02 and 0.03


def error(level: str, seed: int) -> float:
    return 0.11 + 0.01 * (seed + 1) * (level == "none")


def files(folder: Path) -> dict[Path, int]:
    return {file: file.stat().st_mtime_ns for file in folder.rglob("*")}


def smallest(n: int) -> float:
    """The effect that a two-sided t-test over n shows with 80 % power, by scipy's noncentral t."""
    low, high = 0.0, 100 * DEVIATION
    for _ in range(60):
        middle = (low + high) / 2
        shift = middle / DEVIATION * math.sqrt(n)
        is_shown = nct.sf(t.isf(0.025, n - 1), n - 1, shift) >= 0.8
        low, high = (low, middle) if is_shown else (middle, high)
    return high


def test_runs_time_and_power_are_those_of_runs_that_exist(train_here: Train, tmp_path: Path):
    sweep(tmp_path / "outputs", Trained(error), *LRN, "seed=0,1,2")
    before = files(tmp_path)

    done = train_here(*LRN, "seed=0,1,2,3,4", "plan=true")

    assert done.returncode == Exit.FINISHED
    assert files(tmp_path) == before
    text = done.stdout
    assert "10 runs, 2 arms x 5 seeds (0, 1, 2, 3, 4); 6 of them have ended" in text
    assert "normalization=none: model.normalization=none instead of lrn" in text
    assert "about 4 seconds for 4 runs to go, 1 at once (1 second a run, from 6 runs of" in text
    assert "is 1 percentage points, from 3 seeds of this sweep" in text
    shown = dict(re.findall(r"n = (\d+): ([\d.]+) percentage points", text))
    for n in (3, 5, 10):
        assert float(shown[str(n)]) == pytest.approx(100 * smallest(n), rel=0.01)


def test_the_plan_of_one_arm_compares_nothing(train_here: Train):
    done = train_here("model=cifar_net", "data=mnist5k", "seed=0,1,2", "plan=true")

    assert "3 runs, 1 arm x 3 seeds" in done.stdout
    assert "baseline" not in done.stdout
    assert "power" not in done.stdout


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["trainer.max_epochs=52"],
            "claim 1: an analogue, made in another setting ("
            "synthetic instead of cifar10; 52 instead of 520 epochs)",
        ),
        *(
            ([cut], f"claim 1: not judged, because runs are cut short ({cut})")
            for cut in (
                "trainer.max_steps=2",
                "trainer.limit_train_batches=1",
                "trainer.overfit_batches=2",
            )
        ),
    ],
)
def test_a_claim_that_the_sweep_cannot_judge_is_named_before_it_is_trained(
    words: list[str], line: str, train_here: Train, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(planner, "_warm_up", lambda run, share: (None, "no warm-up"))

    done = train_here(*LRN, "seed=0,1", *words, "plan=true")

    assert line in done.stdout


def test_a_longer_run_is_reckoned_from_the_seconds_of_an_epoch(train_here: Train, tmp_path: Path):
    sweep(tmp_path / "outputs", Trained(error), *LRN, "seed=0", "trainer.max_epochs=1")

    done = train_here(*LRN, "seed=0,1", "trainer.max_epochs=100", "plan=true")

    assert "at most 7 minutes for 4 runs to go" in done.stdout
    assert "unknown until 2 seeds have run" in done.stdout
    assert "n = 3: 3.3 times the spread" in done.stdout


def test_a_spread_from_a_sweep_of_other_epochs_says_so(train_here: Train, tmp_path: Path):
    sweep(tmp_path / "outputs", Trained(error), *LRN, "seed=0,1,2", "trainer.max_epochs=1")

    done = train_here(*LRN, "seed=0,1", "trainer.max_epochs=100", "plan=true")

    assert "is 1 percentage points, from 3 seeds of a similar sweep of 1 epoch, " in done.stdout


def test_without_runs_a_warm_up_tells(
    train_here: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    price = Price(seconds=7200, checkpoint=10**9, at_most=True)
    monkeypatch.setattr(planner, "_warm_up", lambda run, share: (price, "a warm-up"))

    done = train_here(*LRN, "seed=auto", "max_seeds=5", "plan=true")

    assert "at most 12.0 hours for 6 runs to go" in done.stdout
    assert "and 20.0 hours if all 2 further seeds are needed" in done.stdout
    assert "they keep 20.0 GB of checkpoints" in done.stdout
    assert not (tmp_path / "outputs").exists()


def test_images_that_are_not_here_are_not_downloaded_for_it(train_here: Train, tmp_path: Path):
    done = train_here("data=imagenet", f"data.root={tmp_path}", "plan=true")

    assert done.returncode == Exit.FINISHED
    assert (
        "time and disk: unknown, because there are no comparable runs, and its ima" in done.stdout
    )
    assert "1 arm x 1 seed (0)" in done.stdout


@pytest.mark.slow
def test_a_warm_up_is_a_few_steps_in_a_folder_of_its_own(train: Train, tmp_path: Path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()

    done = train(
        "model.nonlinearity=relu,tanh", "data=synthetic", "data.num_images=512",
        "trainer.max_epochs=1000", "plan=true", environment={"TMPDIR": str(temporary)},
    )  # fmt: skip

    assert done.returncode == Exit.FINISHED, done.stdout
    assert re.search(r"about .* for 2 runs to go.* from a warm-up of the first arm", done.stdout)
    assert not (tmp_path / "outputs").exists()
    assert not list(temporary.glob("alexnet-lab-plan-*"))
