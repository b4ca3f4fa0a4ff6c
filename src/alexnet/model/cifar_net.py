import torch
from torch import Tensor, nn
from typing_extensions import override

from alexnet.model.cifar_local_net import CIFAR_NORMS
from alexnet.model.dropout import Dropout
from alexnet.model.initialization import InitialWeights
from alexnet.model.levels import choose
from alexnet.model.nonlinearity import make_nonlinearity
from alexnet.model.pooling import make_average_pool, make_max_pool, pooled_size
from alexnet.vocabulary import Initialization, Nonlinearity, Normalization, Pooling

_LAYERS = ("conv1", "conv2", "conv3", "fc4")
_INITIAL_WEIGHTS: dict[str, InitialWeights] = {
    "source_2012": InitialWeights(std=dict.fromkeys(_LAYERS, 0.01) | {"conv1": 1e-4}),
    # As for AlexNet: pixels less their mean have a std of about 64, and a small last layer makes
    # all classes about equally likely at first.
    "he": InitialWeights(
        std={name: 0.01 if name == "fc4" else "he" for name in _LAYERS}, pixel_scale=1 / 64
    ),
}


class CifarNet(nn.Module):
    """A four-layer network for CIFAR-10, as in figure 1 (section 3.1).

    The paper does not say which network it used. Our guess is layers-19pct of cuda-convnet, the
    library it refers to: three convolutions of 5x5 and one fully connected layer, a max pool and
    two average pools. That file takes the maximum before the nonlinearity: the same function,
    because every nonlinearity here is monotone.

    With normalization="lrn", normalization follows the first two nonlinearities, as in section 3.3.
    Its constants are those of CifarLocalNet, probably the net with which section 3.3 went from 13
    to 11 % error.

    `init` is source_2012 (std 1e-4 in conv1, 0.01 elsewhere) or he (std by fan-in, pixels divided
    by 64); biases start at 0 in both. Dropout acts on the input of fc4.

    Shape: (N, 3, image_size, image_size), RGB 0..255 less the mean -> (N, num_classes) logits.

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
        image_size: int = 32,
    ) -> None:
        super().__init__()
        initial_weights = choose("init of CifarNet", init, _INITIAL_WEIGHTS)
        size = image_size
        for _ in range(3):  # 32 -> 16 -> 8 -> 4; the convolutions keep their size
            size = pooled_size(size, pooling)
        if size < 1:
            raise ValueError(
                f"nothing is left of an image of image_size={image_size} after three "
                f"{pooling} pools: enlarge the images"
            )

        self.image_size = image_size
        self.pixel_scale = initial_weights.pixel_scale
        norm = choose("normalization", normalization, CIFAR_NORMS)
        self.nonlinearity = make_nonlinearity(nonlinearity)
        with torch.device("meta"):  # no memory and no random numbers before the weights are drawn
            self.conv1 = nn.Conv2d(3, 32, 5, padding=2)
            self.norm1 = norm()
            self.pool1 = make_max_pool(pooling)
            self.conv2 = nn.Conv2d(32, 32, 5, padding=2)
            self.norm2 = norm()
            self.pool2 = make_average_pool(pooling)
            self.conv3 = nn.Conv2d(32, 64, 5, padding=2)
            self.pool3 = make_average_pool(pooling)
            self.dropout = Dropout(dropout)
            self.fc4 = nn.Linear(64 * size**2, num_classes)
        initial_weights.draw(self)

    @override
    def forward(self, images: Tensor) -> Tensor:
        f = self.nonlinearity
        x = f(self.conv1(images * self.pixel_scale))  # (N, 32, 32, 32)
        x = self.pool1(self.norm1(x))  # (N, 32, 16, 16)
        x = f(self.conv2(x))  # (N, 32, 16, 16)
        x = self.pool2(self.norm2(x))  # (N, 32, 8, 8)
        x = f(self.conv3(x))  # (N, 64, 8, 8)
        x = self.pool3(x).flatten(1)  # (N, 1024)
        return self.fc4(self.dropout(x))  # (N, 10)
