"""Section 4.1: label-preserving transformations of a batch of uint8 images.

In NumPy, because the work is too little to share between threads: with torch's, it waits for them.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

Augmentation = Literal["none", "crop24", "pad4"]
"""none: the image as it is. crop24: a random 24 x 24 crop and a reflection (the CIFAR-10 networks
of section 3.3). pad4: the image moved by up to 4 pixels in each direction, and a reflection."""

CROP_PIXELS = 24
PAD_PIXELS = 4


@dataclass(frozen=True)
class Views:
    """Which view each of N images is seen in; all three have shape (N,)."""

    reflected: np.ndarray
    top: np.ndarray
    left: np.ndarray

    def __getitem__(self, rows: slice) -> "Views":
        return Views(self.reflected[rows], self.top[rows], self.left[rows])


class Augmenter:
    """Horizontal reflections and translations, drawn per image.

    Images that were moved by pad4 show the rounded mean image where nothing is known, so that the
    network, which sees the difference from the mean, sees zeros there (within half a level).
    """

    def __init__(self, kind: Augmentation, mean_image: np.ndarray) -> None:
        self.kind = kind
        self.padding = PAD_PIXELS if kind == "pad4" else 0
        # Of the size of a view, (C, h, w)
        self.fill = self.central(mean_image).round().astype(np.uint8)
        # False in the margin, (1, 1, H + 2 padding, W + 2 padding)
        self.known = self._pad(np.ones((1, 1, *mean_image.shape[-2:]), bool))

    def central(self, images: np.ndarray) -> np.ndarray:
        """The view in evaluation, and the part of the mean image that any view has subtracted.

        Like the 2012 program, and unlike Caffe, the mean stays in the centre wherever the crop is.
        Shape: (..., H, W) -> (..., h, w), smaller only with crop24.
        """
        if self.kind != "crop24":
            return images
        top, left = ((pixels - CROP_PIXELS) // 2 for pixels in images.shape[-2:])
        return images[..., top : top + CROP_PIXELS, left : left + CROP_PIXELS]

    def draw(self, count: int, random: np.random.Generator) -> Views:
        """Random views of `count` images: every position and either reflection equally likely."""
        height, width = self.fill.shape[-2:]
        tops, lefts = (self.known.shape[-2] - height + 1, self.known.shape[-1] - width + 1)
        return Views(
            reflected=random.integers(2, size=count).astype(bool),
            top=random.integers(tops, size=count),
            left=random.integers(lefts, size=count),
        )

    def apply(self, images: np.ndarray, views: Views) -> np.ndarray:
        """Reflect, then cut. Shape: (N, C, H, W) -> (N, C, h, w)."""
        if self.kind == "none":
            return images
        images = images.copy()
        images[views.reflected] = images[views.reflected][..., ::-1]
        seen = self._cut(self._pad(images), views)
        if self.padding:
            known = self._cut(
                np.broadcast_to(self.known, (len(images), *self.known.shape[1:])), views
            )
            np.copyto(seen, self.fill, where=~known)
        return seen

    def _pad(self, images: np.ndarray) -> np.ndarray:
        margin = (self.padding, self.padding)
        return np.pad(images, ((0, 0), (0, 0), margin, margin)) if self.padding else images

    def _cut(self, images: np.ndarray, views: Views) -> np.ndarray:
        # (N, C, tops, lefts, h, w), a view without a copy
        windows = sliding_window_view(images, self.fill.shape[-2:], axis=(-2, -1))
        return windows[np.arange(len(images)), :, views.top, views.left]
