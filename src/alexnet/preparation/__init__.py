"""Preparation of raw ImageNet (section 2): 256 x 256 images in a few large files.

It does not import torch, so that the processes that convert images start at once.
"""

from alexnet.preparation.job import (
    DestinationError,
    Request,
    StrictError,
    check_folders,
    prepare,
    read_bad_images,
)
from alexnet.preparation.workers import WorkersDied
from alexnet.sources.raw_imagenet import SourceError
from alexnet.sources.shards import Index

__all__ = [
    "DestinationError",
    "Index",
    "Request",
    "SourceError",
    "StrictError",
    "WorkersDied",
    "check_folders",
    "prepare",
    "read_bad_images",
]
