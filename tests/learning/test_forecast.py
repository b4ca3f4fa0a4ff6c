import logging
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from typing_extensions import override

from alexnet.data import Synthetic
from alexnet.folders.disk import Cost, Disk
from alexnet.folders.run import RunDir
from alexnet.learning import (
    ClassificationTask,
    ColumnParallelStrategy,
    Forecast,
    RunRecorder,
    checkpoint_bytes,
)
from alexnet.model import AlexNet, CifarNet
from tests.learning.processes import run_in_processes
from tests.learning.test_column_strategy import TINY

STEPS, VALIDATION_STEPS = 8, 2  # of an epoch: 32 images in batches of 4, and 8 to validate
# Five steps are skipped, and three of the first epoch and two of the second measured; what the
# first batch of an epoch took is not known.
TOLD_AFTER = 5 + 3 + 1 + 2


class Time(pl.Callback):
    """A clock by which a step of training takes 2 s, one of validation or a warm-up step 100 s."""

    def __init__(self, warm_up: int = 5) -> None:
        self.now = 0.0
        self.warm_up = warm_up

    @override
    def on_train_batch_end(self, *args: Any) -> None:
        self.now += 100 if self.warm_up > 0 else 2
        self.warm_up -= 1

    @override
    def on_validation_batch_end(self, *args: Any) -> None:
        self.now += 100


class StopWhenTold(pl.Callback):
    def __init__(self, forecast: Forecast) -> None:
        self.forecast = forecast

    @override
    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        # As the first process sees it: processes of a run stop together.
        if trainer.strategy.broadcast("cost" in self.forecast.run.read_status()):
            trainer.should_stop = True


def forecast(
    folder: Path, *, net: Any = None, may_end_earlier: bool = False, **trainer: Any
) -> dict[str, Any]:
    """The status of a run that ends, at the end of its epoch, when it has told its cost."""
    folder.mkdir(exist_ok=True)
    run, clock = RunDir(folder), Time()
    torch.manual_seed(0)
    net = net or CifarNet(init="he", normalization="none", image_size=8)
    data = Synthetic(num_images=32, num_classes=10, batch_size=4, size=8, image_size=net.image_size)
    teller = Forecast(
        run, disk=Disk(checkpoint=1000, there=0, free=5000), memory=lambda: 3e6,
        may_end_earlier=may_end_earlier, clock=lambda: clock.now,
    )  # fmt: skip
    lightning = pl.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, use_distributed_sampler=False,
        callbacks=[clock, RunRecorder(run), teller, StopWhenTold(teller)], **trainer,
    )  # fmt: skip
    lightning.fit(
        ClassificationTask(net, lr=0.01), datamodule=data,
        ckpt_path=run.whole_checkpoint(), weights_only=True,
    )  # fmt: skip
    return run.read_status()


def test_a_long_run_tells_its_pace_and_what_is_left_from_its_first_steps(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.INFO):
        cost = Cost.read(forecast(tmp_path, max_epochs=1000)["cost"])

    seconds_per_epoch = 2 * (STEPS + VALIDATION_STEPS / 3)
    assert cost.images_per_second == 4 / 2
    assert cost.seconds_in_all == pytest.approx(1000 * seconds_per_epoch)
    assert cost.seconds == pytest.approx((1000 - TOLD_AFTER / STEPS) * seconds_per_epoch)
    assert (cost.memory_bytes, cost.processes) == (3e6, 1)
    assert caplog.text.count("images/s, about 4.8 hours to go; memory 3 MB; checkpoints") == 1


def test_max_steps_and_an_error_to_stop_at_are_heeded(tmp_path: Path):
    status = forecast(tmp_path, max_epochs=1000, max_steps=500, may_end_earlier=True)

    cost = Cost.read(status["cost"])
    seconds_per_step = 2 * (1 + VALIDATION_STEPS / STEPS / 3)
    assert cost.seconds == pytest.approx((500 - TOLD_AFTER) * seconds_per_step)
    assert cost.may_end_earlier


def test_a_short_run_tells_nothing(tmp_path: Path):
    assert "cost" not in forecast(tmp_path, max_epochs=3)


def test_a_run_that_goes_on_tells_what_is_left_of_it(tmp_path: Path):
    forecast(tmp_path, max_epochs=2)

    cost = Cost.read(forecast(tmp_path, max_epochs=100)["cost"])

    seconds_per_epoch = 2 * (STEPS + VALIDATION_STEPS / 3)
    assert cost.seconds_in_all == pytest.approx(100 * seconds_per_epoch)
    assert cost.seconds == pytest.approx((98 - TOLD_AFTER / STEPS) * seconds_per_epoch)


@pytest.mark.parametrize("columns", [2, 1])
def test_of_two_processes_the_first_tells_for_both(tmp_path: Path, columns: int):
    run_in_processes(2, forecast_in_both, tmp_path, columns)

    cost = Cost.read(RunDir(tmp_path).read_status()["cost"])
    assert cost.images_per_second == 4 / 2  # of the global batch
    assert cost.processes == 2


def forecast_in_both(folder: Path, columns: int) -> None:
    net = AlexNet(**TINY | {"num_classes": 10})
    forecast(folder, net=net, strategy=ColumnParallelStrategy(columns), devices=2, max_epochs=20)


def test_the_checkpoint_that_is_reckoned_with_is_the_one_that_is_written(tmp_path: Path):
    forecast(tmp_path, max_epochs=1)

    net = CifarNet(init="he", normalization="none", image_size=8)
    written = RunDir(tmp_path).last_checkpoint.stat().st_size
    assert checkpoint_bytes(net) == pytest.approx(written, rel=0.1)
