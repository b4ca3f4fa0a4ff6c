import logging
import math
import os
import time
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from typing_extensions import override

from alexnet import factors
from alexnet.learning.task import ClassificationTask
from alexnet.rundir import Row, RunDir

log = logging.getLogger(__name__)

PROGRESS_ROWS_PER_EPOCH = 10


class Diverged(RuntimeError):
    """The loss is no longer finite: nothing that follows would mean anything."""


class RunRecorder(Callback):
    """Writes a run's folder: progress.csv, metrics.csv, status.json and checkpoints.

    progress.csv has ten rows an epoch, so that the crossing of an error can be read off more finely
    than by epochs. A run that ends inside an epoch, by max_steps or because the training error has
    fallen to `stop_at_train_error`, still ends with a validation, a row of metrics and checkpoints.
    Raises Diverged when the loss is not finite.
    """

    def __init__(self, run: RunDir, *, stop_at_train_error: float | None = None) -> None:
        self.run = run
        self.stop_at_train_error = stop_at_train_error
        self.images = 0
        self.seconds = 0.0
        self.training_seconds = 0.0
        self.best_error = math.inf

    @override
    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._epoch_began = time.monotonic()
        self._epoch = _Sums()

    @override
    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        # Lightning validates before it stops only if it is told that it should stop.
        if trainer.global_step == trainer.max_steps:
            trainer.should_stop = True
        batches, done = int(trainer.num_training_batches), batch_idx + 1
        interval = max(1, batches // PROGRESS_ROWS_PER_EPOCH)
        if done % interval == 0 or done == batches or trainer.should_stop:
            self._end_row(trainer, pl_module, epoch=trainer.current_epoch + done / batches)

    @override
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.seconds += time.monotonic() - self._epoch_began
        row: Row = {
            "epoch": self._epoch.end,
            factors.TRAIN_LOSS: self._epoch.loss / self._epoch.images,
            factors.TRAIN_ERROR: self._epoch.wrong / self._epoch.images,
            factors.VAL_LOSS: metrics[factors.VAL_LOSS],
            factors.VAL_ERROR: metrics[factors.VAL_ERROR],
            factors.VAL_ERROR_TOP5: metrics[factors.VAL_ERROR_TOP5],
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
            "seconds": round(self.seconds, 3),
            "images_per_second": round(self._epoch.images / self._epoch.seconds, 1),
        }
        self._save(trainer, row)
        if not trainer.is_global_zero:
            return
        self.run.append_metrics(_rounded(row))
        self.run.write_status(
            {**self.run.read_status(), "epoch": row["epoch"], "updated": time.time()}
        )
        for logger in trainer.loggers:
            logger.log_metrics(row, step=trainer.global_step)
        log.info(
            "epoch %g of %d: training error %.1f %%, validation error %.1f %%, %.0f images/s",
            round(row["epoch"], 2), trainer.max_epochs, 100 * row[factors.TRAIN_ERROR],
            100 * row[factors.VAL_ERROR], row["images_per_second"],
        )  # fmt: skip

    def _end_row(self, trainer: pl.Trainer, task: pl.LightningModule, *, epoch: float) -> None:
        assert isinstance(task, ClassificationTask)
        loss, error = task.train_loss.compute().item(), task.train_error.compute().item()
        images = int(task.train_error.total)
        task.train_loss.reset()
        task.train_error.reset()
        if not math.isfinite(loss):
            raise Diverged(
                f"the training loss is {loss} at epoch {epoch:.2f} (learning rate "
                f"{trainer.optimizers[0].param_groups[0]['lr']:g}): try a lower learning.lr"
            )
        self.images += images
        self._epoch.add(loss, error, images, end=epoch)
        self._epoch.seconds = time.monotonic() - self._epoch_began
        if self.stop_at_train_error is not None and error <= self.stop_at_train_error:
            trainer.should_stop = True
        if not trainer.is_global_zero:
            return
        row = {
            "epoch": round(epoch, 6),
            "images": self.images,
            factors.TRAIN_LOSS: loss,
            factors.TRAIN_ERROR: error,
        }
        self.run.append_progress(_rounded(row))
        for logger in trainer.loggers:
            logger.log_metrics(
                {f"progress/{key}": v for key, v in row.items()}, trainer.global_step
            )

    def _save(self, trainer: pl.Trainer, row: Row) -> None:
        """Replace last.ckpt, and best.ckpt if the validation error is the lowest so far."""
        partial = self.run.last_checkpoint.with_name("last.ckpt.partial")
        trainer.save_checkpoint(partial)
        if not trainer.is_global_zero:
            return
        if row[factors.VAL_ERROR] < self.best_error:
            self.best_error = row[factors.VAL_ERROR]
            self.run.best_checkpoint.unlink(missing_ok=True)
            os.link(partial, self.run.best_checkpoint)
        os.replace(partial, self.run.last_checkpoint)


def _rounded(row: Row) -> Row:
    """To the digits that float32 has, so that 0.3 does not read 0.30000001192092896."""
    return {name: round(value, 7) for name, value in row.items()}


class _Sums:
    """Totals over the rows of an epoch."""

    def __init__(self) -> None:
        self.loss = self.wrong = self.end = self.seconds = 0.0
        self.images = 0

    def add(self, loss: float, error: float, images: int, *, end: float) -> None:
        self.loss += loss * images
        self.wrong += error * images
        self.images += images
        self.end = end
