import math

from torch import nn

from alexnet.model.levels import choose
from alexnet.vocabulary import Pooling

# Section 3.4: windows of z x z pixels, s = 2 pixels apart. They overlap where z > s.
_WINDOW: dict[str, int] = {"overlapping": 3, "non_overlapping": 2}
_STRIDE = 2


def make_max_pool(pooling: Pooling) -> nn.MaxPool2d:
    """Each window's largest activity (section 3.4). Raises ValueError for an unknown pooling.

    Shape: (N, C, S, S) -> (N, C, T, T) with T = pooled_size(S, pooling).
    """
    return nn.MaxPool2d(choose("pooling", pooling, _WINDOW), _STRIDE, ceil_mode=True)


def make_average_pool(pooling: Pooling) -> nn.AvgPool2d:
    """Each window's mean activity over the pixels inside the image, as the program of 2012 had it.

    Shape and errors as in make_max_pool.
    """
    return nn.AvgPool2d(choose("pooling", pooling, _WINDOW), _STRIDE, ceil_mode=True)


def pooled_size(size: int, pooling: Pooling) -> int:
    """The side of the map after pooling a map of this side; below 1 if no window fits.

    Rounded up, as in 2012: the last window may reach over the right and bottom edges.
    """
    return 1 + math.ceil((size - choose("pooling", pooling, _WINDOW)) / _STRIDE)
