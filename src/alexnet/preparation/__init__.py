"""Section 2 before any training: raw ImageNet becomes 256 x 256 images in a few large files.

Without torch, so that the processes that convert images start at once.
"""

from alexnet.preparation.job import (
    DestinationError,
    Request,
    StrictError,
    check_folders,
    prepare,
    read_bad_images,
)
from alexnet.preparation.raw import SourceError
from alexnet.preparation.shards import Index
from alexnet.preparation.workers import WorkersDied

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
