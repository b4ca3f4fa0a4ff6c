"""Section 4.1: label-preserving transformations of a batch of uint8 images.

In NumPy, because the work is too little to share between threads: with torch's, it waits for them.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from alexnet.sources.statistics import ColorComponents

Augmentation = Literal["none", "crop24", "crop224", "pad4"]
"""none: the image as it is. crop224: a random 224 x 224 crop and a reflection (section 4.1);
crop24: the same of 24 x 24 (the CIFAR-10 networks of section 3.3). pad4: the image moved by up to 4
pixels in each direction, and a reflection."""

ColorNoiseScale = Literal["variance", "deviation"]
"""What alpha of section 4.1 multiplies: the eigenvalue as printed, or its root as run in 2012."""

CROP_PIXELS = {"crop24": 24, "crop224": 224}
PAD_PIXELS = 4
NUM_VIEWS = 10


@dataclass(frozen=True)
class Views:
    """Which view each of N images is seen in.

    Shapes: (N,), and (N, 3) for what is added to every pixel's RGB, None if nothing is.
    """

    reflected: np.ndarray
    top: np.ndarray
    left: np.ndarray
    color: np.ndarray | None = None

    def __getitem__(self, rows: slice) -> "Views":
        color = None if self.color is None else self.color[rows]
        return Views(self.reflected[rows], self.top[rows], self.left[rows], color)


class ColorNoise:
    """One random colour for all pixels of an image, along the principal components (section 4.1).

        colour = sum of p_i * alpha_i * scale_i over the components,  alpha_i ~ N(0, coefficient)

    With scale="variance", scale_i is the eigenvalue, as the paper prints. The paper does not say of
    which pixels: of 0..255 a colour would differ by 1,500 levels. We take it as of pixels in 0..1,
    where it comes to some 6 levels. With "deviation" scale_i is its square root, which the program
    of 2012 used, for any range of pixels: some 12 levels.
    """

    def __init__(
        self, components: ColorComponents, *, coefficient: float, scale: ColorNoiseScale
    ) -> None:
        scales = {
            "variance": components.eigenvalues / 255,  # (lambda / 255**2) * 255
            "deviation": np.sqrt(components.eigenvalues),
        }
        # (3, 3): standard normal numbers times this are colours.
        self._colors = (coefficient * scales[scale] * components.eigenvectors).T

    def draw(self, count: int, random: np.random.Generator) -> np.ndarray:
        """Colours in levels of 0..255, (count, 3) float32."""
        return (random.standard_normal((count, 3)) @ self._colors).astype(np.float32)


class Augmenter:
    """Horizontal reflections, translations and colours.

    Drawn per image, but that `block` consecutive images share one crop and one reflection, as in
    the program of 2012 (32). Colours are for whoever subtracts the mean to add.

    Images that were moved by pad4 show the rounded mean image where nothing is known, so that the
    network, which sees the difference from the mean, sees zeros there (within half a level).
    """

    def __init__(
        self,
        kind: Augmentation,
        mean_image: np.ndarray,
        *,
        block: int = 1,
        color_noise: ColorNoise | None = None,
    ) -> None:
        self.kind = kind
        self.block = block
        self.color_noise = color_noise
        self.padding = PAD_PIXELS if kind == "pad4" else 0
        # Of the size of a view, (C, h, w)
        self.fill = self.central(mean_image).round().astype(np.uint8)
        # False in the margin, (1, 1, H + 2 padding, W + 2 padding)
        self.known = self._pad(np.ones((1, 1, *mean_image.shape[-2:]), bool))

    def central(self, images: np.ndarray) -> np.ndarray:
        """The view in evaluation, and the part of the mean image that any view has subtracted.

        Like the 2012 program, and unlike Caffe, the mean stays in the centre wherever the crop is.
        Shape: (..., H, W) -> (..., h, w), smaller only with crops.
        """
        if self.kind not in CROP_PIXELS:
            return images
        size = CROP_PIXELS[self.kind]
        top, left = ((pixels - size) // 2 for pixels in images.shape[-2:])
        return images[..., top : top + size, left : left + size]

    def views(self, images: np.ndarray, number: Literal[1, 10]) -> np.ndarray:
        """The central view, or the corners, the centre and their reflections (section 4.1).

        Shape: (N, C, H, W) -> (N, number, C, h, w). Ten only with crops.
        """
        if number == 1:
            return self.central(images)[:, None]
        size = CROP_PIXELS[self.kind]
        bottom, right = (pixels - size for pixels in images.shape[-2:])
        corners = [(0, 0), (0, right), (bottom, 0), (bottom, right)]
        views = [images[..., y : y + size, x : x + size] for y, x in corners]
        views.append(self.central(images))
        return np.stack([*views, *(view[..., ::-1] for view in views)], axis=1)

    def draw(self, count: int, random: np.random.Generator, *, colored: bool = True) -> Views:
        """Random views of `count` images: every position and either reflection equally likely."""
        height, width = self.fill.shape[-2:]
        tops, lefts = (self.known.shape[-2] - height + 1, self.known.shape[-1] - width + 1)
        blocks = -(-count // self.block)

        def per_image(drawn: np.ndarray) -> np.ndarray:
            return np.repeat(drawn, self.block)[:count]

        return Views(
            reflected=per_image(random.integers(2, size=blocks).astype(bool)),
            top=per_image(random.integers(tops, size=blocks)),
            left=per_image(random.integers(lefts, size=blocks)),
            color=self.color_noise.draw(count, random) if self.color_noise and colored else None,
        )

    def empty(self, count: int) -> np.ndarray:
        """Room for `count` views: (count, C, h, w) uint8, with the channels last in memory."""
        channels, height, width = self.fill.shape
        return np.empty((count, height, width, channels), np.uint8).transpose(0, 3, 1, 2)

    def apply(self, images: np.ndarray, views: Views, into: np.ndarray | None = None) -> np.ndarray:
        """Reflect, then cut: (N, C, H, W) -> (N, C, h, w), with the channels last in memory.

        The views are written to `into` if it is given; without augmentation, they are the images.
        """
        if self.kind == "none":
            return images
        seen = self.empty(len(images)) if into is None else into
        padded = self._pad(images)
        height, width = self.fill.shape[-2:]
        for view, image, reflected, top, left in zip(
            seen,
            padded,
            views.reflected.tolist(),
            views.top.tolist(),
            views.left.tolist(),
            strict=True,
        ):
            if reflected:
                # Channel by channel: NumPy would reverse three values at a time, six times as slow.
                for plane, channel in zip(view, image[..., ::-1], strict=True):
                    plane[:] = channel[top : top + height, left : left + width]
            else:
                view[:] = image[:, top : top + height, left : left + width]
        if self.padding:
            windows = sliding_window_view(self.known, (height, width), axis=(-2, -1))
            np.copyto(seen, self.fill, where=~windows[0, :, views.top, views.left])
        return seen

    def _pad(self, images: np.ndarray) -> np.ndarray:
        margin = (self.padding, self.padding)
        return np.pad(images, ((0, 0), (0, 0), margin, margin)) if self.padding else images
