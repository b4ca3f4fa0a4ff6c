"""Learning (section 5): task, update rule, schedules, recorder, and columns as processes."""

from alexnet.learning.acts import NormRecorder
from alexnet.learning.columns.strategy import ColumnParallelStrategy
from alexnet.learning.forecast import Forecast, WarmUp, checkpoint_bytes
from alexnet.learning.interruption import StopOnSignal
from alexnet.learning.metrics import TopError
from alexnet.learning.optimizer import PaperSGD
from alexnet.learning.recording import Diverged, RunRecorder
from alexnet.learning.resume import check_checkpoint
from alexnet.learning.schedule import cosine_with_warmup
from alexnet.learning.task import ClassificationTask

__all__ = [
    "ClassificationTask",
    "ColumnParallelStrategy",
    "Diverged",
    "Forecast",
    "NormRecorder",
    "PaperSGD",
    "RunRecorder",
    "StopOnSignal",
    "TopError",
    "WarmUp",
    "check_checkpoint",
    "checkpoint_bytes",
    "cosine_with_warmup",
]
