"""Section 4.1: label-preserving transformations of a batch of uint8 images.

In NumPy, because the work is too small to divide between threads: torch would wait for its threads.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from alexnet.sources.statistics import ColorComponents

Augmentation = Literal["none", "crop24", "crop224", "pad4"]
"""none: the unchanged image. crop224: a random 224 x 224 crop, and a random reflection (section
4.1). crop24: the same with 24 x 24 pixels (the CIFAR-10 networks of section 3.3). pad4: the image
moved by up to 4 pixels in each direction, and a random reflection."""

ColorNoiseScale = Literal["variance", "deviation"]
"""What alpha in section 4.1 multiplies: the eigenvalue, as printed, or its root, as run in 2012."""

CROP_PIXELS = {"crop24": 24, "crop224": 224}
PAD_PIXELS = 4
NUM_VIEWS = 10


@dataclass(frozen=True)
class Views:
    """The view of each of N images: reflection, top left corner of the crop, and colour.

    Shapes: (N,), and (N, 3) for the colour that is added to every pixel; None without colours.
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

    With scale="variance", scale_i is the eigenvalue, as printed. The paper does not state the range
    of the pixels: for 0..255, colours would change by 1,500 levels. We use the eigenvalue for
    pixels in 0..1, which gives about 6 levels. With "deviation", scale_i is the square root of the
    eigenvalue, which the program of 2012 used: about 12 levels, for any range of pixels.
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
        """Draw colours in levels of 0..255, (count, 3) float32."""
        return (random.standard_normal((count, 3)) @ self._colors).astype(np.float32)


class Augmenter:
    """Draws and applies horizontal reflections and translations, and draws colours (section 4.1).

    They are drawn for each image, except that `block` consecutive images share one crop and one
    reflection, as in the program of 2012 (32). ImageModule.to_input adds the colours.

    Where pad4 moves pixels from outside into the view, they are those of the rounded mean image:
    the network, which receives the difference from the mean, gets zeros (within half a level).
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
        # The mean image at the size of a view, (C, h, w)
        self.fill = self.central(mean_image).round().astype(np.uint8)
        # False in the margin, (1, 1, H + 2 padding, W + 2 padding)
        self.known = self._pad(np.ones((1, 1, *mean_image.shape[-2:]), bool))

    def central(self, images: np.ndarray) -> np.ndarray:
        """Return the central view, which is used in evaluation.

        The central part of the mean image is subtracted from every view, wherever the crop is, as
        in the program of 2012 and unlike in Caffe.
        Shape: (..., H, W) -> (..., h, w), smaller only with crops.
        """
        if self.kind not in CROP_PIXELS:
            return images
        size = CROP_PIXELS[self.kind]
        top, left = ((pixels - size) // 2 for pixels in images.shape[-2:])
        return images[..., top : top + size, left : left + size]

    def views(self, images: np.ndarray, number: Literal[1, 10]) -> np.ndarray:
        """Return the central view, or corners, centre and their reflections (section 4.1).

        Shape: (N, C, H, W) -> (N, number, C, h, w). Ten views need an augmentation that crops.
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
        """Draw views of `count` images: all positions and both reflections are equally likely."""
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
