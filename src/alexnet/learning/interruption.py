import signal
from types import FrameType
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Checkpoint
from typing_extensions import override

from alexnet.folders.ending import Stopped
from alexnet.learning.recording import RunRecorder
from alexnet.signals import handle


class StopOnSignal(Checkpoint):
    """On any of SIGNALS_TO_STOP, writes a checkpoint at the next batch and raises Stopped.

    The handler only records the signal. The processes of a run agree on it between two batches, so
    they stop together even if only one of them received it. While gradients are accumulated, the
    run continues until they are applied. If the data module cannot resume within an epoch, the run
    stops at once and later resumes from the end of the last epoch. During a validation, which may
    take long, it also stops at once and later resumes from the checkpoint before it. During the
    test it stops at once, because nothing is lost.

    It must come after its recorder in the list of callbacks.
    """

    def __init__(self, recorder: RunRecorder) -> None:
        self._recorder = recorder
        self._signal: signal.Signals | None = None

    @override
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Replaces Lightning's handler, which would exit with status 0 on SIGTERM.
        handle(self._note)

    @override
    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.on_train_start(trainer, pl_module)

    @override
    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        # The last batch is followed by a validation, or a checkpoint.
        if not self._is_told(trainer) or trainer.is_last_batch or trainer.should_stop:
            return
        if self._recorder.can_save_after(trainer, batch_idx):
            self._recorder.save(trainer, pl_module)
            self._stop()
        if not self._recorder.can_save_inside_epochs(trainer):
            self._stop()

    @override
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._is_told(trainer):
            self._stop()

    @override
    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if self._is_told(trainer):
            self._stop()

    on_test_batch_end = on_validation_batch_end

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._signal = signal.Signals(number)

    def _is_told(self, trainer: pl.Trainer) -> bool:
        return trainer.strategy.reduce_boolean_decision(self._signal is not None, all=False)

    def _stop(self) -> None:
        raise Stopped.by(self._signal.name if self._signal else "another process's signal")
