"""Section 5, details of learning: task, update rule, schedule, and the record of a run."""

from alexnet.learning.interruption import StopOnSignal
from alexnet.learning.optimizer import PaperSGD
from alexnet.learning.recording import Diverged, RunRecorder
from alexnet.learning.task import ClassificationTask, TopError

__all__ = [
    "ClassificationTask",
    "Diverged",
    "PaperSGD",
    "RunRecorder",
    "StopOnSignal",
    "TopError",
]
