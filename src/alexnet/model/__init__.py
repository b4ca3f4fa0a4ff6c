"""The networks (section 3), one file per subsection."""

from alexnet.model.alexnet import AlexNet
from alexnet.model.cifar_net import CifarNet
from alexnet.model.local_response_norm import LocalResponseNorm

__all__ = ["AlexNet", "CifarNet", "LocalResponseNorm"]
