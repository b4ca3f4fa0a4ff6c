from abc import ABC, abstractmethod
from typing import get_args

import lightning.pytorch as pl
import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader
from typing_extensions import override

from alexnet.data.augmentation import CROP_PIXELS, Augmentation, Augmenter
from alexnet.data.batches import Batch, Batches, LabelledImages, Share, make_loader

# Constant, so that runs of every seed are validated and tested on the same images.
_SPLIT_SEED = 2012


class ImageModule(pl.LightningDataModule, ABC):
    """A data set held in memory as uint8, delivered as the network wants it (section 2).

    Subclasses say where the images come from. After `setup`, `mean_image` (3, h, w) is the mean of
    the training part at the data's own size, in 0..255.

    On the device a batch becomes float, minus the mean of each pixel, enlarged or reduced to
    `image_size`: (N, 3, image_size, image_size), mean-subtracted RGB in 0..255. Grey is repeated
    over the three channels. `batch_size` is that of the global batch: replicas of a data-parallel
    strategy share it.

    Raises ValueError for settings that make no sense.
    """

    num_classes: int
    class_names: tuple[str, ...]
    mean_image: torch.Tensor

    def __init__(
        self,
        *,
        class_names: tuple[str, ...],
        pixels: int,
        batch_size: int,
        workers: int,
        augmentation: Augmentation,
        image_size: int,
        seed: int,
    ) -> None:
        super().__init__()
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("workers", workers, 0),
            ("image_size", image_size, 1),
            ("seed", seed, 0),
        ):
            if value < least:
                raise ValueError(f"data.{name} is {value}, must be at least {least}")
        if augmentation not in get_args(Augmentation):
            choices = ", ".join(get_args(Augmentation))
            raise ValueError(f"data.augmentation is {augmentation!r}, must be one of {choices}")
        if augmentation == "crop24" and pixels < CROP_PIXELS:
            raise ValueError(
                f"data.augmentation=crop24 needs images of {CROP_PIXELS} pixels or more, "
                f"these have {pixels}: set data.augmentation=pad4 or none"
            )
        self.class_names = class_names
        self.num_classes = len(class_names)
        self.batch_size = batch_size
        self.workers = workers
        self.augmentation = augmentation
        self.image_size = image_size
        self.seed = seed
        self._train: LabelledImages | None = None
        self._val: LabelledImages | None = None
        self._test: LabelledImages | None = None
        self._start: tuple[int, int] | None = None

    @abstractmethod
    def load_train_and_val(self) -> tuple[LabelledImages, LabelledImages]:
        """Read the images for training and for validation."""

    @abstractmethod
    def load_test(self) -> LabelledImages:
        """Read the test images; never called before the test."""

    @override
    def setup(self, stage: str) -> None:
        if self._train is None:
            self._train, self._val = self.load_train_and_val()
            # Exact, because integers are added.
            mean = self._train.images.sum(axis=0, dtype=np.int64) / len(self._train)  # (C, h, w)
            rgb_mean = np.broadcast_to(mean, (3, *mean.shape[1:]))
            self.mean_image = torch.from_numpy(rgb_mean.astype(np.float32))
            self._augmenter = Augmenter(self.augmentation, mean)
            self._subtracted = torch.from_numpy(self._augmenter.central(self.mean_image.numpy()))
        if stage == "test" and self._test is None:
            self._test = self.load_test()

    @property
    def num_train_images(self) -> int:
        """Known after `setup`."""
        return len(_loaded(self._train))

    @property
    def num_val_images(self) -> int:
        """Known after `setup`."""
        return len(_loaded(self._val))

    @property
    def num_test_images(self) -> int:
        """Known after `setup("test")`."""
        return len(_loaded(self._test))

    def start_at(self, epoch: int, step: int) -> None:
        """Let the next training loader begin with this batch, and go on with whole epochs.

        Without it a loader begins with the trainer's current epoch.
        """
        self._start = epoch, step

    @override
    def train_dataloader(self) -> DataLoader[Batch]:
        batches = self._batches(_loaded(self._train), seed=self.seed)
        epoch, step = self._start or (self.trainer.current_epoch if self.trainer else 0, 0)
        return make_loader(batches, workers=self.workers, first_batch=epoch * len(batches) + step)

    @override
    def val_dataloader(self) -> DataLoader[Batch]:
        return make_loader(self._batches(_loaded(self._val), seed=None), workers=self.workers)

    @override
    def test_dataloader(self) -> DataLoader[Batch]:
        return make_loader(self._batches(_loaded(self._test), seed=None), workers=self.workers)

    @override
    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Make of uint8 (N, C, h, w) what the network sees, (N, 3, image_size, image_size)."""
        images, labels = batch
        images = images.float() - self._subtracted.to(images.device)  # (N, 3, h, w), also if C is 1
        size = (self.image_size, self.image_size)
        if images.shape[-2:] != size:
            images = F.interpolate(images, size, mode="bilinear", antialias=True)
        if self.trainer is not None:
            # Lightning converts a batch before the transfer, when there are no floats in it yet.
            images = self.trainer.precision_plugin.convert_input(images)
        return images, labels

    def _batches(self, data: LabelledImages, seed: int | None) -> Batches:
        return Batches(
            data,
            self._augmenter,
            batch_size=self.batch_size,
            seed=seed,
            share=self._share(),
        )

    def _share(self) -> Share:
        # The strategy knows who shares: the columns of one network see the same images (3.2).
        split = self.trainer.distributed_sampler_kwargs if self.trainer else None
        return Share(split["rank"], split["num_replicas"]) if split else Share()


def hold_out(labels: np.ndarray, *sizes: int) -> tuple[np.ndarray, ...]:
    """Split rows into (the rest, part of sizes[0], part of sizes[1], ...), always in the same way.

    The held-out parts have equally many rows of every class. Rows are sorted within each part.
    Raises ValueError if classes are too small for that.
    """
    classes = np.unique(labels)
    random = np.random.default_rng(_SPLIT_SEED)
    parts: list[list[np.ndarray]] = [[] for _ in range(len(sizes) + 1)]
    ends = np.cumsum([size // len(classes) for size in sizes])
    for label in classes:
        rows = random.permutation(np.flatnonzero(labels == label))
        if len(rows) <= ends[-1]:
            raise ValueError(
                f"class {label} has {len(rows)} images, too few to hold out {ends[-1]} of them"
            )
        *held_out, rest = np.split(rows, ends)
        for part, chosen in zip(parts, [rest, *held_out], strict=True):
            part.append(chosen)
    return tuple(np.sort(np.concatenate(part)) for part in parts)


def _loaded(data: LabelledImages | None) -> LabelledImages:
    assert data is not None, "setup() has not been called for this stage"
    return data
