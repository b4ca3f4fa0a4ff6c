import math
from functools import partial
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from alexnet.model.dropout import Dropout
from alexnet.model.grouped_linear import GroupedLinear
from alexnet.model.initialization import InitialWeights
from alexnet.model.levels import choose, make
from alexnet.model.local_response_norm import LocalResponseNorm
from alexnet.model.nonlinearity import make_nonlinearity
from alexnet.model.pooling import pooled_size
from alexnet.model.same_map_norm import SameMapNorm
from alexnet.vocabulary import (
    Above0,
    Initialization,
    MiddleLayer,
    Nonlinearity,
    Normalization,
    Pooling,
    Positive,
    Probability,
    Rate,
)

_KERNEL_PIXELS, _STRIDE = 11, 4  # of conv1

# Padding of (conv2, conv5), which the paper leaves out. With overlapping windows all convolutions
# but conv1 keep their size: 55 -> 27, 27 -> 13, 13 -> 6. The 2012 program's net without overlap
# (#147) pads less and so has the same maps before fc6: 55 -> 28, 26 -> 13, 11 -> 6. Other poolings
# (average, and those that users add) get the padding of overlapping ones.
_PADDING: dict[str, tuple[int, int]] = {"overlapping": (2, 1), "non_overlapping": (1, 0)}

_CONVOLUTIONS = ("conv1", "conv2", "conv3", "conv4", "conv5", "conv6")
_PAPER_STD = dict.fromkeys((*_CONVOLUTIONS, "fc6", "fc7", "fc8"), 0.01)
# Bias 1 puts ReLUs in their active half from the first step (section 5). It is the same for every
# nonlinearity, because arms of an ablation must start equal.
_PAPER_BIAS = dict.fromkeys(("conv2", "conv4", "conv5", "conv6", "fc6", "fc7"), 1.0)
_INITIAL_WEIGHTS: dict[str, InitialWeights] = {
    "paper": InitialWeights(std=_PAPER_STD, bias=_PAPER_BIAS),
    "source_2012": InitialWeights(
        std=_PAPER_STD | dict.fromkeys(("conv3", "conv4", "conv5", "conv6"), 0.03),
        bias=_PAPER_BIAS,
    ),
    "he": InitialWeights.he(*_PAPER_STD),
}


class AlexNet(nn.Module):
    """Five convolutional and three fully connected layers in two columns (sections 3.5 and 4.2).

    Column c of a layer's output is chunk(columns, 1)[c]. Convolutions 2, 4 and 5 see only their own
    column (grouped convolution), normalization stays within a column, and the columns meet at the
    inputs of `crossings`. `columns=1` connects all maps, which makes a larger network; the one-GPU
    control of section 3.2 is `channels=(48, 128, 192, 192, 256), columns=1`.

    `channels` are the maps of conv1 to conv5, `hidden` the neurons of fc6 and fc7. `init` chooses
    the initial weights: paper (section 5), source_2012 (the program of 2012: std 0.03 in conv3 and
    above) or he (std by fan-in, biases 0, pixels divided by 64). The four constants of local
    response normalization begin with `lrn_`. `normalization="none"` removes every norm; any other
    level replaces both local response normalizations.

    `nonlinearity`, `normalization` and `pooling` are levels of vocabulary.LEVELS. Each layer has
    its own module. A level that acts across channels accepts `columns`, the number of equal blocks
    of channels, and keeps it in an attribute of that name.

    Other networks of the paper: `removed` lists convolutions to leave out (section 7); the columns
    then meet at the first of conv3 to conv5 that remains. `sixth_convolution` adds a convolution
    after the last pooling, which sees both columns and has as many maps as conv5 (section 6).

    Differences of the program of 2012: `norm1_before_nonlinearity` normalizes and pools conv1's
    output before its nonlinearity, `same_map_norm` adds SameMapNorm after the normalization of
    conv2, and `lrn_alpha_is_divided_by_size` divides alpha as that program did (see
    LocalResponseNorm). With `columns_cross=False` (its net #150) the columns meet only at fc8.
    `dropout_is_inverted` is newer, see Dropout.

    Shape: (N, 3, image_size, image_size), RGB 0..255 less the mean -> (N, num_classes) logits.

    Raises ValueError for an unknown level of a factor or an unknown layer in `removed`, if columns
    do not divide every layer but fc8, for columns_cross=False with one column, for dropout outside
    [0, 1), for constants that LocalResponseNorm refuses, and for images too small for the layers.
    """

    def __init__(
        self,
        num_classes: Positive = 1000,
        *,
        nonlinearity: Nonlinearity = "relu",
        normalization: Normalization = "lrn",
        pooling: Pooling = "overlapping",
        dropout: Probability = 0.5,
        columns: Positive = 2,
        init: Initialization = "paper",
        channels: tuple[Positive, Positive, Positive, Positive, Positive] = (
            96,
            256,
            384,
            384,
            256,
        ),
        hidden: tuple[Positive, Positive] = (4096, 4096),
        image_size: Positive = 224,
        lrn_size: Positive = 5,
        lrn_alpha: Rate = 1e-4,
        lrn_beta: Rate = 0.75,
        lrn_k: Above0 = 2.0,
        lrn_alpha_is_divided_by_size: bool = False,
        norm1_before_nonlinearity: bool = False,
        same_map_norm: bool = False,
        dropout_is_inverted: bool = False,
        columns_cross: bool = True,
        removed: tuple[MiddleLayer, ...] = (),
        sixth_convolution: bool = False,
    ) -> None:
        super().__init__()
        _refuse_impossible(channels, hidden, columns, columns_cross, removed)
        initial_weights = choose("init", init, _INITIAL_WEIGHTS)
        self.columns = columns
        # The layers whose input is both columns, joined along dimension 1 (section 3.2, Figure 2).
        self.crossings = _crossings(columns_cross, removed, sixth_convolution)
        self.image_size = image_size
        self.norm1_before_nonlinearity = norm1_before_nonlinearity
        self.pixel_scale = initial_weights.pixel_scale
        # 55 windows of 11 pixels, 4 apart, extend 3 pixels beyond an image of 224. As in 2012,
        # these pixels are on the right and at the bottom only, and zero, which is the mean.
        self.overhang = (_KERNEL_PIXELS - image_size) % _STRIDE

        lrn = partial(
            LocalResponseNorm,
            size=lrn_size,
            alpha=lrn_alpha,
            beta=lrn_beta,
            k=lrn_k,
            alpha_is_divided_by_size=lrn_alpha_is_divided_by_size,
        )
        maps1, maps2, maps3, maps4, maps5 = channels
        # A layer that is left out passes on the maps of the layer before it.
        maps3 = maps2 if "conv3" in removed else maps3
        maps4 = maps3 if "conv4" in removed else maps4
        last_maps = maps4 if "conv5" in removed else maps5
        neurons6, neurons7 = hidden
        pad2, pad5 = _PADDING.get(pooling, _PADDING["overlapping"])
        widths = {
            "conv1": maps1, "conv2": maps2, "conv3": maps3, "conv4": maps4, "conv5": maps5,
            "conv6": maps5, "fc6": neurons6, "fc7": neurons7,
        }  # fmt: skip
        absent = removed if sixth_convolution else (*removed, "conv6")

        def groups(layer: str) -> int:
            return 1 if layer in self.crossings else columns

        def norm(maps: int) -> nn.Module:
            return make(
                "normalization", normalization, own={"lrn": lrn}, channels=maps, columns=columns
            )

        def pool(maps: int) -> nn.Module:
            return make("pooling", pooling, channels=maps, columns=columns)

        with torch.device("meta"):  # no memory and no random numbers before the weights are drawn
            # A module for each layer, because it may have parameters.
            self.nonlinearity = nn.ModuleDict(
                {
                    layer: make_nonlinearity(nonlinearity, channels=width, columns=columns)
                    for layer, width in widths.items()
                    if layer not in absent
                }
            )
            self.conv1 = nn.Conv2d(3, maps1, _KERNEL_PIXELS, _STRIDE)
            self.norm1 = norm(maps1)
            self.pool1 = pool(maps1)
            self.conv2 = nn.Conv2d(maps1, maps2, 5, padding=pad2, groups=columns)
            self.norm2 = norm(maps2)
            has_same_map_norm = same_map_norm and normalization != "none"
            self.same_map_norm2 = SameMapNorm() if has_same_map_norm else nn.Identity()
            self.pool2 = pool(maps2)
            self.conv3 = nn.Conv2d(maps2, maps3, 3, padding=1, groups=groups("conv3"))
            self.conv4 = nn.Conv2d(maps3, maps4, 3, padding=1, groups=groups("conv4"))
            self.conv5 = nn.Conv2d(maps4, maps5, 3, padding=pad5, groups=groups("conv5"))
            self.pool5 = pool(last_maps)
            self.conv6 = nn.Conv2d(last_maps, maps5, 3, padding=1, groups=groups("conv6"))
            map_pixels = self._size_before_fc6(pad2, pad5 if "conv5" not in removed else 1) ** 2
            last_maps = maps5 if sixth_convolution else last_maps
            self.fc6 = _fully_connected(last_maps * map_pixels, neurons6, groups("fc6"))
            self.dropout6 = Dropout(dropout, dropout_is_inverted)
            self.fc7 = _fully_connected(neurons6, neurons7, groups("fc7"))
            self.dropout7 = Dropout(dropout, dropout_is_inverted)
            self.fc8 = nn.Linear(neurons7, num_classes)
        for layer in absent:
            setattr(self, layer, None)  # a module that is None has no parameters
        initial_weights.draw(self)

    def _size_before_fc6(self, pad2: int, pad5: int) -> int:
        """Return the side of the maps before fc6; without conv5 they keep their size."""
        pooled = partial(pooled_size, image_size=self.image_size)
        size = 1 + math.ceil((self.image_size - _KERNEL_PIXELS) / _STRIDE)  # 55
        size = pooled(size, self.pool1, channels=self.conv1.out_channels)  # 27
        size = pooled(size + 2 * pad2 - 4, self.pool2, channels=self.conv2.out_channels)  # 13
        return pooled(size + 2 * pad5 - 2, self.pool5, channels=self.conv6.in_channels)  # 6

    @override
    def forward(self, images: Tensor) -> Tensor:
        # (N, num_classes), from both columns
        return self.fc8(self.fully_connected(self.convolutional(images)))

    def convolutional(self, images: Tensor) -> Tensor:
        """Return the maps that enter fc6: (N, 3, 224, 224) -> (N, 256, 6, 6)."""
        f = self.nonlinearity
        x = F.pad(images * self.pixel_scale, (0, self.overhang, 0, self.overhang))
        x = self.conv1(x)  # (N, 96, 55, 55), two columns of 48
        if self.norm1_before_nonlinearity:
            x = f["conv1"](self.pool1(self.norm1(x)))  # (N, 96, 27, 27)
        else:
            x = self.pool1(self.norm1(f["conv1"](x)))  # (N, 96, 27, 27)
        x = f["conv2"](self.conv2(x))  # (N, 256, 27, 27)
        x = self.pool2(self.same_map_norm2(self.norm2(x)))  # (N, 256, 13, 13)
        if self.conv3:
            x = f["conv3"](self.conv3(x))  # (N, 384, 13, 13), from both columns
        if self.conv4:
            x = f["conv4"](self.conv4(x))  # (N, 384, 13, 13)
        if self.conv5:
            x = f["conv5"](self.conv5(x))  # (N, 256, 13, 13)
        x = self.pool5(x)  # (N, 256, 6, 6)
        if self.conv6:
            x = f["conv6"](self.conv6(x))  # (N, 256, 6, 6), from both columns
        return x

    def fully_connected(self, maps: Tensor) -> Tensor:
        """Return the activities that enter fc8: (N, 256, 6, 6) -> (N, 4096)."""
        f = self.nonlinearity
        x = maps.flatten(1)  # (N, 9216), column after column
        x = self.dropout6(f["fc6"](self.fc6(x)))  # (N, 4096), from both columns
        return self.dropout7(f["fc7"](self.fc7(x)))  # (N, 4096), from both columns


def _refuse_impossible(
    channels: tuple[int, ...],
    hidden: tuple[int, ...],
    columns: int,
    columns_cross: bool,
    removed: tuple[str, ...],
) -> None:
    if len(channels) != 5:
        raise ValueError(f"channels are the maps of conv1 to conv5, but are {tuple(channels)}")
    if len(hidden) != 2:
        raise ValueError(f"hidden are the neurons of fc6 and fc7, but are {tuple(hidden)}")
    if columns < 1 or any(width % columns for width in (*channels, *hidden)):
        raise ValueError(
            f"columns={columns} must divide every layer into equal parts, but channels are "
            f"{tuple(channels)} and hidden are {tuple(hidden)}"
        )
    if columns == 1 and not columns_cross:
        raise ValueError("columns_cross=False needs several columns, but columns is 1")
    if unknown := [layer for layer in removed if layer not in get_args(MiddleLayer)]:
        raise ValueError(
            f"cannot remove {', '.join(unknown)}: choose from {', '.join(get_args(MiddleLayer))}"
        )


def _crossings(
    columns_cross: bool, removed: tuple[str, ...], sixth_convolution: bool
) -> tuple[str, ...]:
    if not columns_cross:
        return ("fc8",)
    middle = [layer for layer in get_args(MiddleLayer) if layer not in removed]
    sixth = ["conv6"] if sixth_convolution else []
    return (*middle[:1], *sixth, "fc6", "fc7", "fc8")


def _fully_connected(features: int, neurons: int, groups: int) -> nn.Linear | GroupedLinear:
    if groups == 1:
        return nn.Linear(features, neurons)
    return GroupedLinear(features, neurons, groups)
