"""The networks (section 3), one file per subsection."""

from alexnet.model.alexnet import AlexNet
from alexnet.model.cifar_net import CifarNet
from alexnet.model.columns import crossing_sizes, keep_column, rows_of
from alexnet.model.dropout import Dropout, seed_dropout
from alexnet.model.local_response_norm import LocalResponseNorm

__all__ = [
    "AlexNet",
    "CifarNet",
    "Dropout",
    "LocalResponseNorm",
    "crossing_sizes",
    "keep_column",
    "rows_of",
    "seed_dropout",
]
