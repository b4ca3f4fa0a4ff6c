import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from wandb.proto.wandb_internal_pb2 import Record

from alexnet.folders.ending import Stopped
from alexnet.folders.run import RunDir
from alexnet.folders.sweep import SweepDir
from alexnet.run.loggers import loggers_of
from tests.conftest import plan

FLAT = {"seed": 3, "model.nonlinearity": "relu", "experiment.section": "3.1"}


def records(file: Path) -> Iterator[Record]:
    """What an offline file holds: LevelDB's log format after a header of 7 bytes."""
    data, at, parts = file.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield Record.FromString(parts)
            parts = b""


def read_back(run: RunDir) -> list[list[Record]]:
    """The records of each session of a run, the earliest first."""
    files = sorted(
        run.path.glob("wandb/offline-run-*/*.wandb"), key=lambda file: file.stat().st_mtime
    )
    return [list(records(file)) for file in files]


def items(updates: Any) -> dict[str, Any]:
    return {each.key or "/".join(each.nested_key): json.loads(each.value_json) for each in updates}


def summary(session: list[Record]) -> dict[str, Any]:
    of_each = [each.summary.update for each in session if each.HasField("summary")]
    return items(update for updates in of_each for update in updates)


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


def session(run: RunDir, errors: dict[int, float], end: BaseException | None = None) -> None:
    entries = plan("logger=wandb")[0].config.logger
    with loggers_of(entries, run, experiment="relu_vs_tanh", config=FLAT) as loggers:
        for epoch, error in errors.items():
            row = {"epoch": epoch, "val/error": error}
            run.append_metrics(row)
            loggers[0].log_metrics(row, step=10 * epoch)
        if end:
            raise end


def test_a_wandb_run_says_what_it_is_and_is_continued_after_its_folder_has_moved(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WANDB_RUN_ID", "agent-7")  # as an agent sets it, for all runs of a sweep
    with pytest.raises(Stopped):
        session(run, {1: 0.5, 2: 0.2}, Stopped())
    shutil.move(tmp_path / "outputs", tmp_path / "moved")
    run = RunDir(tmp_path / "moved" / run.path.relative_to(tmp_path / "outputs"))
    session(run, {3: 0.4})

    first, second = read_back(run)
    began, resumed = (next(r.run for r in each if r.HasField("run")) for each in (first, second))
    assert began.run_id == resumed.run_id != "agent-7"
    assert began.run_group == "relu_vs_tanh/mnist5k-0123abcd"
    assert began.job_type == "train"
    assert list(began.tags) == ["relu_vs_tanh", "section 3.1"]
    config = items(began.config.update)
    assert config.items() >= {
        "arm": "relu", "factor": "model.nonlinearity", "seed": 3, "commit": "abc123",
        "hardware": {"cpu": "EPYC"}, "model.nonlinearity": "relu",
    }.items()  # fmt: skip
    axes = {r.metric.name: r.metric.step_metric for r in first if r.HasField("metric")}
    assert axes["val/error"] == axes["test/error"] == "epoch"
    assert axes["progress/train/error"] == "progress/epoch"
    history = [items(r.history.item) for r in (*first, *second) if r.HasField("history")]
    assert [(row["_step"], row["epoch"]) for row in history] == [(10, 1), (20, 2), (30, 3)]
    assert summary(first)["state"] == "stopped"
    assert summary(second)["state"] == "finished"
    assert summary(second)["best/val/error"] == 0.2  # of the session before
    assert [r.exit.exit_code for r in second if r.HasField("exit")] == [0]


def test_a_failed_run_is_marked_and_two_runs_have_ids_of_their_own(run: RunDir):
    with pytest.raises(RuntimeError):
        session(run, {1: 0.5}, RuntimeError("the loss is nan"))
    other = RunDir(run.path.with_name("nonlinearity-relu_seed-4"))
    other.path.mkdir()
    session(other, {1: 0.5})

    [failed], [good] = read_back(run), read_back(other)
    assert [r.exit.exit_code for r in failed if r.HasField("exit")] == [1]
    assert summary(failed)["state"] == "failed"
    assert summary(failed)["error"] == "RuntimeError: the loss is nan"
    ids = {next(r.run.run_id for r in each if r.HasField("run")) for each in (failed, good)}
    assert len(ids) == 2
