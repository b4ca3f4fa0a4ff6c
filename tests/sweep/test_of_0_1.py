"""A sweep that version 0.1 has written: one run finished, one stopped half-way, two not begun.

of_0_1/sweep.tar.xz is `+experiment=relu_vs_tanh data=mnist5k seed=0,1 trainer.threads=1`, without
what is not needed to go on; of_0_1/searches/ has the rates of then.
"""

import shutil
from pathlib import Path

import pytest
import torch

from alexnet.config.check import load
from alexnet.folders.run import RunDir
from alexnet.folders.sweep import SweepDir
from tests.conftest import run_train

OF_0_1 = Path(__file__).parent / "of_0_1"
COMMAND = (
    "--config-dir", str(OF_0_1), "+experiment=relu_vs_tanh", "searches=[rates_of_0_1]",
    "data=mnist5k", "trainer.threads=1",
)  # fmt: skip
HALF_DONE = "nonlinearity-relu_seed-1"


@pytest.fixture
def sweep(tmp_path: Path) -> SweepDir:
    shutil.unpack_archive(OF_0_1 / "sweep.tar.xz", tmp_path)
    return SweepDir(tmp_path / "relu_vs_tanh" / "mnist5k-b78cc158")


def test_a_configuration_of_0_1_is_read_forward(sweep: SweepDir):
    config = load(sweep.run(HALF_DONE).config)

    assert config.rates == {
        "source_2012": {"relu": 0.002, "tanh": 0.016},
        "he": {"relu": 0.01, "tanh": 0.01},
    }
    assert config.logger.items() == config.callbacks.items() == []


def test_the_same_command_goes_on_in_the_folder_of_0_1(sweep: SweepDir, tmp_path: Path):
    before = sweep.run("nonlinearity-relu_seed-0").read_result()

    done = run_train(tmp_path, *COMMAND, "seed=0,1", "model.nonlinearity=relu")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "finished before: nonlinearity-relu_seed-0" in done.stdout
    assert "resuming from" in sweep.run(HALF_DONE).log.read_text()
    assert sweep.run(HALF_DONE).is_finished
    assert sweep.run("nonlinearity-relu_seed-0").read_result() == before
    assert [folder.name for folder in sweep.path.parent.iterdir()] == [sweep.path.name]


@pytest.mark.slow
def test_all_of_it_is_finished_and_the_half_done_run_ends_as_if_never_stopped(
    sweep: SweepDir, tmp_path: Path
):
    done = run_train(tmp_path, *COMMAND, "seed=0,1")
    run_train(tmp_path / "anew", *COMMAND, "seed=1", "model.nonlinearity=relu")

    assert done.returncode == 0, done.stdout + done.stderr
    assert all(run.is_finished for run in sweep.runs())
    [anew] = (tmp_path / "anew").glob("*/*/*/result.json")
    for name, weight in weights(RunDir(anew.parent)).items():
        # Bit for bit on one machine. The half that is stored was trained on another processor,
        # which adds in another order.
        torch.testing.assert_close(weights(sweep.run(HALF_DONE))[name], weight, rtol=0, atol=1e-3)


def weights(run: RunDir) -> dict[str, torch.Tensor]:
    return torch.load(run.last_checkpoint, weights_only=True)["state_dict"]
