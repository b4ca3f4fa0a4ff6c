"""One network, several columns (section 3.2): which part of it is a column, and where they meet."""

import torch
from torch import Tensor, nn
from torch.func import functional_call

from alexnet.model.alexnet import AlexNet
from alexnet.model.dropout import Dropout
from alexnet.model.grouped_linear import GroupedLinear
from alexnet.model.local_response_norm import LocalResponseNorm


def rows_of(column: int, columns: int, rows: int) -> slice:
    """The rows of a parameter, or the classes, that fall to a column: chunk(columns, 0)[column].

    Where chunk would return too few parts, the last columns have none.
    """
    height = -(-rows // columns)
    return slice(min(rows, column * height), min(rows, (column + 1) * height))


def keep_column(net: AlexNet, column: int, columns: int) -> dict[str, torch.Size]:
    """Turn the network into one column of itself, in place; returns the whole parameters' shapes.

    What remains is one of `columns` equal parts of every layer's output features, with their
    weights. Its inputs are joined, and its outputs must be, where `crossings` says. A network of
    four columns can be divided into two parts, of two columns each.

    Raises ValueError unless columns divide those of the network.
    """
    if net.columns % columns:
        raise ValueError(
            f"a network of model.columns={net.columns} cannot be divided into {columns} columns: "
            f"set model.columns to a multiple of {columns}"
        )
    whole = {name: weight.shape for name, weight in net.named_parameters()}
    for module in net.modules():
        if isinstance(module, AlexNet | LocalResponseNorm):
            module.columns //= columns
        elif isinstance(module, nn.Conv2d | GroupedLinear) and module.groups > 1:
            module.groups //= columns
        elif isinstance(module, Dropout):
            module.column = column
    for weight in net.parameters():
        weight.data = weight.data[rows_of(column, columns, len(weight))].clone()
    return whole


def crossing_sizes(net: AlexNet) -> dict[str, int]:
    """How many activities of an image enter each layer where columns meet, all columns together.

    Found by passing an image without content through the whole network.
    """
    sizes: dict[str, int] = {}

    def note(name: str, activities: Tensor) -> None:
        sizes[name] = activities[0].numel()

    hooks = [
        net.get_submodule(name).register_forward_pre_hook(lambda _, x, name=name: note(name, *x))
        for name in net.crossings
    ]
    weights = {name: weight.to("meta") for name, weight in net.named_parameters()}
    was_training = net.training
    try:
        image = torch.empty(1, 3, net.image_size, net.image_size, device="meta")
        functional_call(net.eval(), weights, image.to(next(net.parameters()).dtype))
    finally:
        net.train(was_training)
        for hook in hooks:
            hook.remove()
    return sizes
