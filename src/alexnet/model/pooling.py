"""Section 3.4: windows of z x z pixels, s = 2 pixels apart. They overlap where z > s.

The last window of a row may extend beyond the right and the bottom edge, as in 2012: sizes are
rounded up. Shape: (N, C, S, S) -> (N, C, T, T) with T = 1 + ceil((S - z) / 2).
"""

from collections.abc import Mapping
from functools import partial

import torch
from torch import nn

from alexnet.vocabulary import Factory

_STRIDE = 2


def overlapping() -> nn.MaxPool2d:
    """Each window's largest activity, z = 3."""
    return nn.MaxPool2d(3, _STRIDE, ceil_mode=True)


def non_overlapping() -> nn.MaxPool2d:
    """Each window's largest activity, z = 2."""
    return nn.MaxPool2d(2, _STRIDE, ceil_mode=True)


def average() -> nn.AvgPool2d:
    """Each window's mean activity over the pixels inside the image, z = 3."""
    return nn.AvgPool2d(3, _STRIDE, ceil_mode=True)


# For networks of which some layers take the mean whatever the pooling: with the same windows.
AVERAGES: Mapping[str, Factory] = {
    "overlapping": average,
    "non_overlapping": partial(nn.AvgPool2d, 2, _STRIDE, ceil_mode=True),
}


def pooled_size(size: int, pool: nn.Module, *, channels: int, image_size: int) -> int:
    """The side of the maps after pooling maps of this side.

    Found by pooling maps without content, so that it holds for the poolings that users add.

    Raises ValueError if the maps are too small for the pooling, as images of `image_size` are then,
    or if the pooling does not return square maps, as many as there were.
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
                    f"{' x '.join(map(str, pooled.shape))}: a pooling must return square maps, as "
                    "many as it is given"
                )
            return pooled.shape[-1]
    raise ValueError(
        f"nothing is left of an image of image_size={image_size} after the layers up to "
        f"{pool}{problem}: enlarge the images"
    )
