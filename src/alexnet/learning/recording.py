import logging
import math
import os
import time
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Checkpoint, Timer
from lightning.pytorch.loops.loop import _Loop
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.trainer.states import TrainerFn
from torchmetrics import Metric
from typing_extensions import override

from alexnet import crossing, vocabulary
from alexnet.folders.files import Row
from alexnet.folders.run import RunDir
from alexnet.learning.columns.strategy import ColumnParallelStrategy
from alexnet.learning.task import ClassificationTask
from alexnet.vocabulary import Above0, Fraction

log = logging.getLogger(__name__)

PROGRESS_ROWS_PER_EPOCH = 10


class Diverged(RuntimeError):
    """The loss or the weights are no longer finite, so that training cannot continue."""


@dataclass(frozen=True, kw_only=True)
class Position:
    """The position of a run, and all else that the recorder needs to resume it exactly."""

    epoch: int = 0  # completed epochs
    step: int = 0  # batches of the current epoch
    images: int = 0
    seconds: float = 0.0
    best_error: float = math.inf
    has_crossed: bool = False  # the training error crossed stop_at_train_error, an epoch ago
    fit: crossing.Fit = ()  # of the training error, with stop_at_train_error
    is_over: bool = False  # it has crossed, or a callback such as EarlyStopping ended the run
    # Sums over the current epoch, up to the last row of progress.csv
    epoch_loss: float = 0.0
    epoch_wrong: float = 0.0
    epoch_images: int = 0
    epoch_seconds: float = 0.0

    @classmethod
    def read(cls, state: Mapping[str, Any]) -> "Position":
        """Read a position from a checkpoint, which may be from an older or a newer version."""
        known = {each.name for each in fields(cls)}
        position = cls(**{key: value for key, value in state.items() if key in known})
        return replace(position, is_over=position.is_over or position.has_crossed)


class _WrittenInPlace(TorchCheckpointIO):
    """Writes a checkpoint directly to its place, and removes it if that fails.

    Lightning's class writes it into $TMPDIR first, which may be small and is not cleared after a
    kill.
    """

    @override
    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(path, "xb") as file:
                torch.save(checkpoint, file)
        except BaseException as error:
            Path(path).unlink(missing_ok=True)  # the disk may be full
            if isinstance(cause := error.__context__, OSError):
                raise cause from None  # torch's writer replaces it by a RuntimeError
            raise


class RunRecorder(Checkpoint):
    """Writes the files of a run: progress.csv, metrics.csv, status.json and checkpoints.

    progress.csv has ten equal rows per epoch, so that the crossing of a threshold can be read off
    more finely than by epochs. With `stop_at_train_error`, a run ends one epoch after its training
    error has fallen to this value, as alexnet.crossing defines it, so that it has all rows that the
    measure needs. A run that ends within an epoch, by this rule or by max_steps, still ends with a
    validation, a row of metrics and checkpoints.

    A checkpoint is written at the end of every epoch, and within an epoch when `checkpoint_minutes`
    have passed since the last one, unless gradients are being accumulated; before the last batch of
    an epoch, one minute is enough. A run that resumes from it ends with the same files and
    bit-identical weights as one that never stopped: rows that were written after the checkpoint
    are removed. A data module without `start_at` cannot resume within an epoch, so checkpoints are
    then written only at the ends of epochs.

    As a Checkpoint it comes after all other callbacks (Trainer(enable_checkpointing=False) refuses
    it), so that the state of callbacks such as EarlyStopping is saved as it is after the epoch. A
    run that a callback has ended does not train further when it is resumed; one that max_steps or
    max_time ended does if they are raised.

    Raises Diverged if the loss or the weights are not finite.
    """

    def __init__(
        self,
        run: RunDir,
        *,
        checkpoint_minutes: Above0 = math.inf,
        stop_at_train_error: Fraction | None = None,
    ) -> None:
        self.run = run
        self.checkpoint_minutes = checkpoint_minutes
        self.stop_at_train_error = stop_at_train_error
        self.at = Position()
        self._counts: dict[str, Any] = {}  # states of the metrics since the last row
        self._is_resuming = False
        self._lr = math.nan  # rate of the weights in training: after validation it may be lower
        self._validated: dict[str, float] = {}  # validation metrics of this epoch
        # States of all callbacks and of the loop, to resume from if the run ends within an epoch
        # and later continues with more epochs.
        self._inside_epoch: tuple[dict[str, Any], dict[str, Any]] | None = None

    @override
    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        trainer.strategy.checkpoint_io = _WrittenInPlace()

    # --- the state in a checkpoint

    @override
    def state_dict(self) -> dict[str, Any]:
        random = {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()}
        return {"position": asdict(self.at), "counts": self._counts, "random": random}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.at = Position.read(state_dict["position"])
        self._counts = state_dict["counts"]
        self._random = state_dict["random"]
        self._is_resuming = True

    @override
    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if self._inside_epoch is not None:
            states, checkpoint["loops"]["fit_loop"] = self._inside_epoch
            mine = states[self.state_key]
            end = {"has_crossed": self.at.has_crossed, "is_over": self.at.is_over}
            position = {**mine["position"], **end}
            checkpoint["callbacks"] = {**states, self.state_key: {**mine, "position": position}}
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
        if self.at.is_over:
            trainer.should_stop = True  # nothing is left to train
        if not self._is_resuming:
            return
        if self.can_save_inside_epochs(trainer):
            trainer.datamodule.start_at(self.at.epoch, self.at.step)  # type: ignore[attr-defined]
        elif self.at.step and not self.at.is_over:
            log.warning(
                "the data module has no start_at: the rest of epoch %d has other images than "
                "without the interruption", self.at.epoch + 1,
            )  # fmt: skip
        if not self.at.step:
            self._restore_random()  # before the loader draws the order of the epoch

    @override
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._saved_at = time.monotonic()
        self._epoch_began = time.monotonic() - self.at.epoch_seconds
        if self._is_resuming:
            task = _task(pl_module)
            split = trainer.distributed_sampler_kwargs
            is_first = split is None or split["rank"] == 0  # counts are summed over replicas
            for name, metric in _training_metrics(task).items():
                for state, value in self._counts[name].items():
                    setattr(metric, state, (value * is_first).to(task.device))
            if self.at.step:
                self._restore_random()  # after the loader has drawn the order of the epoch
            else:
                _begin_next_epoch(trainer)
            if trainer.is_global_zero:
                self.run.take_back(epochs=self.at.epoch, images=self.at.images)

    def _restore_random(self) -> None:
        torch.set_rng_state(self._random["cpu"])
        torch.cuda.set_rng_state_all(self._random["cuda"])

    # --- during training

    @override
    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._epoch_began = time.monotonic()
        self._move(step=0, epoch_loss=0.0, epoch_wrong=0.0, epoch_images=0, epoch_seconds=0.0)
        self._validated = {}
        data, epoch = trainer.datamodule, trainer.current_epoch  # type: ignore[attr-defined]
        has_noise = getattr(data, "color_noise", 0) and trainer.is_global_zero
        if has_noise and data.color_noise_epochs == epoch:
            log.info("no colour noise from epoch %d on", epoch + 1)

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
        # Rows of equal length, because the error of a short one could cross by chance.
        if (
            done * PROGRESS_ROWS_PER_EPOCH // batches
            > batch_idx * PROGRESS_ROWS_PER_EPOCH // batches
        ):
            self._end_row(trainer, task, batches)
        self._notice_end(trainer)
        if done == batches:
            return
        # Lightning validates before it stops only if should_stop is set.
        if trainer.global_step == trainer.max_steps:
            trainer.should_stop = True
        if trainer.should_stop and trainer.fit_loop._can_stop_early:
            self._end_inside_epoch(trainer, task)
        elif self.can_save_after(trainer, batch_idx):
            # A run that is stopped during validation resumes from the checkpoint before it.
            is_before_the_last = done == batches - 1
            minutes = min(self.checkpoint_minutes, 1.0) if is_before_the_last else None
            if self._is_due(trainer, minutes or self.checkpoint_minutes):
                self.save(trainer, task)

    def _notice_end(self, trainer: pl.Trainer) -> None:
        """Note that a callback, or the training error, has ended the run."""
        if trainer.should_stop and not _is_out_of_time(trainer):
            self._move(is_over=True)

    def _end_inside_epoch(self, trainer: pl.Trainer, task: ClassificationTask) -> None:
        self._count(task)
        states = {each.state_key: deepcopy(each.state_dict()) for each in trainer.callbacks}  # type: ignore[attr-defined]
        kept = {key: state for key, state in states.items() if state}
        self._inside_epoch = (kept, deepcopy(trainer.fit_loop.state_dict()))
        if task.train_error.total:
            self._end_row(trainer, task, int(trainer.num_training_batches))

    @override
    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            metrics = trainer.callback_metrics
            known = (each for each in vocabulary.METRICS if each.startswith("val/"))
            self._validated = {key: float(metrics[key]) for key in known if key in metrics}

    @override
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        task, batches = _task(pl_module), int(trainer.num_training_batches)
        self._refuse_weights_that_are_not_finite(trainer, task)
        if self._inside_epoch is None:
            self._notice_end(trainer)
            if self.at.step < batches:  # stopped after a validation within the epoch
                self._end_inside_epoch(trainer, task)
        at = self.at
        row = {
            "epoch": _epochs(at, batches),
            vocabulary.TRAIN_LOSS: at.epoch_loss / at.epoch_images,
            vocabulary.TRAIN_ERROR: at.epoch_wrong / at.epoch_images,
            **self._validated,
            "lr": self._lr,
            "seconds": at.seconds + time.monotonic() - self._epoch_began,
            "images_per_second": round(at.epoch_images / at.epoch_seconds, 1),
        }
        error = self._validated.get(vocabulary.VAL_ERROR, math.inf)
        is_best = error < at.best_error
        if trainer.is_global_zero:
            self.run.append_metrics(_rounded(row))
        self._move(seconds=row["seconds"], best_error=min(at.best_error, error))
        if self._inside_epoch is None:
            self._move(epoch=trainer.current_epoch + 1, step=0)
        self.save(trainer, task, is_best=is_best)
        if not trainer.is_global_zero:
            return
        status = {"epoch": row["epoch"], "step": trainer.global_step, "updated": time.time()}
        self.run.write_status({**self.run.read_status(), **status})
        for logger in trainer.loggers:
            logger.log_metrics(row, step=trainer.global_step)
        validation = f"{100 * error:.1f} %" if math.isfinite(error) else "not measured"
        log.info(
            "epoch %g of %s: training error %.1f %%, validation error %s, %.0f images/s",
            round(row["epoch"], 2), trainer.max_epochs, 100 * row[vocabulary.TRAIN_ERROR],
            validation, row["images_per_second"],
        )  # fmt: skip

    def _refuse_weights_that_are_not_finite(
        self, trainer: pl.Trainer, task: pl.LightningModule
    ) -> None:
        """Raise Diverged for weights that are not finite: the last update may have caused it."""
        tensors = (*task.parameters(), *task.buffers())
        is_finite = all(bool(each.isfinite().all()) for each in tensors)
        if not trainer.strategy.reduce_boolean_decision(is_finite, all=True):
            raise Diverged(
                f"weights are not finite after epoch {trainer.current_epoch + 1} (learning rate "
                f"{self._lr:g}): try a lower learning.lr"
            )

    def save(self, trainer: pl.Trainer, task: pl.LightningModule, *, is_best: bool = False) -> None:
        """Write last.ckpt, and best.ckpt if `is_best`; the old one stays until it is complete."""
        if self._inside_epoch is None:
            self._count(_task(task))
        partial = self.run.last_checkpoint.with_name("partial.ckpt")
        if trainer.is_global_zero:
            partial.unlink(missing_ok=True)  # Lightning would write through a link
        trainer.save_checkpoint(partial)
        self._saved_at = time.monotonic()
        if trainer.is_global_zero:
            self.run.accept_checkpoint(partial, is_best=is_best)

    def can_save_inside_epochs(self, trainer: pl.Trainer) -> bool:
        """Whether the data module can resume within an epoch."""
        return hasattr(trainer.datamodule, "start_at")  # type: ignore[attr-defined]

    def can_save_after(self, trainer: pl.Trainer, batch_idx: int) -> bool:
        """Whether a run could resume exactly from a checkpoint after this batch.

        It could not if the data module cannot start there, while gradients are accumulated (they
        are not in the checkpoint), and before a validation within the epoch, which Lightning would
        omit.
        """
        done = batch_idx + 1
        is_validated = trainer.val_check_batch is None or done % trainer.val_check_batch == 0
        return (
            self.can_save_inside_epochs(trainer)
            and done % trainer.accumulate_grad_batches == 0
            and not is_validated
        )

    def _is_due(self, trainer: pl.Trainer, minutes: float) -> bool:
        """Whether it is time for a checkpoint; all processes of a run agree on it."""
        is_due = time.monotonic() - self._saved_at > 60 * minutes
        return trainer.strategy.reduce_boolean_decision(is_due, all=False)

    def _count(self, task: ClassificationTask) -> None:
        """Keep what the metrics have counted since the last row, in all processes."""
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
        written = _rounded(row)
        if trainer.is_global_zero:
            self.run.append_progress(written)
            for logger in trainer.loggers:
                rows = {f"progress/{name}": value for name, value in row.items()}
                logger.log_metrics(rows, trainer.global_step)
        fit, has_crossed = at.fit, at.has_crossed
        if self.stop_at_train_error is not None:
            fit = crossing.add_row(fit, written["epoch"], written[vocabulary.TRAIN_ERROR])
            has_crossed = crossing.is_confirmed(fit, self.stop_at_train_error)
        if has_crossed:
            trainer.should_stop = True
        self._move(
            images=at.images + images,
            epoch_loss=at.epoch_loss + loss * images,
            epoch_wrong=at.epoch_wrong + error * images,
            epoch_images=at.epoch_images + images,
            has_crossed=has_crossed,
            fit=fit,
        )

    def _move(self, **changes: Any) -> None:
        self.at = replace(self.at, **changes)


def _begin_next_epoch(trainer: pl.Trainer) -> None:
    """Begin the next epoch when resuming from a checkpoint at the end of an epoch.

    If max_steps is set, Lightning treats every checkpoint as one within an epoch: it would end the
    epoch again and count it twice.
    """
    loop = trainer.fit_loop
    for progress in (loop.epoch_progress.total, loop.epoch_progress.current):
        progress.completed = progress.processed  # type: ignore[attr-defined]
    _Loop.restarting.fset(loop, False)  # type: ignore[attr-defined]
    loop.reset_restart_stage()
    loop.epoch_loop.reset_restart_stage()


def _is_out_of_time(trainer: pl.Trainer) -> bool:
    """Whether max_time has passed; the run can be resumed with more time."""
    timers = (each for each in trainer.callbacks if isinstance(each, Timer))  # type: ignore[attr-defined]
    return any((left := each.time_remaining()) is not None and left <= 0 for each in timers)


def _epochs(at: Position, batches: int) -> float:
    return at.epoch + at.step / batches


def _task(module: pl.LightningModule) -> ClassificationTask:
    assert isinstance(module, ClassificationTask)
    return module


def _training_metrics(task: ClassificationTask) -> Mapping[str, Metric]:
    return {"loss": task.train_loss, "error": task.train_error}


def _rounded(row: Row) -> Row:
    """Round to the digits of float32, so that 0.3 is not written as 0.30000001192092896.

    Counts of images are not rounded, because a resumed run finds its place by them.
    """
    return {
        name: value if isinstance(value, int) else float(f"{value:.7g}")
        for name, value in row.items()
    }
