import math
from collections.abc import Callable
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from alexnet.factors import Initialization, Nonlinearity, Normalization, Pooling
from alexnet.model.dropout import Dropout
from alexnet.model.initialization import InitialWeights
from alexnet.model.levels import choose
from alexnet.model.local_response_norm import LocalResponseNorm
from alexnet.model.nonlinearity import make_nonlinearity
from alexnet.model.pooling import make_max_pool, pooled_size

_KERNEL_PIXELS, _STRIDE = 11, 4  # of conv1

# Padding of (conv2, conv5), which the paper leaves out. With overlapping windows all convolutions
# but conv1 keep their size: 55 -> 27, 27 -> 13, 13 -> 6. The 2012 program's net without overlap
# (#147) pads less and so has the same maps before fc6: 55 -> 28, 26 -> 13, 11 -> 6.
_PADDING: dict[str, tuple[int, int]] = {"overlapping": (2, 1), "non_overlapping": (1, 0)}

_PAPER_STD = dict.fromkeys(("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"), 0.01)
# Bias 1 puts ReLUs in their active half from the first step. The same for every nonlinearity:
# arms of an ablation must start equal.
_PAPER_BIAS = dict.fromkeys(("conv2", "conv4", "conv5", "fc6", "fc7"), 1.0)
_INITIAL_WEIGHTS: dict[str, InitialWeights] = {
    "paper": InitialWeights(std=_PAPER_STD, bias=_PAPER_BIAS),
    "source_2012": InitialWeights(
        std=_PAPER_STD | dict.fromkeys(("conv3", "conv4", "conv5"), 0.03), bias=_PAPER_BIAS
    ),
    # Pixels less their mean have a std of about 64; He's rule expects about 1. A small fc8 makes
    # all classes about equally likely at first.
    "he": InitialWeights(
        std={name: 0.01 if name == "fc8" else "he" for name in _PAPER_STD}, pixel_scale=1 / 64
    ),
}


class AlexNet(nn.Module):
    """Five convolutional and three fully connected layers in two columns (sections 3.5 and 4.2).

    Column c of a layer's output is chunk(columns, 1)[c]. Convolutions 2, 4 and 5 see their own
    column only (grouped convolution), normalization stays within a column, and the columns meet at
    the inputs of `crossings`. `columns=1` connects all maps, which makes a larger network; the
    one-GPU control of section 3.2 is `channels=(48, 128, 192, 192, 256), columns=1`.

    `channels` are the maps of conv1 to conv5, `hidden` the neurons of fc6 and of fc7. `init` names
    the initial weights: paper (section 5), source_2012 (the program of 2012: std 0.03 in conv3 to
    conv5) or he (std by fan-in, biases 0, pixels divided by 64). `lrn_alpha_is_divided_by_size` is
    how the program of 2012 read alpha, see LocalResponseNorm.

    Shape: (N, 3, image_size, image_size), RGB 0..255 less the mean -> (N, num_classes) logits.

    Raises ValueError for an unknown level of a factor, if columns do not divide every layer but
    fc8, for dropout outside [0, 1), and for images too small for the layers.
    """

    crossings: ClassVar[tuple[str, ...]] = ("conv3", "fc6", "fc7", "fc8")
    """The layers whose input is both columns, joined along dimension 1 (section 3.2, figure 2)."""

    def __init__(
        self,
        num_classes: int = 1000,
        *,
        nonlinearity: Nonlinearity = "relu",
        normalization: Normalization = "lrn",
        pooling: Pooling = "overlapping",
        dropout: float = 0.5,
        columns: int = 2,
        init: Initialization = "paper",
        channels: tuple[int, ...] = (96, 256, 384, 384, 256),
        hidden: int = 4096,
        image_size: int = 224,
        lrn_alpha_is_divided_by_size: bool = False,
    ) -> None:
        super().__init__()
        if len(channels) != 5:
            raise ValueError(f"channels are the maps of conv1 to conv5, but are {tuple(channels)}")
        if columns < 1 or any(width % columns for width in (*channels, hidden)):
            raise ValueError(
                f"columns={columns} must divide every layer into equal parts, but channels are "
                f"{tuple(channels)} and hidden is {hidden}"
            )
        initial_weights = choose("init", init, _INITIAL_WEIGHTS)
        pad2, pad5 = choose("pooling", pooling, _PADDING)
        map_pixels = _pixels_before_fc6(image_size, pooling)

        self.columns = columns
        self.image_size = image_size
        self.pixel_scale = initial_weights.pixel_scale
        # 55 windows of 11 pixels, 4 apart, reach 3 pixels over an image of 224. As in 2012, these
        # pixels are on the right and at the bottom only, and zero, which is the mean.
        self.overhang = (_KERNEL_PIXELS - image_size) % _STRIDE

        norms: dict[str, Callable[[], nn.Module]] = {
            "lrn": partial(
                LocalResponseNorm,
                columns=columns,
                alpha_is_divided_by_size=lrn_alpha_is_divided_by_size,
            ),
            "none": nn.Identity,
        }
        norm = choose("normalization", normalization, norms)
        maps1, maps2, maps3, maps4, maps5 = channels
        self.nonlinearity = make_nonlinearity(nonlinearity)
        with torch.device("meta"):  # no memory and no random numbers before the weights are drawn
            self.conv1 = nn.Conv2d(3, maps1, _KERNEL_PIXELS, _STRIDE)
            self.norm1 = norm()
            self.pool1 = make_max_pool(pooling)
            self.conv2 = nn.Conv2d(maps1, maps2, 5, padding=pad2, groups=columns)
            self.norm2 = norm()
            self.pool2 = make_max_pool(pooling)
            self.conv3 = nn.Conv2d(maps2, maps3, 3, padding=1)
            self.conv4 = nn.Conv2d(maps3, maps4, 3, padding=1, groups=columns)
            self.conv5 = nn.Conv2d(maps4, maps5, 3, padding=pad5, groups=columns)
            self.pool5 = make_max_pool(pooling)
            self.fc6 = nn.Linear(maps5 * map_pixels, hidden)
            self.dropout6 = Dropout(dropout)
            self.fc7 = nn.Linear(hidden, hidden)
            self.dropout7 = Dropout(dropout)
            self.fc8 = nn.Linear(hidden, num_classes)
        initial_weights.draw(self)

    @override
    def forward(self, images: Tensor) -> Tensor:
        f = self.nonlinearity
        x = F.pad(images * self.pixel_scale, (0, self.overhang, 0, self.overhang))
        x = f(self.conv1(x))  # (N, 96, 55, 55), two columns of 48
        x = self.pool1(self.norm1(x))  # (N, 96, 27, 27)
        x = f(self.conv2(x))  # (N, 256, 27, 27)
        x = self.pool2(self.norm2(x))  # (N, 256, 13, 13)
        x = f(self.conv3(x))  # (N, 384, 13, 13), from both columns
        x = f(self.conv4(x))  # (N, 384, 13, 13)
        x = f(self.conv5(x))  # (N, 256, 13, 13)
        x = self.pool5(x).flatten(1)  # (N, 9216), column after column
        x = self.dropout6(f(self.fc6(x)))  # (N, 4096), from both columns
        x = self.dropout7(f(self.fc7(x)))  # (N, 4096), from both columns
        return self.fc8(x)  # (N, 1000), from both columns


def _pixels_before_fc6(image_size: int, pooling: Pooling) -> int:
    pad2, pad5 = _PADDING[pooling]
    size = 1 + math.ceil((image_size - _KERNEL_PIXELS) / _STRIDE)  # 55
    size = pooled_size(size, pooling)  # 27
    size = pooled_size(size + 2 * pad2 - 4, pooling)  # 13
    size = pooled_size(size + 2 * pad5 - 2, pooling)  # 6
    if size < 1:
        raise ValueError(
            f"nothing is left of an image of image_size={image_size} after the convolutional "
            f"layers with {pooling} pooling: enlarge the images"
        )
    return size**2
