import math
import resource
import signal
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from alexnet.crossing import epochs_to_error
from alexnet.data import Synthetic
from alexnet.folders.run import RunDir
from alexnet.learning import ClassificationTask, Diverged, RunRecorder
from alexnet.learning.recording import _rounded
from alexnet.model import CifarNet

STEPS = 20  # of an epoch: 80 images in batches of 4


def fit(
    folder: Path,
    *,
    lr: float = 0.01,
    stop_at: float | None = None,
    num_images: int = 80,
    callback: pl.Callback | None = None,
    **trainer: Any,
) -> RunDir:
    run = RunDir(folder)
    torch.manual_seed(0)
    data = Synthetic(num_images=num_images, batch_size=4, size=8, image_size=8)
    net = CifarNet(init="he", normalization="none", image_size=8)
    task = ClassificationTask(net, lr=lr, about={"class_names": list(data.class_names)})
    pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[
            *([callback] if callback else []),
            RunRecorder(run, stop_at_train_error=stop_at),
        ],
        **trainer,
    ).fit(task, datamodule=data)
    return run


def test_metrics_have_a_row_per_epoch_and_progress_has_ten(tmp_path: Path):
    run = fit(tmp_path, max_epochs=2)

    assert [row["epoch"] for row in run.read_metrics()] == [1, 2]
    progress = run.read_progress()
    assert len(progress) == 20
    assert [row["epoch"] for row in progress[:3]] == [0.1, 0.2, 0.3]
    assert [row["images"] for row in progress[:3]] == [8, 16, 24]


def test_rows_of_progress_are_of_equal_length_to_a_batch(tmp_path: Path):
    # 23 batches do not divide by ten; the last row must not be a short one, whose error is noise.
    run = fit(tmp_path, max_epochs=1, limit_train_batches=23, num_images=92)

    ends = [0.0, *(row["images"] for row in run.read_progress())]
    lengths = [after - before for before, after in pairwise(ends)]
    assert len(lengths) == 10
    assert set(lengths) == {8, 12}


def test_the_error_of_an_epoch_is_the_mean_over_its_images(tmp_path: Path):
    run = fit(tmp_path, max_epochs=1)

    [epoch], progress = run.read_metrics(), run.read_progress()
    counted = [row["train/error"] * 8 for row in progress]
    assert epoch["train/error"] == pytest.approx(sum(counted) / 80)
    assert all(count == round(count) for count in counted)


def test_a_run_stops_an_epoch_after_it_has_crossed_and_ends_whole(tmp_path: Path):
    run = fit(tmp_path, max_epochs=50, stop_at=0.25)

    progress, last = run.read_progress(), run.read_metrics()[-1]
    epochs, errors = ([row[key] for row in progress] for key in ("epoch", "train/error"))
    at, is_censored = epochs_to_error(epochs, errors, threshold=0.25)
    assert not is_censored
    assert 1.0 <= epochs[-1] - at < 1.2
    more = epochs_to_error([*epochs, 99], [*errors, 0.9], threshold=0.25)
    assert more == (at, False)  # the run has all rows that the measure needs
    assert last["epoch"] == pytest.approx(progress[-1]["epoch"])
    assert 0 <= last["val/error"] <= 1
    assert run.last_checkpoint.exists()


def test_max_steps_inside_an_epoch_ends_with_a_validation_a_row_and_a_checkpoint(tmp_path: Path):
    run = fit(tmp_path, max_epochs=5, max_steps=STEPS + 3)

    assert [row["epoch"] for row in run.read_metrics()] == pytest.approx([1, 1 + 3 / 20])
    checkpoint = torch.load(run.last_checkpoint, weights_only=True)
    assert checkpoint["global_step"] == STEPS + 3


def test_checkpoints_are_plain_data_and_say_what_they_are(tmp_path: Path):
    run = fit(tmp_path, max_epochs=1)

    checkpoint = torch.load(run.last_checkpoint, weights_only=True)

    assert set(checkpoint["state_dict"]) >= {"net.conv1.weight", "net.fc4.bias"}
    assert checkpoint["class_names"][0] == "class 0"


def test_the_loss_is_that_of_the_logits(tmp_path: Path):
    run = fit(tmp_path, max_epochs=6, lr=0.02)

    # Of probabilities in the place of logits no loss of ten classes is lower.
    least_of_a_second_softmax = math.log(math.e + 9) - 1
    assert run.read_metrics()[-1]["train/loss"] < 0.5 * least_of_a_second_softmax


@pytest.mark.parametrize("lr", [0.02, 1e-12])  # the latter learns nothing: the first stays the best
def test_the_best_checkpoint_is_the_one_with_the_lowest_validation_error(lr: float, tmp_path: Path):
    run = fit(tmp_path, max_epochs=4, lr=lr)

    errors = [row["val/error"] for row in run.read_metrics()]
    best = torch.load(run.best_checkpoint, weights_only=True)
    assert best["global_step"] == STEPS * (1 + errors.index(min(errors)))


def test_a_loss_that_is_not_finite_ends_the_run_at_once(tmp_path: Path):
    with pytest.raises(Diverged, match=r"loss is (nan|inf).*try a lower learning.lr"):
        fit(tmp_path, max_epochs=3, lr=1e12)

    assert len(RunDir(tmp_path).read_progress()) < 20


class BreakLastUpdate(pl.Callback):
    """After the last update of the epoch, weights are not finite: no loss has seen it yet."""

    def on_train_batch_end(self, trainer: pl.Trainer, task: pl.LightningModule, *_: Any) -> None:
        if trainer.is_last_batch:
            next(task.parameters()).data.fill_(math.nan)


def test_weights_that_are_not_finite_after_the_last_update_end_the_run(tmp_path: Path):
    run = RunDir(tmp_path)

    with pytest.raises(Diverged, match="weights are not finite after epoch 1"):
        fit(tmp_path, max_epochs=1, callback=BreakLastUpdate())

    assert not run.read_metrics()
    assert not run.last_checkpoint.exists()


def test_counts_of_images_are_written_in_full(tmp_path: Path):
    assert _rounded({"images": 115_312_345, "train/error": 0.30000001192092896}) == {
        "images": 115_312_345,
        "train/error": 0.3,
    }


def test_checkpoints_are_written_beside_their_target_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    nowhere = tmp_path / "no room here"
    monkeypatch.setattr(tempfile, "tempdir", str(nowhere))

    run = fit(tmp_path, max_epochs=1)

    assert run.whole_checkpoint() == run.last_checkpoint
    assert {file.name for file in run.last_checkpoint.parent.iterdir()} == {
        "best.ckpt",
        "last.ckpt",
    }


def test_a_checkpoint_that_finds_no_room_leaves_nothing_and_says_so(tmp_path: Path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
        with pytest.raises(OSError, match="File too large"):
            fit(tmp_path, max_epochs=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)

    assert not list((tmp_path / "checkpoints").iterdir())
