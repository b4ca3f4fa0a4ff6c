"""The example of docs/own_question.md runs outside the project without any change to it."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from alexnet.folders.run import RunDir
from alexnet.folders.sweep import SweepDir
from alexnet.paths import PROJECT
from tests.conftest import as_a_user

PAGE = PROJECT / "docs" / "own_question.md"


def files_of_the_page() -> list[tuple[str, str]]:
    return re.findall(r"^`([\w/.]+)`\n\n```\w+\n(.*?)^```", PAGE.read_text(), re.M | re.S)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lab")
    for name, text in files_of_the_page():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    random = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 64), ("val", 32), ("test", 32)):
        labels = np.arange(count) % 2
        stripes = (np.arange(16) % 4 < 2) * 160
        images = np.where(
            labels[:, None, None] == 1, stripes[None, None, :], stripes[None, :, None]
        )
        images = images[:, None] + random.integers(0, 60, (count, 3, 16, 16))
        arrays |= {f"{part}_images": images.astype(np.uint8), f"{part}_labels": labels}
    (folder / "data").mkdir()
    np.savez(folder / "data" / "stripes.npz", **arrays)
    return folder


def command(lab: Path, script: str, *arguments: str) -> list[str]:
    return [
        sys.executable,
        str(PROJECT / "src" / script),
        "--config-dir",
        str(lab / "conf"),
        *arguments,
    ]


def environment(lab: Path) -> dict[str, str]:
    return as_a_user({"PYTHONPATH": str(lab)})


def run(lab: Path, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(lab, script, *arguments), cwd=lab, env=environment(lab), capture_output=True,
        text=True, check=False, timeout=280,
    )  # fmt: skip


def experiment(lab: Path, outputs: str, *more: str) -> list[str]:
    return [
        "+experiment=skip_connections", f"data.root={lab / 'data'}", f"outputs={lab / outputs}",
        "trainer.threads=1", *more,
    ]  # fmt: skip


def the_sweep(lab: Path, outputs: str) -> SweepDir:
    [file] = (lab / outputs).glob("*/*/sweep.json")
    return SweepDir(file.parent)


@pytest.fixture(scope="module")
def swept(lab: Path) -> tuple[SweepDir, str]:
    done = run(lab, "train.py", *experiment(lab, "outputs"))
    assert done.returncode == 0, done.stdout + done.stderr
    return the_sweep(lab, "outputs"), done.stdout


def test_an_experiment_of_the_users_runs_every_arm_and_is_reported(swept: tuple[SweepDir, str]):
    sweep, printed = swept

    assert [each.name for each in sweep.runs()] == [
        "arm-skip_seed-0", "arm-skip_seed-1", "arm-plain_seed-0", "arm-plain_seed-1"
    ]  # fmt: skip
    assert all(each.is_finished for each in sweep.runs())
    verdict = json.loads((sweep.report / "verdict.json").read_text())
    assert [arm["level"] for arm in verdict["arms"]] == ["skip", "plain"]
    assert all(0 < value < 0.5 for arm in verdict["arms"] for value in arm["values"])
    assert "skip_connections on stripes" in printed
    assert "validation doubt" in (sweep.report / "README.md").read_text()


def test_a_metric_of_the_users_is_recorded_and_read_back(swept: tuple[SweepDir, str]):
    first = next(swept[0].runs())

    assert {"val/doubt"} <= first.read_metrics()[0].keys()
    assert {"val/doubt", "test/doubt"} <= first.read_result()["metrics"].keys()
    assert "5 steps" in first.log.read_text()  # of the callback


def test_a_mistyped_key_of_the_users_is_refused_before_anything_starts(lab: Path):
    for word, suggestion in (
        ("model.widht=4", "did you mean model.width?"),
        ("learning.optimizer.scael=2", "did you mean learning.optimizer.scale?"),
        ("callbacks.counter.evry=2", "did you mean callbacks.counter.every?"),
        ("model.nonlinearity=relu", "the chosen model does not have this key"),
    ):
        done = run(lab, "train.py", *experiment(lab, "wrong", f"+{word}"))
        assert (done.returncode, suggestion in done.stderr) == (2, True), done.stderr
    assert not (lab / "wrong").exists()


@pytest.mark.slow
def test_a_run_of_the_users_that_was_killed_goes_on_exactly(lab: Path, swept: tuple[SweepDir, str]):
    words = experiment(
        lab, "killed", "seed=0", "+arm=plain", "trainer.max_epochs=60", "checkpoint.minutes=0.001"
    )
    process = subprocess.Popen(
        command(lab, "train.py", *words), cwd=lab, env=environment(lab), stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 200
    while not list((lab / "killed").glob("*/*/*/checkpoints/last.ckpt")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(1)  # the run's process ends with its parent
    [killed] = the_sweep(lab, "killed").runs()
    assert not killed.is_finished

    again = run(lab, "train.py", *words)
    alone = run(lab, "train.py", *(word.replace("killed", "whole") for word in words))

    assert again.returncode == alone.returncode == 0, again.stdout + alone.stdout
    [whole] = the_sweep(lab, "whole").runs()
    weights = [torch.load(each.last_checkpoint, weights_only=True) for each in (killed, whole)]
    for name, weight in weights[0]["state_dict"].items():
        assert torch.equal(weight, weights[1]["state_dict"][name])
    assert steps_counted(killed) == steps_counted(whole) == 240


def steps_counted(each: RunDir) -> int:
    callbacks = torch.load(each.last_checkpoint, weights_only=True)["callbacks"]
    return next(state["steps"] for name, state in callbacks.items() if "Counter" in name)


def test_a_checkpoint_of_the_users_is_evaluated(lab: Path, swept: tuple[SweepDir, str]):
    first = next(swept[0].runs())

    done = run(lab, "evaluate.py", f"checkpoint={first.path}", f"out={lab / 'errors.json'}")

    assert done.returncode == 0, done.stderr
    found = json.loads((lab / "errors.json").read_text())["metrics"]["test/error"]
    assert found == pytest.approx(first.read_result()["metrics"]["test/error"])


def test_without_the_users_folder_the_checkpoint_is_not_built(
    lab: Path, swept: tuple[SweepDir, str]
):
    first = next(swept[0].runs())
    script = str(PROJECT / "src" / "evaluate.py")

    done = subprocess.run(
        [sys.executable, script, f"checkpoint={first.path}"], env=environment(lab), cwd=lab,
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 2
    assert "allow=my_lab.nets.SmallNet" in done.stderr
    assert "Traceback" not in done.stderr


def test_training_starts_from_a_network_of_the_users(lab: Path, swept: tuple[SweepDir, str]):
    first = next(swept[0].runs())
    words = experiment(lab, "tuned", "seed=0", "+arm=skip", "trainer.max_epochs=1")

    done = run(lab, "train.py", *words, f"init_from={first.path}")

    assert done.returncode == 0, done.stdout + done.stderr
    [tuned] = the_sweep(lab, "tuned").runs()
    assert "conv1, conv2 from" in tuned.log.read_text()


def test_a_level_of_the_users_works_in_a_shipped_network(lab: Path):
    done = run(
        lab, "train.py", "imports=[my_lab.words]", "model.nonlinearity=softplus", "data=synthetic",
        "data.num_images=32", "data.batch_size=8", "trainer.max_epochs=1", "trainer.threads=1",
        f"outputs={lab / 'level'}",
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_the_same_under_joblib(lab: Path):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    done = run(lab, "train.py", *experiment(lab, "joblib", "hydra/launcher=joblib"))

    assert done.returncode == 0, done.stdout + done.stderr
    assert all(each.is_finished for each in the_sweep(lab, "joblib").runs())
