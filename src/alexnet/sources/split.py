"""Which images are for training, for validation and for the test: always the same choice."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alexnet.sources.labels import printable

VAL_PER_CLASS = 50  # as many as the official validation set has
_MOST_CLASSES_NAMED = 5

_SEED = 2012
_VALIDATION, _TEST = 1, 2  # so that the two choices have nothing in common


@dataclass(frozen=True)
class Split:
    """Rows of the images that were given, and how the validation part was chosen, in words."""

    train: np.ndarray
    val: np.ndarray
    how: str


def hold_out_validation(labels: np.ndarray, per_class: int, *, class_ids: Sequence[str]) -> Split:
    """Cut the validation part from the training images.

    `per_class` of every class, but at most a tenth of a class. Where most classes have fewer than
    ten images, a tenth of all, whatever their class.

    Raises ValueError if there are fewer than two images.
    """
    if len(labels) < 2:
        raise ValueError(f"{len(labels)} training image leaves none for validation: add some")
    random = np.random.default_rng((_SEED, _VALIDATION))
    sizes = np.bincount(labels)
    sizes = sizes[sizes > 0]
    if np.median(sizes) >= 10:
        chosen = _of_each_class(labels, np.minimum(per_class, np.bincount(labels) // 10), random)
        how = f"{per_class} training images of every class, at most a tenth of it"
    else:
        chosen = np.zeros(len(labels), bool)
        chosen[random.permutation(len(labels))[: max(1, len(labels) // 10)]] = True
        how = "a tenth of the training images whatever their class: most classes have fewer than 10"
        unseen = np.setdiff1d(labels[chosen], labels[~chosen])
        if len(unseen):
            how += f"; classes without training images: {name_some([class_ids[i] for i in unseen])}"
    return Split(np.flatnonzero(~chosen), np.flatnonzero(chosen), how)


def name_some(class_ids: Sequence[str]) -> str:
    """In words: the first of them, and how many more there are."""
    named = ", ".join(map(printable, class_ids[:_MOST_CLASSES_NAMED]))
    more = len(class_ids) - _MOST_CLASSES_NAMED
    return f"{named}, and {more} more classes" if more > 0 else named


def hold_out_test(labels: np.ndarray, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Cut this fraction of every class off: (the rest, the test part)."""
    random = np.random.default_rng((_SEED, _TEST))
    sizes = np.bincount(labels)
    chosen = _of_each_class(labels, np.round(fraction * sizes).astype(int), random)
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def shuffled(rows: np.ndarray) -> np.ndarray:
    """In an order that mixes the classes."""
    return np.random.default_rng(_SEED).permutation(rows)


def first_of_each_class(labels: np.ndarray, fraction: float) -> np.ndarray:
    """Sorted rows of so much of every class, one at least; those of a larger fraction hold them."""
    sizes = np.bincount(labels)
    counts = np.maximum(np.round(fraction * sizes).astype(int), np.minimum(sizes, 1))
    return np.flatnonzero(_of_each_class(labels, counts, np.random.default_rng(_SEED)))


def first_of_all_classes(labels: np.ndarray, count: int) -> np.ndarray:
    """Sorted rows of `count` images: the first of every class, then the second, and so on."""
    order = np.argsort(labels, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(labels)) - np.searchsorted(labels[order], labels[order])
    return np.sort(np.lexsort((labels, rank))[:count])


def _of_each_class(
    labels: np.ndarray, counts: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Choose counts[label] rows of every class, as a mask."""
    order = random.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]  # class by class, shuffled within
    starts = np.searchsorted(labels[order], np.arange(len(counts)))
    rank = np.arange(len(labels)) - starts[labels[order]]
    chosen = np.zeros(len(labels), bool)
    chosen[order] = rank < counts[labels[order]]
    return chosen
