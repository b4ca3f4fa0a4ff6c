"""Pooling (section 3.4): windows of z x z pixels, s = 2 pixels apart, which overlap if z > s.

The last windows may extend beyond the right and the bottom edge, as in 2012: sizes are rounded up.
Shape: (N, C, S, S) -> (N, C, T, T) with T = 1 + ceil((S - z) / 2).
"""

from collections.abc import Mapping
from functools import partial

import torch
from torch import nn

from alexnet.vocabulary import Factory

_STRIDE = 2


def overlapping() -> nn.MaxPool2d:
    """Make a max pooling with overlapping windows, z = 3."""
    return nn.MaxPool2d(3, _STRIDE, ceil_mode=True)


def non_overlapping() -> nn.MaxPool2d:
    """Make a max pooling with windows that do not overlap, z = 2."""
    return nn.MaxPool2d(2, _STRIDE, ceil_mode=True)


def average() -> nn.AvgPool2d:
    """Make an average pooling, z = 3; the mean is over the pixels inside the image."""
    return nn.AvgPool2d(3, _STRIDE, ceil_mode=True)


# For networks in which some layers always take the mean, with the windows of the chosen pooling.
AVERAGES: Mapping[str, Factory] = {
    "overlapping": average,
    "non_overlapping": partial(nn.AvgPool2d, 2, _STRIDE, ceil_mode=True),
}


def pooled_size(size: int, pool: nn.Module, *, channels: int, image_size: int) -> int:
    """Return the side of the maps after pooling maps of side `size`.

    It is found by pooling maps on the meta device, and so holds for poolings that users add.

    Raises ValueError if the maps, and so images of `image_size`, are too small for the pooling, or
    if the pooling does not return the same number of square maps.
    """
    problem = ""
    if size > 0:
        try:
            pooled = pool(torch.empty(1, channels, size, size, device="meta"))
        except RuntimeError as error:
            problem = f" ({error})"
        else:
            if pooled.shape != (1, channels, *pooled.shape[-1:] * 2):
                raise ValueError(
                    f"{pool} turns maps of 1 x {channels} x {size} x {size} into "
                    f"{' x '.join(map(str, pooled.shape))}: a pooling must return the same number "
                    "of square maps"
                )
            return pooled.shape[-1]
    raise ValueError(
        f"images of image_size={image_size} are too small for the layers up to "
        f"{pool}{problem}: enlarge the images"
    )
