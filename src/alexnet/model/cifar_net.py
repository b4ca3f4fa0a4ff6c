from typing import Literal

import torch
from torch import Tensor, nn
from typing_extensions import override

from alexnet.model.cifar_layers import initial_weights, make_nonlinearities, make_norm
from alexnet.model.dropout import Dropout
from alexnet.model.levels import choose, make
from alexnet.model.pooling import AVERAGES, pooled_size
from alexnet.vocabulary import Nonlinearity, Normalization, Pooling, Positive, Probability

_STD_2012 = {"conv1": 1e-4, "conv2": 0.01, "conv3": 0.01, "fc4": 0.01}
_INITIAL_WEIGHTS = initial_weights(_STD_2012)


class CifarNet(nn.Module):
    """A four-layer network for CIFAR-10, as in Figure 1 (section 3.1).

    The paper does not say which network it used. Our guess is layers-19pct of cuda-convnet, the
    library it refers to: three 5x5 convolutions and one fully connected layer, with a max pool and
    two average pools. With pooling="average", or a pooling that users add, all three are of that
    kind. The file pools by maximum before the nonlinearity, which is the same function for the
    nonlinearities of the paper, because they are monotone (gelu and silu are not).

    With normalization="lrn", normalization follows the first two nonlinearities, as in section 3.3.
    Its constants are those of CifarLocalNet, probably the net of section 3.3 that went from 13 to
    11 % error.

    `init` is source_2012 (std 1e-4 in conv1, 0.01 elsewhere) or he (std by fan-in, pixels divided
    by 64); biases start at 0 in both. Dropout acts on the input of fc4.

    Shape: (N, 3, image_size, image_size), RGB 0..255 less the mean -> (N, num_classes) logits.

    Raises ValueError for an unknown level of a factor (including init="paper", because the paper
    gives no initial weights for this network), for dropout outside [0, 1), and for images too small
    for the layers.
    """

    def __init__(
        self,
        num_classes: Positive = 10,
        *,
        nonlinearity: Nonlinearity = "relu",
        normalization: Normalization = "lrn",
        pooling: Pooling = "overlapping",
        dropout: Probability = 0.0,
        init: Literal["source_2012", "he"] = "he",
        image_size: Positive = 32,
    ) -> None:
        super().__init__()
        weights = choose("init of CifarNet", init, _INITIAL_WEIGHTS)
        self.image_size = image_size
        self.pixel_scale = weights.pixel_scale
        with torch.device("meta"):  # no memory and no random numbers before the weights are drawn
            self.nonlinearity = make_nonlinearities(nonlinearity, conv1=32, conv2=32, conv3=64)
            self.conv1 = nn.Conv2d(3, 32, 5, padding=2)
            self.norm1 = make_norm(normalization, channels=32)
            self.pool1 = make("pooling", pooling, channels=32)
            self.conv2 = nn.Conv2d(32, 32, 5, padding=2)
            self.norm2 = make_norm(normalization, channels=32)
            self.pool2 = make("pooling", pooling, own=AVERAGES, channels=32)
            self.conv3 = nn.Conv2d(32, 64, 5, padding=2)
            self.pool3 = make("pooling", pooling, own=AVERAGES, channels=64)
            size = image_size  # the convolutions keep it
            for each, maps in ((self.pool1, 32), (self.pool2, 32), (self.pool3, 64)):
                size = pooled_size(size, each, channels=maps, image_size=image_size)  # 16, 8, 4
            self.dropout = Dropout(dropout)
            self.fc4 = nn.Linear(64 * size**2, num_classes)
        weights.draw(self)

    @override
    def forward(self, images: Tensor) -> Tensor:
        f = self.nonlinearity
        x = f["conv1"](self.conv1(images * self.pixel_scale))  # (N, 32, 32, 32)
        x = self.pool1(self.norm1(x))  # (N, 32, 16, 16)
        x = f["conv2"](self.conv2(x))  # (N, 32, 16, 16)
        x = self.pool2(self.norm2(x))  # (N, 32, 8, 8)
        x = f["conv3"](self.conv3(x))  # (N, 64, 8, 8)
        x = self.pool3(x).flatten(1)  # (N, 1024)
        return self.fc4(self.dropout(x))  # (N, 10)
