"""Division of images into training, validation and test, always in the same way."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alexnet.sources.labels import printable

VAL_PER_CLASS = 50  # as in the official validation set
_MOST_CLASSES_NAMED = 5

_SEED = 2012
_VALIDATION, _TEST = 1, 2  # seed the two choices differently


@dataclass(frozen=True)
class Split:
    """Rows of the training and the validation part, and a text on how they were chosen."""

    train: np.ndarray
    val: np.ndarray
    how: str


def hold_out_validation(labels: np.ndarray, per_class: int, *, class_ids: Sequence[str]) -> Split:
    """Cut the validation part from the training images.

    It has `per_class` images of each class, but at most a tenth of a class. If most classes have
    fewer than ten images, it is a tenth of all images, regardless of class.

    Raises ValueError if there are fewer than two images.
    """
    if len(labels) < 2:
        raise ValueError(f"{len(labels)} training image leaves none for validation: add some")
    random = np.random.default_rng((_SEED, _VALIDATION))
    sizes = np.bincount(labels)
    sizes = sizes[sizes > 0]
    if np.median(sizes) >= 10:
        chosen = _of_each_class(labels, np.minimum(per_class, np.bincount(labels) // 10), random)
        how = f"{per_class} training images of each class, at most a tenth of it"
    else:
        chosen = np.zeros(len(labels), bool)
        chosen[random.permutation(len(labels))[: max(1, len(labels) // 10)]] = True
        how = "a tenth of the training images of any class: most classes have fewer than 10"
        unseen = np.setdiff1d(labels[chosen], labels[~chosen])
        if len(unseen):
            how += f"; classes without training images: {name_some([class_ids[i] for i in unseen])}"
    return Split(np.flatnonzero(~chosen), np.flatnonzero(chosen), how)


def name_some(class_ids: Sequence[str]) -> str:
    """List the first few classes, and how many more there are."""
    named = ", ".join(map(printable, class_ids[:_MOST_CLASSES_NAMED]))
    more = len(class_ids) - _MOST_CLASSES_NAMED
    return f"{named}, and {more} more classes" if more > 0 else named


def hold_out_test(labels: np.ndarray, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Cut this fraction of each class off: return the rows of the rest and of the test part."""
    random = np.random.default_rng((_SEED, _TEST))
    sizes = np.bincount(labels)
    chosen = _of_each_class(labels, np.round(fraction * sizes).astype(int), random)
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def shuffled(rows: np.ndarray) -> np.ndarray:
    """Return the rows in an order that mixes the classes."""
    return np.random.default_rng(_SEED).permutation(rows)


def first_of_each_class(labels: np.ndarray, fraction: float) -> np.ndarray:
    """Return sorted rows of a fraction of each class, at least one.

    The rows of a smaller fraction are among those of a larger one.
    """
    sizes = np.bincount(labels)
    counts = np.maximum(np.round(fraction * sizes).astype(int), np.minimum(sizes, 1))
    return np.flatnonzero(_of_each_class(labels, counts, np.random.default_rng(_SEED)))


def first_of_all_classes(labels: np.ndarray, count: int) -> np.ndarray:
    """Return sorted rows of `count` images: the first of each class, then the second, and so on."""
    order = np.argsort(labels, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(labels)) - np.searchsorted(labels[order], labels[order])
    return np.sort(np.lexsort((labels, rank))[:count])


def _of_each_class(
    labels: np.ndarray, counts: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Choose counts[label] rows of each class, as a mask."""
    order = random.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]  # class by class, shuffled within
    starts = np.searchsorted(labels[order], np.arange(len(counts)))
    rank = np.arange(len(labels)) - starts[labels[order]]
    chosen = np.zeros(len(labels), bool)
    chosen[order] = rank < counts[labels[order]]
    return chosen
