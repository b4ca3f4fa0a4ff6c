from typing import Literal

import torch
from torch import Tensor, nn
from typing_extensions import override

from alexnet.model.cifar_layers import initial_weights, make_nonlinearities, make_norm
from alexnet.model.dropout import Dropout
from alexnet.model.levels import choose, make
from alexnet.model.locally_connected import LocallyConnected
from alexnet.model.pooling import pooled_size
from alexnet.vocabulary import Nonlinearity, Normalization, Pooling, Positive, Probability

_STD_2012 = {"conv1": 1e-4, "conv2": 0.01, "local3": 0.04, "local4": 0.04, "fc5": 0.01}
_INITIAL_WEIGHTS = initial_weights(_STD_2012)


class CifarLocalNet(nn.Module):
    """Two convolutional, two locally connected layers and a fully connected one (section 3.3).

    The nets for CIFAR-10 that the program's files call 13pct (normalization="none") and 11pct of
    March 2012 ("lrn"). Probably these are the nets with which section 3.3 went from 13 to 11 %
    error: it describes a four-layer network, and these have four layers below the classifier. The
    locally connected layers are 3x3 convolutions with separate weights and biases at every place.

    `init` is source_2012 (std 1e-4, 0.01, 0.04, 0.04, 0.01) or he (std by fan-in, pixels divided by
    64); biases start at 0 in both. Dropout acts on the input of fc5; the program had none.

    Shape: (N, 3, image_size, image_size), RGB 0..255 less the mean -> (N, num_classes) logits. The
    program used random crops of 24 x 24 pixels.

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
        image_size: Positive = 24,
    ) -> None:
        super().__init__()
        weights = choose("init of CifarLocalNet", init, _INITIAL_WEIGHTS)
        self.image_size = image_size
        self.pixel_scale = weights.pixel_scale
        with torch.device("meta"):  # no memory and no random numbers before the weights are drawn
            self.nonlinearity = make_nonlinearities(
                nonlinearity, conv1=64, conv2=64, local3=32, local4=32
            )
            self.conv1 = nn.Conv2d(3, 64, 5, padding=2)
            self.norm1 = make_norm(normalization, channels=64)
            self.pool1 = make("pooling", pooling, channels=64)
            self.conv2 = nn.Conv2d(64, 64, 5, padding=2)
            self.norm2 = make_norm(normalization, channels=64)
            self.pool2 = make("pooling", pooling, channels=64)
            size = image_size  # the convolutions keep it
            for each in (self.pool1, self.pool2):  # 24 -> 12 -> 6
                size = pooled_size(size, each, channels=64, image_size=image_size)
            self.local3 = LocallyConnected(64, 32, size)
            self.local4 = LocallyConnected(32, 32, size)
            self.dropout = Dropout(dropout)
            self.fc5 = nn.Linear(32 * size**2, num_classes)
        weights.draw(self)

    @override
    def forward(self, images: Tensor) -> Tensor:
        f = self.nonlinearity
        x = f["conv1"](self.conv1(images * self.pixel_scale))  # (N, 64, 24, 24)
        x = self.pool1(self.norm1(x))  # (N, 64, 12, 12)
        x = f["conv2"](self.conv2(x))  # (N, 64, 12, 12)
        x = self.pool2(self.norm2(x))  # (N, 64, 6, 6)
        x = f["local3"](self.local3(x))  # (N, 32, 6, 6)
        x = f["local4"](self.local4(x)).flatten(1)  # (N, 1152)
        return self.fc5(self.dropout(x))  # (N, 10)
