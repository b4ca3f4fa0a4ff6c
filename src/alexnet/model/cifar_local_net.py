from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn
from typing_extensions import override

from alexnet.model.dropout import Dropout
from alexnet.model.initialization import InitialWeights
from alexnet.model.levels import choose
from alexnet.model.local_response_norm import LocalResponseNorm
from alexnet.model.locally_connected import LocallyConnected
from alexnet.model.nonlinearity import make_nonlinearity
from alexnet.model.pooling import make_max_pool, pooled_size
from alexnet.vocabulary import Initialization, Nonlinearity, Normalization, Pooling

# The constants of layers-conv-local-11pct, March 2012.
CIFAR_NORMS: Mapping[str, Callable[[], nn.Module]] = {
    "lrn": partial(LocalResponseNorm, size=5, alpha=1e-3, k=1.0, alpha_is_divided_by_size=True),
    "none": nn.Identity,
}

_STD_2012 = {"conv1": 1e-4, "conv2": 0.01, "local3": 0.04, "local4": 0.04, "fc5": 0.01}
_INITIAL_WEIGHTS: dict[str, InitialWeights] = {
    "source_2012": InitialWeights(std=_STD_2012),
    # As for AlexNet: pixels less their mean have a std of about 64, and a small last layer makes
    # all classes about equally likely at first.
    "he": InitialWeights(
        std={name: 0.01 if name == "fc5" else "he" for name in _STD_2012}, pixel_scale=1 / 64
    ),
}


class CifarLocalNet(nn.Module):
    """Two convolutional, two locally connected layers and a fully connected one (section 3.3).

    The program's nets for CIFAR-10 that its files call 13pct (normalization="none") and, of March
    2012, 11pct ("lrn"). Probably those with which section 3.3 went from 13 to 11 % error: it speaks
    of a four-layer network, and these have four below the classifier. The locally connected layers
    are convolutions of 3x3 whose every place has its own weights and biases.

    `init` is source_2012 (std 1e-4, 0.01, 0.04, 0.04, 0.01) or he (std by fan-in, pixels divided by
    64); biases start at 0 in both. Dropout acts on the input of fc5; the program had none.

    Shape: (N, 3, image_size, image_size), RGB 0..255 less the mean -> (N, num_classes) logits. The
    program saw random pieces of 24 x 24 pixels.

    Raises ValueError for an unknown level of a factor (init="paper" is one: the paper gives no
    initial weights for this network), for dropout outside [0, 1), and for images too small for the
    layers.
    """

    def __init__(
        self,
        num_classes: int = 10,
        *,
        nonlinearity: Nonlinearity = "relu",
        normalization: Normalization = "lrn",
        pooling: Pooling = "overlapping",
        dropout: float = 0.0,
        init: Initialization = "source_2012",
        image_size: int = 24,
    ) -> None:
        super().__init__()
        initial_weights = choose("init of CifarLocalNet", init, _INITIAL_WEIGHTS)
        norm = choose("normalization", normalization, CIFAR_NORMS)
        size = pooled_size(pooled_size(image_size, pooling), pooling)  # 24 -> 12 -> 6
        if size < 1:
            raise ValueError(
                f"nothing is left of an image of image_size={image_size} after two "
                f"{pooling} pools: enlarge the images"
            )

        self.image_size = image_size
        self.pixel_scale = initial_weights.pixel_scale
        self.nonlinearity = make_nonlinearity(nonlinearity)
        with torch.device("meta"):  # no memory and no random numbers before the weights are drawn
            self.conv1 = nn.Conv2d(3, 64, 5, padding=2)
            self.norm1 = norm()
            self.pool1 = make_max_pool(pooling)
            self.conv2 = nn.Conv2d(64, 64, 5, padding=2)
            self.norm2 = norm()
            self.pool2 = make_max_pool(pooling)
            self.local3 = LocallyConnected(64, 32, size)
            self.local4 = LocallyConnected(32, 32, size)
            self.dropout = Dropout(dropout)
            self.fc5 = nn.Linear(32 * size**2, num_classes)
        initial_weights.draw(self)

    @override
    def forward(self, images: Tensor) -> Tensor:
        f = self.nonlinearity
        x = f(self.conv1(images * self.pixel_scale))  # (N, 64, 24, 24)
        x = self.pool1(self.norm1(x))  # (N, 64, 12, 12)
        x = f(self.conv2(x))  # (N, 64, 12, 12)
        x = self.pool2(self.norm2(x))  # (N, 64, 6, 6)
        x = f(self.local3(x))  # (N, 32, 6, 6)
        x = f(self.local4(x)).flatten(1)  # (N, 1152)
        return self.fc5(self.dropout(x))  # (N, 10)
