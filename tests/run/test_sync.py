import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from alexnet.cli.sync import main
from alexnet.folders.sweep import SweepDir
from tests.conftest import Train, the_sweep
from tests.results.handmade import RELU_VS_TANH, Run, falling, write_csv, write_json, write_sweep
from tests.run.offline import read_back

RELU, TANH = {"model.nonlinearity": "relu"}, {"model.nonlinearity": "tanh"}


@pytest.fixture(autouse=True)
def offline() -> Iterator[None]:
    """Keep W&B offline, and restore the environment variables that it sets."""
    with patch.dict(os.environ, WANDB_MODE="offline"):
        yield


def test_a_run_that_is_sent_afterwards_is_the_run_that_was_logged_live(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    done = train(
        "+experiment=relu_vs_tanh", "+debug=smoke", "data=synthetic", "model.nonlinearity=relu",
        "logger=wandb",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    [run] = the_sweep(tmp_path / "outputs").runs()
    [live] = read_back(run.path)
    assert main([str(run.path.parent)]) == 0
    assert "nothing new" in capsys.readouterr().out
    shutil.rmtree(run.path / "wandb")
    (run.path / "wandb.json").unlink()

    assert main([str(run.path.parent)]) == 0

    [sent] = read_back(run.path)
    assert sent.run.display_name == live.run.display_name == run.name
    assert (sent.run.run_group, list(sent.run.tags)) == (live.run.run_group, list(live.run.tags))
    assert sent.axes.items() <= live.axes.items()
    assert {key: sent.config[key] for key in live.config} == live.config
    assert list(sent.history) == list(live.history)
    for step, row in live.history.items():
        numbers = {key: value for key, value in row.items() if isinstance(value, int | float)}
        pictures = {key: row[key]["count"] for key in row.keys() - numbers.keys()}
        assert {key: sent.history[step][key] for key in numbers} == pytest.approx(numbers, rel=1e-6)
        assert {key: sent.history[step][key]["count"] for key in pictures} == pictures
        assert row.keys() == sent.history[step].keys()
    at_the_end = live.history[max(live.history)]
    assert {key for key in at_the_end if key.startswith("pictures/")} == {
        "pictures/kernels", "pictures/figure_4_left", "pictures/confusion"
    }  # fmt: skip
    assert sum("pictures/kernels" in row for row in live.history.values()) == 2  # epochs
    assert sent.summary["measure"] == live.summary["measure"] == 2.0
    assert sent.summary["censored"] is live.summary["censored"] is True
    assert sent.exit_code == live.exit_code == 0
    # The matrix counts every test image once.
    error = run.read_result()["metrics"]["test/error"]
    said = re.search(r"([\d.]+) % of them", (run.pictures / "confusion.svg").read_text())
    assert said is not None
    assert float(said[1]) == pytest.approx(100 * error, abs=0.05)


@pytest.fixture
def sweep(tmp_path: Path) -> SweepDir:
    """Without W&B: a finished run, one in its second epoch, a failed one, a planned one."""
    runs = [
        Run(arm=RELU, progress=falling(2), val_errors=[0.3] * 10, metrics={"test/error": 0.2}),
        Run(arm=TANH, progress=falling(8)[:3], val_errors=[0.5], state="running"),
        Run(arm=TANH, seed=1, progress=falling(8)[:2], val_errors=[0.5], state="failed"),
        Run(arm=RELU, seed=1, state=None),
    ]
    sweep = SweepDir(write_sweep(tmp_path / "cifar10-0123abcd", RELU_VS_TANH, runs))
    for name, status in {
        "nonlinearity-relu_seed-0": {"state": "finished", "step": 100, "epoch": 10},
        "nonlinearity-tanh_seed-0": {
            "state": "running", "step": 10, "epoch": 1, "pid": os.getpid(),
        },
        "nonlinearity-tanh_seed-1": {
            "state": "failed", "step": 10, "epoch": 1, "cause": "killed", "error": "by signal 9",
        },
    }.items():  # fmt: skip
        write_json(sweep.run(name).status, status)
    return sweep


def test_only_what_is_missing_is_sent(sweep: SweepDir, capsys: pytest.CaptureFixture[str]):
    assert main([str(sweep.path)]) == 0
    finished, running, failed, planned = sweep.runs()
    [first] = read_back(finished.path)
    assert list(first.history) == list(range(5, 105, 5))  # half epochs of 10 updates
    assert first.history[100]["test/error"] == 0.2
    assert first.history[100]["val/error"] == 0.3
    assert first.summary["measure"] == pytest.approx(2.0)
    [marked] = read_back(failed.path)
    assert (marked.exit_code, marked.summary["cause"]) == (1, "killed")
    assert marked.summary["error"] == "by signal 9"
    [begun] = read_back(running.path)
    assert list(begun.history) == [5, 10]  # not the last row: more may belong to its step
    assert begun.summary["state"] == "running"
    assert not planned.path.exists()
    assert "not started" in capsys.readouterr().out

    write_csv(
        running.progress,
        ["epoch", "images", "train/loss", "train/error"],
        [(epoch, 100 * epoch, 1.0, error) for epoch, error in falling(8, end=2.0)],
    )
    write_json(running.path / "result.json", {"metrics": {"test/error": 0.4}})
    write_json(running.status, {"state": "finished", "step": 20, "epoch": 2})
    assert main([str(sweep.path)]) == 0
    assert main([str(sweep.path)]) == 0

    for unchanged in (finished, failed):
        assert len(read_back(unchanged.path)) == 1
    begun, rest = read_back(running.path)
    assert rest.run.run_id == begun.run.run_id
    assert list(rest.history) == [15, 20]
    assert rest.summary["state"] == "finished"


def test_the_report_is_a_run_of_its_own(sweep: SweepDir):
    main([str(sweep.path)])
    main([str(sweep.path)])

    [report] = read_back(sweep.path)
    assert report.run.job_type == "report"
    assert report.run.run_group == read_back(next(sweep.runs()).path)[0].run.run_group
    [row] = report.history.values()
    assert row.keys() >= {"tables/arms", "tables/effects", "figures/learning_curves", "report"}
    [table] = sweep.path.glob("wandb/offline-run-*/files/media/table/tables/arms*.json")
    content = json.loads(table.read_text())
    assert content["columns"][:3] == ["model.nonlinearity", "n", "epochs to 25 % training error"]
    assert content["data"][0][:3] == ["relu", "1", "2.0"]
    assert "too few finished runs" in report.summary["verdict"]


def test_a_damaged_run_does_not_keep_the_others_from_being_sent(
    sweep: SweepDir, capsys: pytest.CaptureFixture[str]
):
    damaged, running, *_ = sweep.runs()
    damaged.status.write_text("{")

    assert main([str(sweep.path)]) == 1

    assert f"{damaged.status} is damaged" in capsys.readouterr().out
    assert read_back(running.path)


@pytest.mark.parametrize(
    ("folder", "mode", "message"),
    [("nowhere", "offline", "is not a folder"), (".", "disabled", "WANDB_MODE=disabled")],
)
def test_a_wrong_command_is_answered(
    folder: str, mode: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with patch.dict(os.environ, WANDB_MODE=mode), pytest.raises(SystemExit) as ended:
        main([str(tmp_path / folder)])

    assert ended.value.code == 2
    assert message in capsys.readouterr().err
