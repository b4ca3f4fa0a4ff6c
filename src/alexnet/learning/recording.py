import logging
import math
import os
import time
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from torchmetrics import Metric
from typing_extensions import override

from alexnet import vocabulary
from alexnet.folders.files import Row
from alexnet.folders.run import RunDir
from alexnet.learning.columns.strategy import ColumnParallelStrategy
from alexnet.learning.task import ClassificationTask

log = logging.getLogger(__name__)

PROGRESS_ROWS_PER_EPOCH = 10


class Diverged(RuntimeError):
    """The loss is no longer finite: nothing that follows would mean anything."""


@dataclass(frozen=True, kw_only=True)
class Position:
    """How far a run has come: what the recorder must know to go on as if nothing had happened."""

    epoch: int = 0  # whole epochs
    step: int = 0  # batches of the epoch begun
    images: int = 0
    seconds: float = 0.0
    best_error: float = math.inf
    has_crossed: bool = False  # the training error fell to where the run was to stop
    # Of the epoch begun, up to the last row of progress.csv
    epoch_loss: float = 0.0
    epoch_wrong: float = 0.0
    epoch_images: int = 0
    epoch_seconds: float = 0.0
    # Bytes written; what a killed process wrote behind them is taken back
    metrics_bytes: int = 0
    progress_bytes: int = 0


class RunRecorder(Callback):
    """Writes a run's folder: progress.csv, metrics.csv, status.json and checkpoints.

    progress.csv has ten equal rows an epoch, so that the crossing of an error can be read off more
    finely than by epochs. A run that ends inside an epoch, by max_steps or because the training
    error has fallen to `stop_at_train_error`, still ends with a validation, a row of metrics and
    checkpoints.

    A checkpoint is written at the end of every epoch, and inside one when `checkpoint_minutes` have
    passed since the last. A run that goes on from it ends in the same files and weights, bit for
    bit, as one that never stopped: what the dead process wrote after the checkpoint is taken back.

    Raises Diverged when the loss is not finite.
    """

    def __init__(
        self,
        run: RunDir,
        *,
        checkpoint_minutes: float = math.inf,
        stop_at_train_error: float | None = None,
    ) -> None:
        self.run = run
        self.checkpoint_minutes = checkpoint_minutes
        self.stop_at_train_error = stop_at_train_error
        self.at = Position()
        self._counts: dict[str, Any] = {}  # of the metrics, since the last row
        self._is_resuming = False
        self._lr = math.nan  # of the weights, as trained with: after the validation it may be lower
        # What to go on from if the run ends inside an epoch but is given more epochs later.
        self._inside_epoch: tuple[dict[str, Any], dict[str, Any]] | None = None

    # --- what a checkpoint holds of this

    @override
    def state_dict(self) -> dict[str, Any]:
        if self._inside_epoch is not None:
            state, _ = self._inside_epoch
            return {**state, "position": {**state["position"], "has_crossed": self.at.has_crossed}}
        random = {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()}
        return {"position": asdict(self.at), "counts": self._counts, "random": random}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.at = Position(**state_dict["position"])
        self._counts = state_dict["counts"]
        self._random = state_dict["random"]
        self._is_resuming = True

    @override
    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if self._inside_epoch is not None:
            _, checkpoint["loops"]["fit_loop"] = self._inside_epoch
        if isinstance(trainer.strategy, ColumnParallelStrategy):
            traffic = trainer.strategy.traffic
            checkpoint["traffic"] = {"bytes": traffic.bytes, "images": traffic.images}

    @override
    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if isinstance(trainer.strategy, ColumnParallelStrategy) and "traffic" in checkpoint:
            traffic = trainer.strategy.traffic
            traffic.bytes, traffic.images = (checkpoint["traffic"][k] for k in ("bytes", "images"))

    @override
    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.at.has_crossed:
            trainer.should_stop = True  # there is nothing left to train
        if self._is_resuming:
            trainer.datamodule.start_at(self.at.epoch, self.at.step)  # type: ignore[attr-defined]

    @override
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._saved_at = time.monotonic()
        self._epoch_began = time.monotonic() - self.at.epoch_seconds
        if self._is_resuming:
            task = _task(pl_module)
            split = trainer.distributed_sampler_kwargs
            is_first = split is None or split["rank"] == 0  # counts are added up over replicas
            for name, metric in _training_metrics(task).items():
                for state, value in self._counts[name].items():
                    setattr(metric, state, (value * is_first).to(task.device))
            torch.set_rng_state(self._random["cpu"])
            torch.cuda.set_rng_state_all(self._random["cuda"])
            if trainer.is_global_zero:
                self._take_back()

    def _take_back(self) -> None:
        for file, size in (
            (self.run.metrics, self.at.metrics_bytes),
            (self.run.progress, self.at.progress_bytes),
        ):
            if file.exists():
                os.truncate(file, size)

    # --- while it trains

    @override
    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._epoch_began = time.monotonic()
        self._move(step=0, epoch_loss=0.0, epoch_wrong=0.0, epoch_images=0, epoch_seconds=0.0)
        data, epoch = trainer.datamodule, trainer.current_epoch  # type: ignore[attr-defined]
        if data.color_noise and data.color_noise_epochs == epoch and trainer.is_global_zero:
            log.info("from epoch %d on: no colour noise", epoch + 1)

    @override
    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        task = _task(pl_module)
        batches, done = int(trainer.num_training_batches), batch_idx + 1
        self._lr = trainer.optimizers[0].param_groups[0]["lr"]
        self._move(step=done, epoch_seconds=time.monotonic() - self._epoch_began)
        # Rows of equal length: the error of a short one would cross by chance.
        if (
            done * PROGRESS_ROWS_PER_EPOCH // batches
            > batch_idx * PROGRESS_ROWS_PER_EPOCH // batches
        ):
            self._end_row(trainer, task, batches)
        # Lightning validates before it stops only if it is told that it should stop.
        if trainer.global_step == trainer.max_steps:
            trainer.should_stop = True
        if done == batches:
            return
        if trainer.should_stop:
            self._count(task)
            self._inside_epoch = (self.state_dict(), deepcopy(trainer.fit_loop.state_dict()))
            if task.train_error.total:
                self._end_row(trainer, task, batches)
        elif self._is_due(trainer):
            self.save(trainer, task)

    @override
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        task = _task(pl_module)
        at, metrics = self.at, trainer.callback_metrics
        row = {
            "epoch": _epochs(at, int(trainer.num_training_batches)),
            vocabulary.TRAIN_LOSS: at.epoch_loss / at.epoch_images,
            vocabulary.TRAIN_ERROR: at.epoch_wrong / at.epoch_images,
            **{name: float(metrics[name]) for name in _VALIDATION},
            "lr": self._lr,
            "seconds": at.seconds + time.monotonic() - self._epoch_began,
            "images_per_second": round(at.epoch_images / at.epoch_seconds, 1),
        }
        is_best = row[vocabulary.VAL_ERROR] < at.best_error
        if trainer.is_global_zero:
            self.run.append_metrics(_rounded(row))
        self._move(
            seconds=row["seconds"],
            best_error=min(at.best_error, row[vocabulary.VAL_ERROR]),
            metrics_bytes=_size(self.run.metrics),
        )
        if self._inside_epoch is None:
            self._move(epoch=trainer.current_epoch + 1, step=0)
        self.save(trainer, task, is_best=is_best)
        if not trainer.is_global_zero:
            return
        status = {"epoch": row["epoch"], "updated": time.time()}
        self.run.write_status({**self.run.read_status(), **status})
        for logger in trainer.loggers:
            logger.log_metrics(row, step=trainer.global_step)
        log.info(
            "epoch %g of %d: training error %.1f %%, validation error %.1f %%, %.0f images/s",
            round(row["epoch"], 2), trainer.max_epochs, 100 * row[vocabulary.TRAIN_ERROR],
            100 * row[vocabulary.VAL_ERROR], row["images_per_second"],
        )  # fmt: skip

    def save(self, trainer: pl.Trainer, task: pl.LightningModule, *, is_best: bool = False) -> None:
        """Replace last.ckpt, and best.ckpt if told; the one before is kept until this is whole."""
        if self._inside_epoch is None:
            self._count(_task(task))
        partial = self.run.last_checkpoint.with_name("partial.ckpt")
        if trainer.is_global_zero:
            partial.unlink(missing_ok=True)  # Lightning would write through a link
        trainer.save_checkpoint(partial)
        self._saved_at = time.monotonic()
        if trainer.is_global_zero:
            self.run.accept_checkpoint(partial, is_best=is_best)

    def _is_due(self, trainer: pl.Trainer) -> bool:
        """Whether it is time for a checkpoint; all processes of a run agree on it."""
        is_due = time.monotonic() - self._saved_at > 60 * self.checkpoint_minutes
        return trainer.strategy.reduce_boolean_decision(is_due, all=False)

    def _count(self, task: ClassificationTask) -> None:
        """Note what the metrics have counted since the last row, in all processes."""
        self._counts = {}
        for name, metric in _training_metrics(task).items():
            with metric.sync_context():
                self._counts[name] = {
                    state: value.clone()  # type: ignore[union-attr]
                    for state, value in metric.metric_state.items()
                }

    def _end_row(self, trainer: pl.Trainer, task: ClassificationTask, batches: int) -> None:
        loss, error = task.train_loss.compute().item(), task.train_error.compute().item()
        with task.train_error.sync_context():  # of all replicas
            images = int(task.train_error.total)
        task.train_loss.reset()
        task.train_error.reset()
        at, epoch = self.at, _epochs(self.at, batches)
        if not math.isfinite(loss):
            raise Diverged(
                f"the training loss is {loss} at epoch {epoch:.2f} (learning rate "
                f"{self._lr:g}): try a lower learning.lr"
            )
        row = {
            "epoch": epoch,
            "images": at.images + images,
            vocabulary.TRAIN_LOSS: loss,
            vocabulary.TRAIN_ERROR: error,
        }
        if trainer.is_global_zero:
            self.run.append_progress(_rounded(row))
            for logger in trainer.loggers:
                rows = {f"progress/{name}": value for name, value in row.items()}
                logger.log_metrics(rows, trainer.global_step)
        has_crossed = self.stop_at_train_error is not None and error <= self.stop_at_train_error
        if has_crossed:
            trainer.should_stop = True
        self._move(
            images=at.images + images,
            epoch_loss=at.epoch_loss + loss * images,
            epoch_wrong=at.epoch_wrong + error * images,
            epoch_images=at.epoch_images + images,
            has_crossed=has_crossed,
            progress_bytes=_size(self.run.progress),
        )

    def _move(self, **changes: Any) -> None:
        self.at = replace(self.at, **changes)


_VALIDATION = (vocabulary.VAL_LOSS, vocabulary.VAL_ERROR, vocabulary.VAL_ERROR_TOP5)


def _epochs(at: Position, batches: int) -> float:
    return at.epoch + at.step / batches


def _task(module: pl.LightningModule) -> ClassificationTask:
    assert isinstance(module, ClassificationTask)
    return module


def _training_metrics(task: ClassificationTask) -> Mapping[str, Metric]:
    return {"loss": task.train_loss, "error": task.train_error}


def _rounded(row: Row) -> Row:
    """To the digits that float32 has, so that 0.3 does not read 0.30000001192092896."""
    return {name: float(f"{value:.7g}") for name, value in row.items()}


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0
