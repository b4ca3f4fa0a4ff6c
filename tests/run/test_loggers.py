import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from alexnet.config.experiment import Experiment
from alexnet.config.schema import Entries
from alexnet.folders.ending import Stopped
from alexnet.folders.run import RunDir
from alexnet.folders.sweep import SweepDir
from alexnet.run.loggers import log_picture, loggers_of
from tests.conftest import plan
from tests.run.offline import read_back

FLAT = {"seed": 3, "model.nonlinearity": "relu", "experiment.section": "3.1"}
EXPERIMENT = Experiment.model_validate(
    {
        "name": "relu_vs_tanh",
        "factor": ["model.nonlinearity"],
        "measure": {"kind": "epochs_to_error", "metric": "val/error", "threshold": 0.4},
        "effect": "ratio",
    }
)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunDir]:
    """A planned run of the arm relu with seed 3."""
    sweep = SweepDir(tmp_path / "outputs" / "relu_vs_tanh" / "mnist5k-0123abcd")
    run = sweep.run("nonlinearity-relu_seed-3")
    run.path.mkdir(parents=True)
    arm = {"model.nonlinearity": "relu"}
    sweep.write_plan({"experiment": {}, "runs": {run.name: {"arm": arm, "seed": 3}}})
    run.write_provenance({"commit": "abc123", "dirty": False, "hardware": {"cpu": "EPYC"}})
    with patch.dict(os.environ):  # W&B leaves variables behind; a run is a process of its own
        yield run


def entries(*overrides: str) -> Entries:
    return plan(*overrides)[0].config.logger


def session(
    run: RunDir,
    errors: Mapping[int, float],
    end: BaseException | None = None,
    *,
    logger: str = "wandb",
) -> None:
    """Train as if these were the validation errors by epoch."""
    with loggers_of(
        entries(f"logger={logger}"), run, experiment=EXPERIMENT, config=FLAT
    ) as loggers:
        for epoch, error in errors.items():
            row = {"epoch": epoch, "val/error": error}
            run.append_metrics(row)
            loggers[0].log_metrics(row, step=10 * epoch)
        if end:
            raise end
        run.write_result({"metrics": {"test/error": 0.25}})


def test_a_wandb_run_says_what_it_is_and_is_continued_after_its_folder_has_moved(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WANDB_RUN_ID", "agent-7")  # as one shell may have it for all runs
    with pytest.raises(Stopped):
        session(run, {1: 0.5, 2: 0.2}, Stopped())
    shutil.move(tmp_path / "outputs", tmp_path / "moved")
    run = RunDir(tmp_path / "moved" / run.path.relative_to(tmp_path / "outputs"))
    session(run, {3: 0.4})

    began, resumed = read_back(run.path)
    assert began.run.run_id == resumed.run.run_id != "agent-7"
    assert began.run.run_group == "relu_vs_tanh/mnist5k-0123abcd"
    assert began.run.job_type == "train"
    assert list(began.run.tags) == ["relu_vs_tanh", "section 3.1"]
    assert began.config.items() >= {
        "arm": "relu", "factor": "model.nonlinearity", "seed": 3, "commit": "abc123",
        "hardware": {"cpu": "EPYC"}, "model.nonlinearity": "relu",
    }.items()  # fmt: skip
    assert began.axes["val/error"] == began.axes["test/error"] == "epoch"
    assert began.axes["progress/train/error"] == "progress/epoch"
    epochs = {step: row["epoch"] for each in (began, resumed) for step, row in each.history.items()}
    assert epochs == {10: 1, 20: 2, 30: 3}
    assert (began.summary["state"], began.exit_code) == ("stopped", 1)
    assert (resumed.summary["state"], resumed.exit_code) == ("finished", 0)
    assert resumed.summary["best/val/error"] == 0.2  # of the session before
    # Half way from 50 % at epoch 1 to the 30 % that epochs 2 and 3 have on average.
    assert resumed.summary["measure"] == pytest.approx(1.5)
    assert resumed.summary["censored"] is False


def test_a_failed_run_says_why_and_two_runs_have_ids_of_their_own(run: RunDir):
    with pytest.raises(MemoryError):
        session(run, {1: 0.5}, MemoryError("no room for 2 GiB"))
    other = RunDir(run.path.with_name("nonlinearity-relu_seed-4"))
    other.path.mkdir()
    session(other, {1: 0.5})

    [failed], [good] = read_back(run.path), read_back(other.path)
    assert (failed.exit_code, good.exit_code) == (1, 0)
    assert failed.summary["state"] == "failed"
    assert failed.summary["cause"] == "out of memory"
    assert failed.summary["error"].startswith("MemoryError: no room for 2 GiB")
    assert "measure" not in failed.summary
    assert failed.run.run_id != good.run.run_id


def test_the_trial_of_an_agent_has_the_id_that_the_agent_waits_for(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WANDB_RUN_ID", "agent-7")
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep-1")
    session(run, {1: 0.5})

    assert read_back(run.path)[0].run.run_id == "agent-7"


def test_a_logger_that_cannot_be_made_does_not_leave_another_open(run: RunDir):
    both = entries(
        "logger=wandb",
        "+logger.later={_target_: tests.run.test_loggers.broken}",
        "allow=[tests.run.test_loggers.broken]",
    )
    with (
        pytest.raises(OSError, match="no server"),
        loggers_of(both, run, experiment=EXPERIMENT, config=FLAT),
    ):
        pass

    [ended] = read_back(run.path)
    assert (ended.exit_code, ended.summary["error"]) == (1, "OSError: no server")


def broken() -> Any:
    raise OSError("no server")


def test_an_end_that_cannot_be_told_does_not_fail_the_run(
    run: RunDir, caplog: pytest.LogCaptureFixture
):
    with patch("alexnet.run.loggers.finish", side_effect=ConnectionError("no network")):
        session(run, {1: 0.5})

    assert "could not be closed: no network" in caplog.text
    assert "sent" not in json.loads((run.path / "wandb.json").read_text())


def test_tensorboard_has_the_scalars_pictures_and_a_row_of_hyper_parameters(
    run: RunDir, tmp_path: Path
):
    Image.fromarray(np.full((4, 6, 3), 200, dtype=np.uint8)).save(picture := tmp_path / "k.png")
    with loggers_of(
        entries("logger=tensorboard"), run, experiment=EXPERIMENT, config=FLAT
    ) as loggers:
        for epoch, error in {1: 0.5, 2: 0.2, 3: 0.4}.items():
            run.append_metrics(row := {"epoch": epoch, "val/error": error})
            loggers[0].log_metrics(row, step=10 * epoch)
        log_picture(loggers, "kernels", picture, 30)
        run.write_result({"metrics": {"test/error": 0.25}})

    events = EventAccumulator(str(run.path / "tensorboard")).Reload()
    assert [(each.step, round(each.value, 6)) for each in events.Scalars("val/error")] == [
        (10, 0.5), (20, 0.2), (30, 0.4)
    ]  # fmt: skip
    [shown] = events.Images("pictures/kernels")
    assert (shown.step, shown.height, shown.width) == (30, 4, 6)
    assert events.Scalars("summary/measure")[0].value == pytest.approx(1.5)
    assert events.Scalars("summary/test/error")[0].value == 0.25
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    started = HParamsPluginData.FromString(content).session_start_info
    assert started.hparams["model.nonlinearity"].string_value == "relu"
    content = events.SummaryMetadata("_hparams_/experiment").plugin_data.content
    columns = HParamsPluginData.FromString(content).experiment.metric_infos
    assert "summary/measure" in {each.name.tag for each in columns}
