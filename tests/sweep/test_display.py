"""Messages about runs that continue or whose files are damaged."""

import logging
from pathlib import Path

import pytest

from alexnet.folders.run import RunDir
from alexnet.sweep.display import Display


def row(epoch: float) -> dict[str, float]:
    return {"epoch": epoch, "train/error": 0.5, "val/error": 0.5, "images_per_second": 1.0}


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "alexnet.sweep")
    return caplog


def test_epochs_are_told_after_rows_were_taken_back(
    tmp_path: Path, lines: pytest.LogCaptureFixture
):
    run, display = RunDir(tmp_path / "seed-0"), Display(total=1)
    run.path.mkdir()
    for epoch in (1, 1.5):
        run.append_metrics(row(epoch))
    display.started(run, 2)

    run.take_back(epochs=1, images=0)
    display.update([run])
    run.append_metrics(row(2))
    display.update([run])

    assert "seed-0: epoch 2 of 2" in lines.text
    assert "epoch 1 of 2" not in lines.text


def test_a_run_whose_rows_cannot_be_read_hides_no_other(
    tmp_path: Path, lines: pytest.LogCaptureFixture
):
    damaged, sound = RunDir(tmp_path / "seed-0"), RunDir(tmp_path / "seed-1")
    for run in (damaged, sound):
        run.path.mkdir()
    damaged.metrics.write_bytes(b"epoch\nnever\n")
    damaged.status.mkdir()
    display = Display(total=2)
    for run in (damaged, sound):
        display.started(run, 2)

    sound.append_metrics(row(1))
    display.update([damaged, sound])

    assert "seed-1: epoch 1 of 2" in lines.text
