"""Batches of images, as a function of (seed, epoch, step) alone.

So a run that was killed resumes exactly, arms of equal seeds see equal batches, and the numbers of
workers and replicas do not matter.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import disk_usage
from typing import Literal, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from alexnet.data.augmentation import Augmenter, Views

Batch = tuple[torch.Tensor, ...]
"""Images, labels, and with colour noise the colour of each image, (N, 3)."""

_SHARED_MEMORY = Path("/dev/shm")
_CACHE = 2**20  # bytes that a core's cache surely holds
_PREFETCHED = 2  # batches that each worker has ready
_SECONDS_TO_WAIT = 300  # for a batch: the slowest disk is faster

# NumPy pads seeds with zeros: without these numbers, the order of an epoch would use the same
# random numbers as the views of step 0.
_ORDER, _VIEWS = 1, 2


@dataclass(frozen=True)
class LabelledImages:
    """Images (N, C, h, w) uint8 with C = 3 (RGB) or 1 (grey), and their labels (N,) int64."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: np.ndarray) -> "LabelledImages":
        return LabelledImages(self.images[rows], self.labels[rows])


class ImageStore(Protocol):
    """A sequence of labelled images, in memory or read on demand."""

    @property
    def labels(self) -> np.ndarray:
        """Labels of all images, (N,) int64."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: np.ndarray) -> LabelledImages: ...


@dataclass(frozen=True)
class Share:
    """The part of every batch that one of several data-parallel replicas receives."""

    replica: int = 0
    num_replicas: int = 1

    def of(self, count: int) -> slice:
        """Return this replica's rows of a batch of `count`; shares differ by at most one row."""
        first, last = (count * i // self.num_replicas for i in (self.replica, self.replica + 1))
        return slice(first, last)


class Batches(Dataset[Batch]):
    """A dataset of whole batches: batch b is step b % len of epoch b // len.

    With a seed, epochs are shuffled and images are in random views, with colour noise before epoch
    `color_noise_epochs` (None: always). With seed None (evaluation), images are in order and in the
    central view, or in 1 or 10 `views` each, (N, views, C, h, w). Every image occurs once in an
    epoch, so the last batch may be smaller. Raises ValueError if a batch has fewer images than
    there are replicas.
    """

    def __init__(
        self,
        data: ImageStore,
        augmenter: Augmenter,
        *,
        batch_size: int,
        seed: int | None,
        share: Share,
        color_noise_epochs: int | None = None,
        views: Literal[1, 10] | None = None,
    ) -> None:
        smallest = len(data) % batch_size or batch_size
        if smallest < share.num_replicas:
            raise ValueError(
                f"{len(data)} images in batches of {batch_size} leave a batch of {smallest}, "
                f"too small for {share.num_replicas} replicas: change data.batch_size"
            )
        self.data = data
        self.augmenter = augmenter
        self.batch_size = batch_size
        self.seed = seed
        self.share = share
        self.color_noise_epochs = color_noise_epochs
        self.views = views
        self._order_of_epoch: tuple[int, np.ndarray] | None = None

    def __len__(self) -> int:
        return -(-len(self.data) // self.batch_size)

    def __getitem__(self, number: int) -> Batch:
        epoch, step = divmod(number, len(self))
        rows = slice(step * self.batch_size, (step + 1) * self.batch_size)
        order = self._order(epoch)[rows]
        mine = self.share.of(len(order))
        if self.seed is None:
            chosen = self.data[order[mine]]
            if self.views is None:
                return _to_tensors(self.augmenter.central(chosen.images), chosen.labels)
            return _to_tensors(self.augmenter.views(chosen.images, self.views), chosen.labels)
        random = np.random.default_rng((_VIEWS, self.seed, epoch, step))
        is_colored = self.color_noise_epochs is None or epoch < self.color_noise_epochs
        # Drawn for the whole batch, so that an image's view does not depend on its replica.
        views = self.augmenter.draw(len(order), random, colored=is_colored)[mine]
        images, labels = self._augmented(order[mine], views)
        if views.color is None:
            return _to_tensors(images, labels)
        return _to_tensors(images, labels, views.color)

    def _augmented(self, rows: np.ndarray, views: Views) -> tuple[np.ndarray, np.ndarray]:
        """A few images after the other: what was just decoded is cut while the cache holds it."""
        if self.augmenter.kind == "none":
            chosen = self.data[rows]
            return chosen.images, chosen.labels
        images = self.augmenter.empty(len(rows))
        few = max(1, _CACHE // self.augmenter.known.size // len(self.augmenter.fill))
        for first in range(0, len(rows), few):
            piece = slice(first, first + few)
            self.augmenter.apply(self.data[rows[piece]].images, views[piece], into=images[piece])
        return images, self.data.labels[rows]

    def _order(self, epoch: int) -> np.ndarray:
        if self.seed is None:
            return np.arange(len(self.data))
        if self._order_of_epoch is None or self._order_of_epoch[0] != epoch:
            random = np.random.default_rng((_ORDER, self.seed, epoch))
            self._order_of_epoch = epoch, random.permutation(len(self.data))
        return self._order_of_epoch[1]


class EpochSampler(DistributedSampler[int]):
    """Yields the numbers of the batches of an epoch, which Lightning sets with set_epoch.

    The first iteration may start at a later batch, where a checkpoint was written. It is a
    DistributedSampler only so that Lightning does not divide the batches among the replicas again.
    """

    def __init__(self, batches: Batches, first_batch: int = 0) -> None:
        super().__init__(batches, num_replicas=1, rank=0, shuffle=False)
        self.steps = len(batches)
        self.first_batch = first_batch

    def __iter__(self) -> Iterator[int]:
        # On resume, Lightning fetches the first batches before it calls set_epoch.
        start = max(self.epoch * self.steps, self.first_batch)
        return iter(range(start, (start // self.steps + 1) * self.steps))

    def __len__(self) -> int:
        # The length of a whole epoch, also on resume within one: Lightning counts the steps done.
        return self.steps


def check_shared_memory(batch_bytes: int, *, workers: int) -> None:
    """Check that shared memory has room for the batches of the workers.

    A worker without room fails silently, and the run would wait for its batch. Raises ValueError
    that states the room needed.
    """
    if not workers or not _SHARED_MEMORY.is_dir():
        return
    needed, free = (workers * _PREFETCHED + 1) * batch_bytes, disk_usage(_SHARED_MEMORY).free
    if needed > free:
        raise ValueError(
            f"data.workers={workers} needs {needed / 1e6:.0f} MB of shared memory for batches of "
            f"{batch_bytes / 1e6:.0f} MB, but {_SHARED_MEMORY} has {free / 1e6:.0f} MB free: set "
            "data.workers=0 or a smaller data.batch_size, or give a container more, such as docker "
            f"run --shm-size={math.ceil(needed / 1e9)}g"
        )


def make_loader(batches: Batches, *, workers: int, first_batch: int = 0) -> DataLoader[Batch]:
    """Make a loader that yields whole batches in the order of their numbers.

    The loader raises RuntimeError if a worker does not deliver a batch within five minutes.
    """
    return DataLoader(
        batches,
        batch_size=None,
        sampler=EpochSampler(batches, first_batch),
        num_workers=workers,
        persistent_workers=workers > 0,
        prefetch_factor=_PREFETCHED if workers else None,
        timeout=_SECONDS_TO_WAIT if workers else 0,
        pin_memory=torch.cuda.is_available(),
        # The loader draws a seed for its workers, which must not come from the global generator.
        generator=torch.Generator(),
    )


def _to_tensors(images: np.ndarray, *others: np.ndarray) -> Batch:
    """Convert to tensors; the images have their channels last in memory, as in the networks."""
    pixels = np.ascontiguousarray(np.moveaxis(images, -3, -1))
    tensors = map(torch.from_numpy, (pixels, *map(np.ascontiguousarray, others)))
    return next(tensors).movedim(-1, -3), *tensors
