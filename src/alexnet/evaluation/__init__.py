"""Evaluation of trained networks on other images (section 6): errors, predictions, figures."""

from alexnet.evaluation.ensemble import Member, predict, predictions
from alexnet.evaluation.errors import TOP, Tally, credits, interval
from alexnet.evaluation.inputs import outputs_in_order
from alexnet.evaluation.job import evaluate
from alexnet.evaluation.neighbours import last_hidden, last_hidden_layer, nearest, spread

__all__ = [
    "TOP",
    "Member",
    "Tally",
    "credits",
    "evaluate",
    "interval",
    "last_hidden",
    "last_hidden_layer",
    "nearest",
    "outputs_in_order",
    "predict",
    "predictions",
    "spread",
]
