import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import nn

from alexnet.model.grouped_linear import GroupedLinear
from alexnet.model.locally_connected import LocallyConnected

_WithWeights = nn.Conv2d | nn.Linear | GroupedLinear | LocallyConnected


@dataclass(frozen=True, kw_only=True)
class InitialWeights:
    """The parameters at step 0, by name of the layer (section 5).

    Weights come from a normal distribution of mean 0 and the layer's std; "he" stands for
    sqrt(2 / fan-in), which keeps the size of activities through ReLUs. Biases are constants. Layers
    that a network does not have are passed over.
    """

    std: Mapping[str, float | Literal["he"]]
    bias: Mapping[str, float] = field(default_factory=dict)  # layers not named: 0
    pixel_scale: float = 1.0  # the network multiplies its input by this

    @torch.no_grad()
    def draw(self, net: nn.Module) -> None:
        """Give memory to a network made on the meta device, and its layers their parameters.

        Takes one number from torch's global generator, whatever the network. With the layer's name
        it seeds the layer's own generator, so equal seeds give equal weights in all layers of equal
        name and shape, however the networks differ elsewhere: arms of an ablation start equal.
        """
        seed = int(torch.randint(2**32, (), device="cpu"))
        net.to_empty(device=torch.get_default_device())
        for name, layer in net.named_modules():
            if not isinstance(layer, _WithWeights):
                continue
            std = self.std[name]
            if std == "he":
                std = math.sqrt(2 / _fan_in(layer))
            generator = torch.Generator("cpu").manual_seed(seed ^ zlib.crc32(name.encode()))
            # Drawn on the CPU: a GPU's generator would give other weights.
            weight = torch.empty(layer.weight.shape, dtype=torch.float32, device="cpu")
            layer.weight.copy_(weight.normal_(0, std, generator=generator))
            assert layer.bias is not None
            layer.bias.fill_(self.bias.get(name, 0.0))


def _fan_in(layer: _WithWeights) -> int:
    """How many inputs each neuron of the layer sees."""
    return layer.fan_in if isinstance(layer, LocallyConnected) else layer.weight[0].numel()
