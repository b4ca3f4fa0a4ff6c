import logging
import time
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn
from typing_extensions import override

from alexnet.folders.disk import Cost, Disk
from alexnet.folders.run import RunDir

log = logging.getLogger(__name__)

# Skipped while memory is allocated, algorithms are chosen and the loader has prefetched batches.
SKIPPED_STEPS = 5
# Long enough to show the loader's pace, however many batches it had prefetched.
MEASURED_SECONDS = 10.0
MEASURED_STEPS = 5
LONG_SECONDS = 120.0  # shorter runs are not worth a line
# Validation needs only the forward pass of a batch; the backward pass of training takes twice as
# long.
VALIDATION_STEP = 1 / 3


class Forecast(Callback):
    """Reports early what a long run will cost: a line of the log, and `cost` in status.json.

    It is measured in the run's own first steps, after a warm-up, without further computation. Only
    the first process measures. It waits for its device at the beginning and the end of the
    measurement, and at the end of an epoch in between. The validation after every epoch is
    estimated: a step takes a third of a training step.

    `memory` returns the peak memory of the process in bytes.
    """

    skipped_steps = SKIPPED_STEPS
    measured_seconds = MEASURED_SECONDS
    measured_steps = MEASURED_STEPS

    def __init__(
        self,
        run: RunDir,
        *,
        disk: Disk,
        memory: Callable[[], float],
        may_end_earlier: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.run = run
        self.disk = disk
        self.may_end_earlier = may_end_earlier
        self._memory = memory
        self._clock = clock
        self._is_over = False
        self._to_skip = self.skipped_steps
        self._began: float | None = None  # within this epoch
        self._seconds = 0.0  # measured in the epochs before
        self._steps = self._images = 0

    @override
    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if self._is_over or not trainer.is_global_zero:
            return
        if self._to_skip:
            self._to_skip -= 1
        elif self._began is not None:
            self._steps += 1
            self._images += len(batch[0])
        if self._to_skip:
            return
        if self._began is None:
            if not trainer.is_last_batch:
                self._began = self._now(trainer)
            return
        seconds = self._seconds + self._clock() - self._began
        is_enough = seconds >= self.measured_seconds and self._steps >= self.measured_steps
        if is_enough or trainer.is_last_batch:
            self._seconds += self._now(trainer) - self._began
            self._began = None
        if is_enough:
            self._is_over = True
            self._tell(self._cost(trainer))

    def _now(self, trainer: pl.Trainer) -> float:
        """Return the time when the device has finished all work."""
        device = trainer.strategy.root_device
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        return self._clock()

    def _cost(self, trainer: pl.Trainer) -> Cost:
        in_epoch = int(trainer.num_training_batches)
        # In batches, of which several may make one step of the optimizer.
        ends = [
            (trainer.max_epochs or -1) * in_epoch,
            trainer.max_steps * trainer.accumulate_grad_batches,
        ]
        steps = min(each for each in ends if each >= 0)  # negative: no end
        done = trainer.fit_loop.total_batch_idx + 1
        validation = VALIDATION_STEP * sum(map(int, trainer.num_val_batches)) / in_epoch
        seconds_per_step = self._seconds / self._steps * (1 + validation)
        split = trainer.distributed_sampler_kwargs
        replicas = split["num_replicas"] if split else 1
        return Cost(
            images_per_second=self._images * replicas / self._seconds,
            seconds=seconds_per_step * (steps - done),
            seconds_in_all=seconds_per_step * steps,
            may_end_earlier=self.may_end_earlier,
            memory_bytes=self._memory(),
            processes=trainer.world_size,
            disk=self.disk,
        )

    def _tell(self, cost: Cost) -> None:
        if cost.seconds < LONG_SECONDS:
            return
        log.info("%s", cost.describe())
        self.run.write_status({**self.run.read_status(), "cost": cost.plain()})


class WarmUp(Forecast):
    """Reports the cost as soon as possible, however short the run: for the warm-up of plan=true."""

    skipped_steps = 2
    measured_seconds = 3.0
    measured_steps = 3

    @override
    def _tell(self, cost: Cost) -> None:
        self.run.write_status({**self.run.read_status(), "cost": cost.plain()})


def checkpoint_bytes(net: nn.Module) -> int:
    """Estimate the size of a checkpoint: every weight with its velocity."""
    return 2 * sum(weight.nbytes for weight in net.parameters())
