"""The networks (section 3), with a file for each subsection."""

from alexnet.model.alexnet import AlexNet
from alexnet.model.batch_norm import BatchNorm
from alexnet.model.checkpoint import CHECKPOINT_FORMAT, SavedNet, read_checkpoint, start_from
from alexnet.model.cifar_local_net import CifarLocalNet
from alexnet.model.cifar_net import CifarNet
from alexnet.model.columns import crossing_sizes, keep_column, rows_of
from alexnet.model.dropout import Dropout, seed_dropout
from alexnet.model.grouped_linear import GroupedLinear
from alexnet.model.initialization import check_initialized
from alexnet.model.local_response_norm import LRN_KERNEL, LocalResponseNorm
from alexnet.model.locally_connected import LocallyConnected
from alexnet.model.same_map_norm import SameMapNorm

__all__ = [
    "CHECKPOINT_FORMAT",
    "LRN_KERNEL",
    "AlexNet",
    "BatchNorm",
    "CifarLocalNet",
    "CifarNet",
    "Dropout",
    "GroupedLinear",
    "LocalResponseNorm",
    "LocallyConnected",
    "SameMapNorm",
    "SavedNet",
    "check_initialized",
    "crossing_sizes",
    "keep_column",
    "read_checkpoint",
    "rows_of",
    "seed_dropout",
    "start_from",
]
