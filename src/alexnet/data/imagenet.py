import difflib
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from typing_extensions import Unpack, override

from alexnet.config.suggest import did_you_mean
from alexnet.data.batches import ImageStore, LabelledImages
from alexnet.data.image_module import ImageModule, Settings
from alexnet.sources.labels import printable
from alexnet.sources.photograph import PIXELS, BadImage, decode
from alexnet.sources.raw_imagenet import (
    RawImage,
    RawPart,
    read_photograph,
    read_source,
    same_images,
)
from alexnet.sources.shards import (
    DEFAULT_ROOT,
    PARTS,
    Index,
    Part,
    ShardImages,
    check_sizes,
    is_unfinished,
    read_index,
    read_sums,
)
from alexnet.sources.split import (
    VAL_PER_CLASS,
    first_of_each_class,
    hold_out_validation,
    name_some,
)
from alexnet.sources.statistics import ColorComponents, Sums

log = logging.getLogger(__name__)

MOST_IN_MEMORY = 10_000  # images of 256 x 256: 2 GB

_IMAGES_OF: dict[Part, str] = {
    "train": "images left for training",
    "val": "images held out for validation",
    "test": "test images",
}
_HOW_TO_PREPARE = "python src/prepare.py source={}"


class ImageNet(ImageModule):
    """ImageNet as in section 2: 256 x 256 RGB, any number of classes.

    `root` is the output folder of src/prepare.py, whose images are decoded batch by batch. It may
    also be a folder with train/CLASS/*.JPEG and val/, or any other source that prepare.py accepts,
    of at most 10,000 images per part: these are converted in the same way and kept in memory. None
    means ~/.cache/alexnet-lab/imagenet.

    The official validation set is the test part. The validation images are cut from the training
    images: 50 of each class, but at most a tenth.

    `classes` is a number, which chooses the first of the sorted classes, or a list of class ids;
    `fraction` is the share of each class that is used for training. The choice is always the same.
    For prepared images, the mean and the colour components are those of the whole training part,
    whatever is chosen.

    Raises FileNotFoundError if there are no images; ValueError for an impossible choice of classes,
    for damaged files, and for too many images to convert in memory.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        classes: int | Sequence[str] | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        self.root = Path(root or DEFAULT_ROOT).expanduser()
        self._source = _open(self.root)
        self._labels = _choose(self._source.class_ids, classes)
        _refuse_parts_without_images(self._source, self._labels, classes)
        self._source.warn_of_same_images(self._labels)
        _warn_of_classes_without(self._source.count("train"), self._labels, self._source.class_ids)
        class_names = tuple(self._source.class_names[label] for label in self._labels)
        super().__init__(class_names=class_names, pixels=PIXELS, **settings)

    @override
    def load_train_and_val(self) -> tuple[ImageStore, ImageStore]:
        return self._source.load("train", self._labels, self.fraction), self._load("val")

    @override
    def take_fraction(self, train: ImageStore) -> ImageStore:
        return train  # only the fraction was loaded

    @override
    def load_test(self) -> ImageStore:
        return self._load("test")

    @override
    def measure_mean(self) -> np.ndarray:
        sums = self._source.sums
        return sums.mean_image if sums else super().measure_mean()

    @override
    def measure_colors(self) -> ColorComponents:
        sums = self._source.sums
        return sums.color_components() if sums else super().measure_colors()

    def _load(self, part: Part) -> ImageStore:
        return self._source.load(part, self._labels)


class _Prepared:
    """The source of prepared images: the shards of src/prepare.py."""

    def __init__(self, root: Path, index: Index) -> None:
        self.root = root
        self.index = index
        self.class_ids, self.class_names = index.class_ids, index.class_names
        check_sizes(root, index)  # including the test part, before days of training

    @property
    def sums(self) -> Sums:
        """Sums over the whole training part."""
        return read_sums(self.root)

    def count(self, part: Part) -> np.ndarray:
        """Return the number of images of each class in a part."""
        return np.array(self.index.counts[part])

    def load(self, part: Part, labels: Sequence[int], fraction: float = 1.0) -> ImageStore:
        """Load the images of these classes."""
        images = ShardImages(self.root, self.index.shards[part])
        rows, chosen = _of_classes(images.labels, labels, fraction)
        return _InShards(images, rows, chosen)

    def warn_of_same_images(self, labels: Sequence[int]) -> None:
        """Do nothing: src/prepare.py has warned already."""


@dataclass(frozen=True)
class _InShards:
    """An ImageStore of some rows of a part, with their labels."""

    images: ShardImages
    rows: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: np.ndarray) -> LabelledImages:
        return LabelledImages(self.images.read(self.rows[rows]), self.labels[rows])


class _Folders:
    """The source of raw images, in class folders or tar files."""

    sums = None  # measured on the images that are loaded

    def __init__(self, root: Path) -> None:
        self.root = root
        raw = read_source(root)
        if raw.test is None or not raw.test.images:
            raise FileNotFoundError(
                f"no test images in {root}{raw.not_read}: expected val/CLASS/*.JPEG"
            )
        _warn_of_bad([f"{location}: {reason}" for location, reason in raw.refused])
        self.class_ids, self.class_names = raw.class_ids, raw.class_names
        labels = np.array(raw.train.labels)
        split = hold_out_validation(labels, VAL_PER_CLASS, class_ids=raw.class_ids)
        log.info("validation: %s", split.how)
        self._parts: dict[Part, RawPart] = {
            "train": raw.train.take(split.train),
            "val": raw.train.take(split.val),
            "test": raw.test,
        }

    def count(self, part: Part) -> np.ndarray:
        """Return the number of images of each class in a part."""
        return np.bincount(self._parts[part].labels, minlength=len(self.class_ids))

    def load(self, part: Part, labels: Sequence[int], fraction: float = 1.0) -> ImageStore:
        """Load the images of these classes."""
        images = self._parts[part]
        rows, chosen = _of_classes(np.array(images.labels), labels, fraction)
        if len(rows) > MOST_IN_MEMORY:
            raise ValueError(
                f"{len(rows)} images are too many to convert at every start (at most "
                f"{MOST_IN_MEMORY}). Prepare them once: {_HOW_TO_PREPARE.format(self.root)} "
                "dest=FOLDER, and set data.root to that folder"
            )
        log.info("converting %d images of %s", len(rows), self.root)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            pixels = list(pool.map(_pixels, images.take(rows).images))
        _warn_of_bad([each for each in pixels if isinstance(each, str)])
        good = np.array([not isinstance(each, str) for each in pixels], bool)
        if not good.any():
            raise ValueError(f"none of the {part} images in {self.root} could be converted")
        if part == "train":
            # Classes that had no images before damaged ones were dropped were reported earlier.
            there, left = np.bincount(chosen), np.bincount(chosen[good], minlength=len(labels))
            ids = [self.class_ids[label] for label in labels]
            _warn_of_classes_without(left, np.flatnonzero(there).tolist(), ids)
        whole = np.stack([each for each in pixels if not isinstance(each, str)])
        return LabelledImages(whole, chosen[good])

    def warn_of_same_images(self, labels: Sequence[int]) -> None:
        """Warn of validation and test images that are also training images."""
        train, *others = (self._of(part, labels) for part in PARTS)
        if len(train.images) > MOST_IN_MEMORY:
            return  # too many, which load refuses
        for part, other in zip(PARTS[1:], others, strict=True):
            if pairs := same_images(train, other):
                one, same = pairs[0]
                log.warning(
                    "%d of %d %s images are also training images, such as %s, identical to %s",
                    len(pairs), len(other.images), part, printable(same.location),
                    printable(one.location),
                )  # fmt: skip

    def _of(self, part: Part, labels: Sequence[int]) -> RawPart:
        rows, _ = _of_classes(np.array(self._parts[part].labels), labels, fraction=1.0)
        return self._parts[part].take(rows)


def _pixels(image: RawImage) -> np.ndarray | str:
    """Convert an image as src/prepare.py does, (3, 256, 256) uint8, or return what is wrong."""
    photograph = read_photograph(image)
    if isinstance(photograph, BadImage):
        return f"{image.location}: {photograph}"
    return decode(photograph.jpeg)


def _warn_of_classes_without(
    counts: np.ndarray, labels: Sequence[int], class_ids: Sequence[str]
) -> None:
    """Warn of classes without training images, which cannot be learned but count in the errors."""
    if empty := [class_ids[label] for label in labels if not counts[label]]:
        log.warning("classes without training images: %s", name_some(empty))


def _warn_of_bad(images: Sequence[str]) -> None:
    if images:
        log.warning("%d images could not be converted:", len(images))
    for text in images:
        log.warning("  %s", printable(text))


def _open(root: Path) -> _Prepared | _Folders:
    if not root.is_dir():
        raise FileNotFoundError(
            f"no ImageNet in {root}: prepare it with {_HOW_TO_PREPARE.format('RAW_IMAGENET')} "
            f"dest={root}, or set data.root to the folder where it was prepared"
        )
    if index := read_index(root):
        return _Prepared(root, index)
    if is_unfinished(root):
        raise FileNotFoundError(
            f"the preparation of {root} is not finished: run the command of src/prepare.py again"
        )
    return _Folders(root)


def _choose(class_ids: Sequence[str], classes: int | Sequence[str] | None) -> list[int]:
    """Return the labels of the chosen classes, sorted."""
    if classes is None:
        return list(range(len(class_ids)))
    if isinstance(classes, int):
        if not 2 <= classes <= len(class_ids):
            raise ValueError(f"data.classes is {classes}, must be from 2 to {len(class_ids)}")
        return list(range(classes))
    if unknown := [each for each in classes if each not in class_ids]:
        few = [*difflib.get_close_matches(unknown[0], class_ids), *class_ids[:3]]
        raise ValueError(
            f"data.classes: there is no class {unknown[0]}, {did_you_mean(unknown[0], few)}"
        )
    if len(set(classes)) < max(2, len(classes)):
        raise ValueError(f"data.classes={list(classes)} must be two or more different classes")
    return sorted(class_ids.index(each) for each in classes)


def _refuse_parts_without_images(
    source: _Prepared | _Folders, chosen: Sequence[int], classes: int | Sequence[str] | None
) -> None:
    """Refuse a choice that leaves a part without images, including the test, which is read last."""
    counts = {part: source.count(part) for part in PARTS}
    for part, count in counts.items():
        if count[chosen].any():
            continue
        none = f"none of the {count.sum()} {_IMAGES_OF[part]} in {source.root} belongs to"
        if isinstance(classes, int):
            least = 1 + max(int(np.flatnonzero(each)[0]) for each in counts.values())
            raise ValueError(
                f"{none} the first {classes} classes: the smallest number that works is "
                f"data.classes={least}"
            )
        others = [source.class_ids[label] for label in np.flatnonzero(count)]
        raise ValueError(
            f"{none} these {len(chosen)} classes: add one of {len(others)} others to data.classes, "
            f"such as {', '.join(others[:3])}"
        )


def _of_classes(
    labels: np.ndarray, chosen: Sequence[int], fraction: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of the chosen classes, or a fraction of each, and their labels 0, 1, 2, ..."""
    new = np.full(max(labels.max(), *chosen) + 1, -1)
    new[list(chosen)] = np.arange(len(chosen))
    rows = np.flatnonzero(new[labels] >= 0)
    if fraction < 1:
        rows = rows[first_of_each_class(labels[rows], fraction)]
    return rows, new[labels[rows]]
