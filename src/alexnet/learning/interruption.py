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
    """On each of SIGNALS_TO_STOP: a checkpoint at the next batch, then Stopped.

    The handler only notes the signal. Processes of one run agree on it between two batches, so that
    they stop together although only one of them received it. While gradients are accumulated the
    run goes on until they are applied. Without a checkpoint inside the epoch, because the data
    module could not go on from there, the run stops at once and goes on from the end of the last
    epoch. During a validation, which may take long, it stops at once, too, and goes on from the
    checkpoint before it; during the test at once, for nothing is lost.

    Must come after its recorder in the list of callbacks.
    """

    def __init__(self, recorder: RunRecorder) -> None:
        self._recorder = recorder
        self._signal: signal.Signals | None = None

    @override
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Lightning has registered its own by now, which would exit 0 on SIGTERM.
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
