import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from alexnet.model.grouped_linear import GroupedLinear
from alexnet.model.locally_connected import LocallyConnected

_WithWeights = nn.Conv2d | nn.Linear | GroupedLinear | LocallyConnected


@dataclass(frozen=True, kw_only=True)
class InitialWeights:
    """The parameters at step 0, by name of the layer (section 5).

    Weights are drawn from a normal distribution with mean 0 and the layer's std; "he" stands for
    sqrt(2 / fan-in), which keeps the size of activities through ReLUs. Biases are constants. Names
    of layers that a network does not have are ignored. Layers that are not named, such as batch
    normalization, are set by their own reset_parameters().
    """

    std: Mapping[str, float | Literal["he"]]
    bias: Mapping[str, float] = field(default_factory=dict)  # 0 for layers not named
    pixel_scale: float = 1.0  # the network multiplies its input by this

    @classmethod
    def he(cls, *layers: str) -> "InitialWeights":
        """Scale all layers but the last by their fan-in, with biases 0 and pixels divided by 64.

        Pixels less their mean have a std of about 64, and He's rule expects about 1. The small
        weights of the last layer make all classes about equally likely at first.
        """
        *features, last = layers
        return cls(std={**dict.fromkeys(features, "he"), last: 0.01}, pixel_scale=1 / 64)

    @torch.no_grad()
    def draw(self, net: nn.Module) -> None:
        """Allocate a network made on the meta device, and set the parameters of its layers.

        One number is drawn from torch's global generator, for any network. With the layer's name it
        seeds the layer's own generator, so equal seeds give equal weights in all layers of equal
        name and shape, however the networks differ elsewhere: arms of an ablation start equal.

        Raises ValueError that names the layers whose parameters or buffers remain unset.
        """
        seed = int(torch.randint(2**32, (), device="cpu"))
        device = torch.get_default_device()
        if device.type == "meta":
            return  # the caller needs only shapes
        net.to_empty(device=device)
        others: dict[str, nn.Module] = {}
        for name, layer in net.named_modules():
            if name in self.std:
                assert isinstance(layer, _WithWeights)
                self._draw_layer(name, layer, seed)
            else:
                others[name] = layer
        _reset(others, seed)
        net.to(device)

    def _draw_layer(self, name: str, layer: _WithWeights, seed: int) -> None:
        std = self.std[name]
        if std == "he":
            std = math.sqrt(2 / _fan_in(layer))
        # Drawn on the CPU, because a GPU's generator would give other weights.
        generator = torch.Generator("cpu").manual_seed(_seed_of(name, seed))
        weight = torch.empty(layer.weight.shape, dtype=torch.float32, device="cpu")
        layer.weight.copy_(weight.normal_(0, std, generator=generator))
        assert layer.bias is not None
        layer.bias.fill_(self.bias.get(name, 0.0))


def check_initialized(net: nn.Module, where: str) -> None:
    """Check that a network from any source is ready to be trained; `where` names its source.

    Raises ValueError that names the parameters and buffers without memory, or the parameters that
    are not finite.
    """
    tensors = [*net.named_parameters(), *net.named_buffers()]
    if empty := [name for name, tensor in tensors if is_lazy(tensor) or tensor.is_meta]:
        raise ValueError(
            f"{where} has no values for {_some(empty)}, which are on the meta device or wait for a "
            "first batch: set all parameters in the constructor"
        )
    wrong = [
        name
        for name, parameter in net.named_parameters()
        if parameter.is_floating_point() and not parameter.isfinite().all()
    ]
    if wrong:
        raise ValueError(
            f"{where} starts with values that are not finite in {_some(wrong)}: initialize them in "
            "the constructor (torch.empty does not)"
        )


def _reset(layers: Mapping[str, nn.Module], seed: int) -> None:
    """Let the layers set their own tensors, on the CPU, with a seed for each layer's name."""
    marks: dict[tuple[str, str], tuple[Tensor, int]] = {}
    for name, layer in layers.items():
        layer.to_empty(device="cpu", recurse=False)
        for key, tensor in _own_tensors(layer):
            if _has_nan(tensor):
                tensor.fill_(math.nan)
            marks[name, key] = tensor, tensor._version
    # Submodules first, because a module may set the parameters of its submodules.
    for name, layer in reversed(list(layers.items())):
        reset = getattr(layer, "reset_parameters", None)
        if name and callable(reset):
            with torch.random.fork_rng(devices=[]), torch.device("cpu"):
                torch.default_generator.manual_seed(_seed_of(name, seed))
                reset()
    unset: dict[str, list[str]] = {}
    for name, layer in layers.items():
        for key, tensor in _own_tensors(layer):
            was, version = marks.get((name, key), (None, 0))
            if _has_nan(tensor):
                is_unset = bool(tensor.isnan().any())
            else:
                is_unset = tensor is was and tensor._version == version and tensor.numel() > 0
            if is_unset:
                unset.setdefault(name, []).append(key)
    if unset:
        raise ValueError("\n".join(_remedy(n, layers[n], keys) for n, keys in unset.items()))


def _remedy(name: str, layer: nn.Module, keys: list[str]) -> str:
    kind = type(layer).__name__
    what = (
        "but its reset_parameters() does not: set them there"
        if hasattr(layer, "reset_parameters")
        else "and it has no reset_parameters(): add one that sets them"
    )
    return (
        f"nothing initializes {_some(keys)} of {name} ({kind}). Layers are built without memory, "
        f"so {kind} must be able to set its parameters and buffers afterwards, {what}"
    )


def _own_tensors(layer: nn.Module) -> list[tuple[str, Tensor]]:
    """Return the parameters and buffers of a module itself, without those of its submodules."""
    return [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]


def _has_nan(tensor: Tensor) -> bool:
    """Whether a tensor's type has NaN, which marks values that were not set."""
    return tensor.is_floating_point() or tensor.is_complex()


def _some(names: list[str]) -> str:
    """List the first few names."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _seed_of(layer: str, seed: int) -> int:
    return seed ^ zlib.crc32(layer.encode())


def _fan_in(layer: _WithWeights) -> int:
    """Return the number of inputs of each neuron of a layer."""
    return layer.fan_in if isinstance(layer, LocallyConnected) else layer.weight[0].numel()
