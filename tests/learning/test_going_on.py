"""A run that was killed anywhere and goes on is the run that never stopped, bit for bit."""

import itertools
import shutil
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from torch import nn
from typing_extensions import override

from alexnet.data import MNIST5k, Synthetic
from alexnet.folders.ending import Stopped
from alexnet.folders.run import RunDir
from alexnet.learning import ClassificationTask, RunRecorder, StopOnSignal
from alexnet.learning.recording import Position
from alexnet.model import CifarNet, Dropout

from .small import BATCHES, EPOCH_END, Net, Plain, Watch, assert_same_run, fit, weights_of

SWEEP_OF_0_1 = Path(__file__).parents[1] / "sweep" / "of_0_1" / "sweep.tar.xz"
OLD_RUN = "relu_vs_tanh/mnist5k-b78cc158/nonlinearity-relu_seed-1"


def stopping_early() -> EarlyStopping:
    # The error never improves by 1, so that the run ends after the second epoch without progress.
    return EarlyStopping("val/error", min_delta=1.0, patience=2)


@pytest.mark.parametrize(
    "stop_after", [(0, EPOCH_END), (1, 1), (1, EPOCH_END), (2, 0), (2, EPOCH_END)]
)
def test_early_stopping_counts_on_and_a_run_that_it_ended_trains_no_further(
    tmp_path: Path, stop_after: tuple[int, int]
):
    whole, first, second = Watch(), Watch(stop_after), Watch()
    expected = fit(tmp_path / "whole", watch=whole, callbacks=[stopping_early()], max_epochs=9)

    for watch in (first, second):
        run = fit(tmp_path / "killed", watch=watch, callbacks=[stopping_early()], max_epochs=9)

    assert len(whole.rates) == 3 * BATCHES
    assert first.rates.keys() | second.rates.keys() == whole.rates.keys()
    assert_same_run(run, expected)


@pytest.mark.parametrize("steps", [2 * BATCHES, 2 * BATCHES + 1])
def test_a_run_that_max_steps_ended_is_trained_longer_with_what_early_stopping_knew(
    tmp_path: Path, steps: int
):
    expected = fit(tmp_path / "whole", callbacks=[stopping_early()], max_epochs=9)

    fit(tmp_path / "longer", callbacks=[stopping_early()], max_epochs=9, max_steps=steps)
    run = fit(tmp_path / "longer", callbacks=[stopping_early()], max_epochs=9)

    assert_same_run(run, expected)


@pytest.mark.parametrize("stop_after", [(0, 2), (2, EPOCH_END), (3, 1), (4, 0)])
def test_a_run_killed_before_its_crossing_is_confirmed_stops_where_it_would_have(
    tmp_path: Path, stop_after: tuple[int, int]
):
    settings: dict[str, Any] = {"stop_at": 0.7, "learning": {"lr": 0.001}, "max_epochs": 9}
    expected = fit(tmp_path / "whole", **settings)

    for watch in (Watch(stop_after), Watch(), Watch()):  # the third finds nothing left to train
        run = fit(tmp_path / "killed", watch=watch, **settings)

    assert not watch.batches
    assert 4 < expected.read_progress()[-1]["epoch"] < 9
    assert_same_run(run, expected)
    fits = [recorded(each)["position"]["fit"] for each in (run, expected)]
    assert fits[0] == fits[1] != ()


def recorded(run: RunDir) -> dict[str, Any]:
    return torch.load(run.last_checkpoint, weights_only=True)["callbacks"]["RunRecorder"]


class EndAt(pl.Callback):
    """Ends the run inside an epoch, as a user's callback may."""

    @override
    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        trainer.should_stop = trainer.global_step == BATCHES + 2


def test_a_run_that_a_callback_ended_inside_an_epoch_ends_whole_and_stays_ended(tmp_path: Path):
    run = fit(tmp_path, callbacks=[EndAt()])
    rows, weights = run.read_metrics(), weights_of(run)

    fit(tmp_path, callbacks=[EndAt()])

    assert [row["epoch"] for row in rows] == [1, 1.5]
    assert run.read_metrics() == rows
    assert all(torch.equal(weight, weights[name]) for name, weight in weights_of(run).items())


def test_early_stopping_that_looks_inside_an_epoch_ends_the_run_there(tmp_path: Path):
    run = fit(tmp_path, callbacks=[stopping_early()], val_check_interval=2)

    # Validations after 2, 4 and 6 batches: the first is the best, two more do not improve.
    assert [row["epoch"] for row in run.read_metrics()] == [1, 1.5]


def dropped() -> Net:
    return Net(dropout=0.5)


@pytest.mark.parametrize("stop_after", [(0, EPOCH_END), (1, 1), (1, EPOCH_END), (2, 2)])
def test_a_data_module_without_start_at_goes_on_from_the_end_of_an_epoch(
    tmp_path: Path, stop_after: tuple[int, int]
):
    whole, first, second = Watch(), Watch(stop_after), Watch()
    expected = fit(tmp_path / "whole", watch=whole, make_net=dropped, data=Plain())

    for watch in (first, second):
        run = fit(tmp_path / "killed", watch=watch, make_net=dropped, data=Plain())

    assert {**first.batches, **second.batches} == whole.batches  # the same order
    assert min(second.batches)[1] == 0
    assert_same_run(run, expected)


class Signalled(StopOnSignal):
    """Has received SIGTERM from the given batch on."""

    def __init__(self, recorder: RunRecorder, at: int) -> None:
        super().__init__(recorder)
        self.at = at

    @override
    def _is_told(self, trainer: pl.Trainer) -> bool:
        return trainer.fit_loop.total_batch_idx >= self.at


@pytest.mark.parametrize(("data", "done"), [(None, 2), (Plain(), 1)], ids=["ours", "plain"])
def test_a_signal_waits_for_accumulated_gradients_if_a_checkpoint_can_be_written(
    tmp_path: Path, data: Any, done: int
):
    # Batches 5 and 6 of the run, the first two of the second epoch, make one step.
    run = RunDir(tmp_path)
    recorder, watch = RunRecorder(run), Watch()
    torch.manual_seed(0)
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        num_sanity_val_steps=0, use_distributed_sampler=False, max_epochs=3,
        accumulate_grad_batches=2, callbacks=[recorder, watch, Signalled(recorder, at=BATCHES)],
    )  # fmt: skip
    data = data or Synthetic(num_images=32, batch_size=8, size=8, image_size=8, num_classes=10)
    with pytest.raises(Stopped):
        trainer.fit(ClassificationTask(Net()), datamodule=data)

    assert max(watch.batches) == (1, done - 1)
    saved = torch.load(run.last_checkpoint, weights_only=True)
    assert saved["global_step"] == (3 if done == 2 else 2)


class SignalledInValidation(StopOnSignal):
    """Receives SIGTERM during the first validation batch of the second epoch, once."""

    validated = 0

    def __init__(self) -> None:
        super().__init__(recorder=None)  # type: ignore[arg-type]  # it is not asked for anything

    @override
    def _is_told(self, trainer: pl.Trainer) -> bool:
        self.validated += trainer.validating
        return trainer.validating and trainer.current_epoch == 1


def test_a_signal_stops_a_validation_at_its_next_batch_and_the_run_goes_on_exactly(
    tmp_path: Path,
):
    def data() -> Synthetic:  # with two batches of validation
        return Synthetic(num_images=64, batch_size=8, size=8, image_size=8, num_classes=10)

    signalled = SignalledInValidation()
    expected = fit(tmp_path / "whole", data=data())

    fit(tmp_path / "stopped", data=data(), callbacks=[signalled])
    assert signalled.validated == 2 + 1
    run = fit(tmp_path / "stopped", data=data())

    assert_same_run(run, expected)


def test_a_run_that_is_stopped_in_a_validation_has_one_batch_to_do_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    clock = itertools.count(0, 61)  # a minute between any two looks
    monkeypatch.setattr("alexnet.learning.recording.time.monotonic", lambda: next(clock))

    fit(tmp_path, max_epochs=2, callbacks=[SignalledInValidation()])

    saved = torch.load(RunDir(tmp_path).last_checkpoint, weights_only=True)
    position = saved["callbacks"]["RunRecorder"]["position"]
    assert (position["epoch"], position["step"]) == (1, BATCHES - 1)


@pytest.mark.parametrize("stop_after", [(0, 1), (0, EPOCH_END), (1, 2), (1, 3)])
def test_a_run_that_accumulates_gradients_goes_on_where_none_are_lost(
    tmp_path: Path, stop_after: tuple[int, int]
):
    expected = fit(tmp_path / "whole", accumulate_grad_batches=2)

    for watch in (Watch(stop_after), Watch()):
        run = fit(tmp_path / "killed", watch=watch, accumulate_grad_batches=2)

    assert_same_run(run, expected)


class Dropping(nn.Module):
    """Keeps what seeded the masks of each batch."""

    def __init__(self) -> None:
        super().__init__()
        self.drop, self.fc = Dropout(0.5), nn.Linear(3 * 8 * 8, 10)
        self.keys: list[int | None] = []

    @override
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.keys.append(self.drop.key)
        return self.fc(self.drop(images.flatten(1)))


def test_batches_whose_gradients_are_accumulated_do_not_share_dropout_masks(tmp_path: Path):
    alone, accumulated = Dropping(), Dropping()

    fit(tmp_path / "alone", make_net=lambda: alone)
    fit(tmp_path / "accumulated", make_net=lambda: accumulated, accumulate_grad_batches=2)

    assert len(set(accumulated.keys)) == 3 * BATCHES
    assert accumulated.keys == alone.keys


def test_epochs_without_a_validation_leave_its_columns_blank(tmp_path: Path):
    run = fit(tmp_path, max_epochs=2, check_val_every_n_epoch=2)

    first, second = run.read_metrics()
    assert first["val/error"] != first["val/error"]
    assert 0 <= second["val/error"] <= 1


def test_a_position_of_0_1_and_one_of_a_later_version_can_be_read():
    old = {"epoch": 3, "images": 7, "has_crossed": True, "metrics_bytes": 9, "progress_bytes": 9}

    assert Position.read(old) == Position(epoch=3, images=7, has_crossed=True, is_over=True)
    assert Position.read({"epoch": 3, "of_version_9": 1}) == Position(epoch=3)


@pytest.mark.parametrize("is_over", [True, False])
def test_a_half_done_run_of_0_1_goes_on(tmp_path: Path, is_over: bool):
    shutil.unpack_archive(SWEEP_OF_0_1, tmp_path)
    run = RunDir(tmp_path / OLD_RUN)
    rows = run.read_metrics()
    if not is_over:  # as if it had been killed before its training error fell to 25 %
        checkpoint = torch.load(run.last_checkpoint, weights_only=True)
        checkpoint["callbacks"]["RunRecorder"]["position"]["has_crossed"] = False
        torch.save(checkpoint, run.last_checkpoint)
    torch.manual_seed(1)
    net = CifarNet(init="source_2012", normalization="none", num_classes=10)
    watch = Watch()
    pl.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        num_sanity_val_steps=0, use_distributed_sampler=False, max_epochs=60, max_steps=60,
        limit_val_batches=1, callbacks=[RunRecorder(run, stop_at_train_error=0.25), watch],
    ).fit(
        ClassificationTask(net, lr=0.002),
        datamodule=MNIST5k(batch_size=128, image_size=32, seed=1),
        ckpt_path=run.last_checkpoint,
        weights_only=True,
    )  # fmt: skip

    if is_over:
        assert not watch.batches
        assert run.read_metrics() == rows
        return
    assert list(watch.batches) == [(1, 26), (1, 27)]  # of the 58 steps before, 32 were an epoch
    assert [row["epoch"] for row in run.read_metrics()] == [1, 1.875]
    images = [row["images"] for row in run.read_progress()]
    assert images == sorted(set(images))
