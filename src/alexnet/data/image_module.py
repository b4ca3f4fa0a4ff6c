from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypedDict, get_args

import lightning.pytorch as pl
import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader
from typing_extensions import override

from alexnet.data.augmentation import (
    CROP_PIXELS,
    NUM_VIEWS,
    Augmentation,
    Augmenter,
    ColorNoise,
    ColorNoiseScale,
)
from alexnet.data.batches import (
    Batch,
    Batches,
    ImageStore,
    LabelledImages,
    Share,
    check_shared_memory,
    make_loader,
)
from alexnet.sources.split import first_of_all_classes, first_of_each_class
from alexnet.sources.statistics import ColorComponents, Sums
from alexnet.vocabulary import Count, Fraction, Positive, Rate

# Constant, so that runs of every seed are validated and tested on the same images.
_SPLIT_SEED = 2012
_ROWS_AT_ONCE = 1024  # when measuring mean and colours


Part = Literal["train", "val", "test"]


@dataclass(frozen=True)
class _Chosen:
    """Some rows of an ImageStore, read on demand."""

    data: ImageStore
    rows: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        return self.data.labels[self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: np.ndarray) -> LabelledImages:
        return self.data[self.rows[rows]]


class Settings(TypedDict, total=False):
    """Arguments of every data set; see ImageModule."""

    batch_size: Positive
    workers: Count
    fraction: Fraction
    augmentation: Augmentation
    crop_block: Positive
    color_noise: Rate
    color_noise_scale: ColorNoiseScale
    color_noise_rescale: bool
    color_noise_epochs: Count | None
    image_size: Positive | None
    seed: Count


class ImageModule(pl.LightningDataModule, ABC):
    """A data set of uint8 images, delivered as whole batches in the network's format (section 2).

    Subclasses load the images. After `setup`, `mean_image` (3, h, w) is the mean of the training
    images at their own size, in 0..255.

    On the device a batch is converted to float, the mean of each pixel is subtracted, and the
    images are scaled to `image_size` (default: the size of the views): the network receives
    (N, 3, image_size, image_size), RGB in 0..255 less the mean. Grey is repeated over the three
    channels. `batch_size` is the size of the global batch, which data-parallel replicas share.
    `fraction` is the share of each class's training images that is used, always the same images;
    validation and test are not reduced.

    Training images are in random views (section 4.1). `crop_block` consecutive images share a crop
    and a reflection. With `color_noise`, the standard deviation of alpha, each image gets a colour
    on the scale `color_noise_scale`, in the first `color_noise_epochs` epochs or always (None).
    `color_noise_rescale` then divides the images by 1 + color_noise, as the program of 2012 did so
    that training images are not larger than test images.

    Raises ValueError for invalid settings.
    """

    num_classes: int
    class_names: tuple[str, ...]
    mean_image: torch.Tensor

    def __init__(
        self,
        *,
        class_names: tuple[str, ...],
        pixels: int,
        batch_size: Positive = 128,
        workers: Count = 0,
        fraction: Fraction = 1.0,
        augmentation: Augmentation = "none",
        crop_block: Positive = 1,
        color_noise: Rate = 0.0,
        color_noise_scale: ColorNoiseScale = "deviation",
        color_noise_rescale: bool = False,
        color_noise_epochs: Count | None = None,
        image_size: Positive | None = None,
        seed: Count = 0,
    ) -> None:
        super().__init__()
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("workers", workers, 0),
            ("crop_block", crop_block, 1),
            ("color_noise", color_noise, 0),
            ("color_noise_epochs", color_noise_epochs, 0),
            ("image_size", image_size, 1),
            ("seed", seed, 0),
        ):
            if value is not None and value < least:
                raise ValueError(f"data.{name} is {value}, must be at least {least}")
        if not 0 < fraction <= 1:
            raise ValueError(f"data.fraction is {fraction}, must be above 0 and at most 1")
        for name, level, levels in (
            ("augmentation", augmentation, get_args(Augmentation)),
            ("color_noise_scale", color_noise_scale, get_args(ColorNoiseScale)),
        ):
            if level not in levels:
                raise ValueError(f"data.{name} is {level!r}, must be one of {', '.join(levels)}")
        if (crop := CROP_PIXELS.get(augmentation, 0)) > pixels:
            raise ValueError(
                f"data.augmentation={augmentation} needs images of {crop} pixels or more, but "
                f"these have {pixels}: set data.augmentation=pad4 or none"
            )
        self.class_names = class_names
        self.num_classes = len(class_names)
        self.batch_size = batch_size
        self.workers = workers
        self.fraction = fraction
        self.augmentation = augmentation
        self.crop_block = crop_block
        self.color_noise = color_noise
        self.color_noise_scale = color_noise_scale
        self.color_noise_rescale = color_noise_rescale
        self.color_noise_epochs = color_noise_epochs
        self.image_size = image_size or CROP_PIXELS.get(augmentation, pixels)
        self.seed = seed
        self._train: ImageStore | None = None
        self._val: ImageStore | None = None
        self._test: ImageStore | None = None
        self._start: tuple[int, int] | None = None

    @abstractmethod
    def load_train_and_val(self) -> tuple[ImageStore, ImageStore]:
        """Read the images for training and for validation."""

    @abstractmethod
    def load_test(self) -> ImageStore:
        """Read the test images; this is not called before the test."""

    def take_fraction(self, train: ImageStore) -> ImageStore:
        """Return `fraction` of each class of the training images."""
        if self.fraction == 1:
            return train
        return _Chosen(train, first_of_each_class(train.labels, self.fraction))

    def measure_mean(self) -> np.ndarray:
        """Return the mean of the training images, (C, h, w), once they are loaded."""
        parts = (images.sum(axis=0, dtype=np.int64) for images in _in_parts(_loaded(self._train)))
        # Exact, because integers are added.
        return sum(parts, start=next(parts)) / self.num_train_images

    def measure_colors(self) -> ColorComponents:
        """Return the colour components of the training images, once they are loaded."""
        parts = (Sums.of(images) for images in _in_parts(_loaded(self._train)))
        return sum(parts, start=next(parts)).color_components()

    @override
    def setup(self, stage: str) -> None:
        if self._train is None:
            self._train, self._val = self.load_train_and_val()
            self._train = self.take_fraction(self._train)
            noise = None
            if self.color_noise:
                noise = ColorNoise(
                    self.measure_colors(),
                    coefficient=self.color_noise,
                    scale=self.color_noise_scale,
                )
            mean = self.measure_mean()
            check_shared_memory(self.batch_size * mean.size, workers=self.workers)  # uint8
            self._subtract(mean, noise)
        if stage == "test" and self._test is None:
            self._test = self.load_test()

    def setup_evaluation(self, part: Part, mean_image: torch.Tensor) -> None:
        """Set up one part only, instead of `setup`, with the mean image of a trained network.

        The mean is (3, h, w), or (3, 1, 1) for one colour. Raises ValueError if the images have
        another size than the mean.
        """
        if part == "test":
            self._test = self.load_test()
        else:
            self._train, self._val = self.load_train_and_val()
        pixels = self._part(part)[np.arange(1)].images.shape[-2:]
        if mean_image.shape[-2:] == (1, 1):
            mean_image = mean_image.expand(3, *pixels)
        self._subtract(mean_image.numpy())
        if pixels != mean_image.shape[-2:]:
            raise ValueError(
                f"these images have {pixels[0]} x {pixels[1]} pixels, but the network was trained "
                f"on {mean_image.shape[-2]} x {mean_image.shape[-1]}: choose other data"
            )

    def evaluation_loader(
        self, part: Part, *, views: Literal[1, 10] = 1, rows: np.ndarray | None = None
    ) -> DataLoader[Batch]:
        """Make a loader of images (N, views, C, h, w) uint8 and labels (N,), each once, in order.

        With `rows`, it has only these images. One view is the central one; ten views are corners,
        centre and their reflections (section 4.1). Raises ValueError for ten views if the data's
        augmentation does not crop.
        """
        if views == NUM_VIEWS and self.augmentation not in CROP_PIXELS:
            raise ValueError(
                f"ten views are crops, but data.augmentation={self.augmentation} does not crop: "
                f"set crops=1, or data.augmentation to one of {', '.join(CROP_PIXELS)}"
            )
        data = self._part(part)
        chosen = data if rows is None else _Chosen(data, rows)
        batches = self._batches(chosen, seed=None, views=views)
        return make_loader(batches, workers=self.workers)

    def size_of(self, part: Part) -> int:
        """Return the number of images of a part, once it is loaded."""
        return len(self._part(part))

    def _part(self, part: Part) -> ImageStore:
        return _loaded({"train": self._train, "val": self._val, "test": self._test}[part])

    @property
    def num_train_images(self) -> int:
        """Number of training images, known after `setup`."""
        return len(_loaded(self._train))

    @property
    def num_val_images(self) -> int:
        """Number of validation images, known after `setup`."""
        return len(_loaded(self._val))

    @property
    def num_test_images(self) -> int:
        """Number of test images, known after `setup("test")`."""
        return len(_loaded(self._test))

    def start_at(self, epoch: int, step: int) -> None:
        """Let the next training loader begin with this batch, and continue with whole epochs.

        By default a loader begins with the trainer's current epoch.
        """
        self._start = epoch, step

    @override
    def train_dataloader(self) -> DataLoader[Batch]:
        batches = self._batches(_loaded(self._train), seed=self.seed)
        epoch, step = self._start or (self.trainer.current_epoch if self.trainer else 0, 0)
        return make_loader(batches, workers=self.workers, first_batch=epoch * len(batches) + step)

    @override
    def val_dataloader(self) -> DataLoader[Batch]:
        limit = self.trainer.limit_val_batches if self.trainer else None
        return self._loader_in_order(_loaded(self._val), limit)

    @override
    def test_dataloader(self) -> DataLoader[Batch]:
        limit = self.trainer.limit_test_batches if self.trainer else None
        return self._loader_in_order(_loaded(self._test), limit)

    def _loader_in_order(self, data: ImageStore, limit: float | None) -> DataLoader[Batch]:
        # Images are often sorted by class, so the first batches would have only a few classes, or
        # one. Lightning applies a limit that is a fraction (1.0: all) itself.
        if isinstance(limit, int) and limit * self.batch_size < len(data):
            data = _Chosen(data, first_of_all_classes(data.labels, limit * self.batch_size))
        return make_loader(self._batches(data, seed=None), workers=self.workers)

    @override
    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Convert uint8 (N, C, h, w) to the network's input, (N, 3, image_size, image_size)."""
        images, labels, *colors = batch
        images = self.to_input(images, *colors)
        if self.trainer is not None:
            # Lightning converts a batch before the transfer, when it has no floats yet.
            images = self.trainer.precision_plugin.convert_input(images)
        return images, labels

    def to_input(self, images: torch.Tensor, colors: torch.Tensor | None = None) -> torch.Tensor:
        """Return uint8 (N, C, h, w) less the mean, plus colours (N, 3), at the network's size."""
        images = images.float() - self._subtracted.to(images.device)  # (N, 3, h, w), also if C is 1
        if colors is not None:
            images += colors[:, :, None, None]
            if self.color_noise_rescale:
                images /= 1 + self.color_noise
        size = (self.image_size, self.image_size)
        if images.shape[-2:] != size:
            images = F.interpolate(images.contiguous(), size, mode="bilinear", antialias=True)
        return images

    def _subtract(self, mean: np.ndarray, noise: ColorNoise | None = None) -> None:
        rgb_mean = np.broadcast_to(mean, (3, *mean.shape[1:]))
        self.mean_image = torch.from_numpy(rgb_mean.astype(np.float32))
        self._augmenter = Augmenter(
            self.augmentation, mean, block=self.crop_block, color_noise=noise
        )
        subtracted = torch.from_numpy(self._augmenter.central(self.mean_image.numpy()))
        self._subtracted = subtracted[None].contiguous(memory_format=torch.channels_last)

    def _batches(
        self, data: ImageStore, seed: int | None, views: Literal[1, 10] | None = None
    ) -> Batches:
        return Batches(
            data,
            self._augmenter,
            batch_size=self.batch_size,
            seed=seed,
            share=self._share(),
            color_noise_epochs=self.color_noise_epochs,
            views=views,
        )

    def _share(self) -> Share:
        # The strategy knows the replicas: the columns of one network see the same images (3.2).
        split = self.trainer.distributed_sampler_kwargs if self.trainer else None
        return Share(split["rank"], split["num_replicas"]) if split else Share()


def hold_out(labels: np.ndarray, *sizes: int) -> tuple[np.ndarray, ...]:
    """Split rows into the rest, a part of sizes[0], a part of sizes[1], ..., always the same.

    The held-out parts have equally many rows of each class. Rows are sorted within each part.
    Raises ValueError if a class has too few rows.
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


def _in_parts(data: ImageStore) -> Iterator[np.ndarray]:
    for start in range(0, len(data), _ROWS_AT_ONCE):
        yield data[np.arange(start, min(start + _ROWS_AT_ONCE, len(data)))].images


def _loaded(data: ImageStore | None) -> ImageStore:
    assert data is not None, "setup() has not been called for this stage"
    return data
