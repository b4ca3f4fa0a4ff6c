"""seed=auto adds seeds until the first claim is settled, up to a maximum."""

import json
from pathlib import Path
from typing import Any

import pytest

from alexnet.config.registration import METHOD_AT_ANY_LOOK
from alexnet.folders.ending import Exit
from tests.conftest import Train, the_sweep

from .untrained import LRN, Trained, sweep

AUTO = (*LRN, "seed=auto")


def clear(level: str, seed: int) -> float:
    """Without normalization the error is about 2 points higher, varying by a tenth."""
    return 0.11 + 0.02 * (level == "none") + 0.001 * (seed % 3) * (level == "none")


def unclear(level: str, seed: int) -> float:
    return 0.11 + 0.02 * (-1) ** seed * (level == "none")


def written(outputs: Path) -> tuple[dict[str, Any], dict[str, Any], str]:
    """sweep.json, verdict.json and the report's text."""
    there = the_sweep(outputs)
    verdict = json.loads((there.report / "verdict.json").read_text())
    return there.read_plan(), verdict, (there.report / "README.md").read_text()


def test_seeds_are_added_until_the_claim_is_settled(tmp_path: Path):
    trained = Trained(clear)

    assert sweep(tmp_path, trained, *AUTO) == Exit.FINISHED

    plan, verdict, text = written(tmp_path)
    [effect] = verdict["effects"]
    assert trained.seeds[:6] == [0, 1, 2, 0, 1, 2]
    assert (plan["looks"], plan["max_seeds"]) == ([], 20)
    assert plan["registered"]["content"]["seeds"] == "auto, at most 20"
    assert verdict["method"] == METHOD_AT_ANY_LOOK
    assert effect["e_value"] > 40
    assert effect["p"] == pytest.approx(2 / effect["e_value"])
    assert verdict["claims"][0]["direction"]["p"] == pytest.approx(effect["p"])
    assert "unchanged. seed=auto adds seeds until the first claim is settled, at most 20" in text
    assert f"e-value {effect['e_value']:.3g}, anytime-valid 95 % interval" in text


def test_it_ends_at_the_maximum_and_a_larger_one_is_a_change_of_the_plan(tmp_path: Path):
    trained = Trained(unclear)

    assert sweep(tmp_path, trained, *AUTO, "max_seeds=5") == Exit.FINISHED
    plan, verdict, text = written(tmp_path)
    assert sorted(set(trained.seeds)) == [0, 1, 2, 3, 4]
    assert plan["looks"] == [3, 4]
    assert "looked at n = 3, 4, 5. The test is valid at any look" in text
    assert verdict["effects"][0]["e_value"] < 40
    assert verdict["registered"]["changed"] == []

    sweep(tmp_path, trained, *AUTO, "max_seeds=6")
    plan, verdict, _ = written(tmp_path)
    assert trained.seeds[-2:] == [5, 5]
    assert plan["looks"] == [3, 4, 5]
    [change] = verdict["registered"]["changed"]
    assert "auto, at most 5 before, auto, at most 6 now" in change


def test_one_that_was_killed_goes_on_with_the_same_seeds(tmp_path: Path):
    killed, after, at_once = (
        Trained(unclear, dies_at=4), Trained(unclear), Trained(unclear),
    )  # fmt: skip
    words = (*AUTO, "max_seeds=6")

    assert sweep(tmp_path / "killed", killed, *words) == Exit.INTERRUPTED
    assert sweep(tmp_path / "killed", after, *words) == Exit.FINISHED
    sweep(tmp_path / "at_once", at_once, *words)

    assert after.seeds == [4, 4, 5, 5]
    one, other = (written(tmp_path / name) for name in ("killed", "at_once"))
    assert one[0]["looks"] == other[0]["looks"] == [3, 4, 5]
    assert one[0]["registered"] == other[0]["registered"]
    assert one[1] == other[1]


def test_what_no_seed_can_settle_ends_at_the_first_look(tmp_path: Path):
    trained = Trained(lambda level, seed: 0.13 if level == "none" else 0.11)

    assert sweep(tmp_path, trained, *AUTO) == Exit.FINISHED

    assert sorted(set(trained.seeds)) == [0, 1, 2]  # without spread there is no test


def test_seeds_that_were_listed_first_are_taken_and_noted(tmp_path: Path):
    trained = Trained(unclear)
    sweep(tmp_path, trained, *LRN, "seed=0,1")
    assert trained.seeds == [0, 1, 0, 1]

    sweep(tmp_path, trained, *AUTO, "max_seeds=4")

    plan, verdict, _ = written(tmp_path)
    assert sorted(trained.seeds) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert plan["looks"] == [2, 3]
    assert any("auto, at most 4 now" in each for each in verdict["registered"]["changed"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("seed=auto", "seed=auto has nothing to compare"),
        ("model.nonlinearity=relu,tanh seed=0,auto", "Give seed=auto alone, or list the seeds"),
        (
            "model.nonlinearity=relu,tanh seed=auto hydra/launcher=joblib",
            "which hydra/launcher=joblib does not support",
        ),
        ("model.nonlinearity=relu,tanh seed=auto max_seeds=0", "max_seeds=0 is not possible"),
        ("max_seeds=3,4", "one value for all runs of a command"),
    ],
)
def test_what_cannot_be_is_refused(words: str, message: str, train_here: Train, tmp_path: Path):
    done = train_here(*words.split())

    assert done.returncode == Exit.WRONG
    assert message in done.stderr
    assert not (tmp_path / "outputs").exists()


@pytest.mark.slow
def test_real_runs_two_at_once(tmp_path: Path, train: Train):
    tiny = ("data=synthetic", "data.num_images=32", "data.batch_size=8", "trainer.max_epochs=1")

    done = train(
        "model.nonlinearity=relu,tanh", "seed=auto", "max_seeds=4", "hydra.launcher.parallel=2",
        *tiny,
    )  # fmt: skip

    assert done.returncode == Exit.FINISHED, done.stdout
    plan, verdict, _ = written(tmp_path / "outputs")
    assert len(plan["runs"]) == 2 * verdict["arms"][0]["n"]
    assert "looked at n = 3: " in done.stdout
