"""Costs of each layer of one column: arithmetic, bytes of memory, bytes sent to other columns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from alexnet.model import AlexNet, Dropout, GroupedLinear, LocalResponseNorm, keep_column, rows_of

BYTES = 4  # bytes of a float32 number

Kind = Literal[
    "first convolution",
    "convolution",
    "product",
    "norm",
    "pooling",
    "nonlinearity",
    "dropout",
    "update",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
ARITHMETIC: tuple[Kind, ...] = ("first convolution", "convolution", "product")
"""Kinds whose work is counted in FLOP; for the others, bytes of memory are counted."""

_UPDATE_BYTES = 5 * BYTES  # per parameter: reads weight, gradient, velocity; writes two of them


@dataclass(frozen=True, kw_only=True)
class Layer:
    """The costs of one layer of one column, for one image.

    `multiply_adds` are those of the forward pass. `joined` is the number of activities of all
    columns that meet at the layer's input, or 0 if the column uses only its own. `shape` is the
    shape of the input without the batch.
    """

    name: str
    kind: Kind
    shape: tuple[int, ...]
    inputs: int
    outputs: int
    multiply_adds: int = 0
    parameters: int = 0
    joined: int = 0

    @property
    def forward(self) -> int:
        """FLOP of the forward pass (two per multiply-add), or bytes read and written."""
        if self.kind in ARITHMETIC:
            return 2 * self.multiply_adds
        return BYTES * (self.inputs + self.outputs)

    @property
    def backward(self) -> int:
        """FLOP of the gradients of the weights and, except in the first layer, of the input.

        For other kinds, bytes: the input and the gradient of the output are read, and the gradient
        of the input is written.
        """
        if self.kind in ARITHMETIC:
            return self.forward * (1 if self.kind == "first convolution" else 2)
        return BYTES * (2 * self.inputs + self.outputs)

    @property
    def update(self) -> int:
        """Bytes that the optimizer reads and writes, once per step."""
        return _UPDATE_BYTES * self.parameters


def layers_of(make_net: Callable[[], AlexNet], columns: int = 1) -> list[Layer]:
    """Return the layers of a network's first column, in the order of the forward pass.

    The network is built and run on the meta device, without memory for numbers. Raises ValueError
    if it cannot be divided into this number of columns.
    """
    with torch.device("meta"):
        net = make_net().eval()
    keep_column(net, 0, columns)
    found: list[Layer] = []

    def join(module: nn.Module, inputs: tuple[Tensor]) -> Tensor:
        return torch.cat([inputs[0]] * columns, dim=1)

    def note(name: str, module: nn.Module, x: Tensor, y: Tensor) -> None:
        is_joined = columns > 1 and name in net.crossings
        weight = getattr(module, "weight", None)
        is_arithmetic = isinstance(module, nn.Conv2d | nn.Linear | GroupedLinear)
        places = y[0, 0].numel() if isinstance(module, nn.Conv2d) else 1
        found.append(
            Layer(
                name=name,
                kind=_kind(name, module),
                shape=tuple(x.shape[1:]),
                inputs=x[0].numel(),
                outputs=y[0].numel(),
                multiply_adds=places * weight.numel()
                if is_arithmetic and weight is not None
                else 0,
                parameters=sum(each.numel() for each in module.parameters()),
                joined=x[0].numel() if is_joined else 0,
            )
        )

    for name, module in net.named_modules():
        if columns > 1 and name in net.crossings:
            module.register_forward_pre_hook(join)
        if not isinstance(module, nn.Identity) and not list(module.children()):
            module.register_forward_hook(
                lambda module, inputs, output, name=name: note(name, module, inputs[0], output)
            )
    net(torch.empty(1, 3, net.image_size, net.image_size, device="meta"))
    return found


def bytes_sent(layers: list[Layer], *, columns: int, classes: int, images: int) -> int:
    """Return the bytes a column sends per step: activities and logits forward, gradients back."""
    both_ways = 2 * sum(sent(layer, columns) for layer in layers)
    return images * (both_ways + logits_sent(classes, columns))


def sent(layer: Layer, columns: int) -> int:
    """Return the bytes per image that a column sends at a layer's input, in one direction."""
    return BYTES * layer.joined // columns * (columns - 1)


def logits_sent(classes: int, columns: int) -> int:
    """Return the bytes per image that a column sends for the softmax, forward only."""
    rows = rows_of(0, columns, classes)
    return BYTES * (rows.stop - rows.start) * (columns - 1)


def _kind(name: str, module: nn.Module) -> Kind:
    if isinstance(module, nn.Conv2d):
        return "first convolution" if name == "conv1" else "convolution"
    kinds: Mapping[Kind, Any] = {
        "product": nn.Linear | GroupedLinear,
        "dropout": Dropout,
        "pooling": nn.MaxPool2d | nn.AvgPool2d,
        "norm": LocalResponseNorm | nn.BatchNorm2d,
    }
    of_norm = name.startswith(("norm", "same_map_norm"))
    found = next((kind for kind, types in kinds.items() if isinstance(module, types)), None)
    return found or ("norm" if of_norm else "nonlinearity")
