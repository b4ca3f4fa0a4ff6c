"""Section 2: the data sets, as Lightning data modules that deliver whole batches."""

from alexnet.data.cifar10 import CIFAR10
from alexnet.data.folder import NO_IMAGE, FolderOfImages
from alexnet.data.imagenet import ImageNet
from alexnet.data.mnist5k import MNIST5k
from alexnet.data.synthetic import Synthetic

__all__ = ["CIFAR10", "NO_IMAGE", "FolderOfImages", "ImageNet", "MNIST5k", "Synthetic"]
