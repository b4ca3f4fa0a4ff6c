"""One network, several columns (section 3.2): which part of it is a column, and where they meet."""

import torch
from torch import Tensor, nn
from torch.func import functional_call

from alexnet.model.alexnet import AlexNet
from alexnet.model.dropout import Dropout
from alexnet.model.grouped_linear import GroupedLinear


def rows_of(column: int, columns: int, rows: int) -> slice:
    """The rows of a parameter, or the classes, that fall to a column: chunk(columns, 0)[column].

    Where chunk would return too few parts, the last columns have none.
    """
    height = -(-rows // columns)
    return slice(min(rows, column * height), min(rows, (column + 1) * height))


def keep_column(net: AlexNet, column: int, columns: int) -> dict[str, torch.Size]:
    """Turn the network into one column of itself, in place; returns what is divided, by name.

    What remains is one of `columns` equal parts of every layer's output features, with their
    weights and running statistics. Its inputs are joined, and its outputs must be, where
    `crossings` says. A network of four columns can be divided into two parts, of two columns each.
    The shapes returned are those of the whole tensors.

    Raises ValueError, before anything is changed, unless columns divide those of the network, and
    for a level with parameters that are not one per channel.
    """
    if net.columns % columns:
        raise ValueError(
            f"a network of model.columns={net.columns} cannot be divided into {columns} columns: "
            f"set model.columns to a multiple of {columns}"
        )
    for name, module in net.named_modules():
        if isinstance(module, nn.GroupNorm) and module.num_groups % columns:
            raise ValueError(
                f"{name} normalizes across columns, which must not see each other: its "
                f"{module.num_groups} groups must be a multiple of {columns}"
            )
    whole = {name: tensor.shape for name, tensor in _of_channels(net).items()}
    for module in net.modules():
        if isinstance(module, nn.Conv2d | GroupedLinear) and module.groups > 1:
            module.groups //= columns
        elif isinstance(module, Dropout):
            module.column = column
        elif isinstance(module, nn.BatchNorm2d):
            module.num_features //= columns
        elif isinstance(module, nn.GroupNorm):
            module.num_groups //= columns
            module.num_channels //= columns
        # LocalResponseNorm, the network itself, and levels of users that act across channels.
        if isinstance(blocks := getattr(module, "columns", None), int):
            module.columns = max(1, blocks // columns)
    for tensor in _of_channels(net).values():
        tensor.data = tensor.data[rows_of(column, columns, len(tensor))].clone()
    return whole


def _of_channels(net: AlexNet) -> dict[str, Tensor]:
    """Parameters and buffers with a row for each output feature of their layer, by name.

    The other buffers, such as the number of batches, are the same in every column.
    """
    tensors: dict[str, Tensor] = dict(net.named_parameters())
    widths = {len(tensors[name]) for name in tensors if name.startswith(("conv", "fc"))}
    for name, tensor in tensors.items():
        if tensor.dim() == 0 or len(tensor) not in widths:
            raise ValueError(
                f"{name} cannot be divided into columns: it is of shape {tuple(tensor.shape)}. "
                "Give it a row for each channel, or set trainer.devices=1"
            )
    for name, buffer in net.named_buffers():
        if buffer.dim() > 0 and len(buffer) in widths:
            tensors[name] = buffer
    return tensors


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
    tensors = [*net.named_parameters(), *net.named_buffers()]
    shapes = {name: tensor.to("meta") for name, tensor in tensors}
    was_training = net.training
    try:
        image = torch.empty(1, 3, net.image_size, net.image_size, device="meta")
        functional_call(net.eval(), shapes, image.to(next(net.parameters()).dtype))
    finally:
        net.train(was_training)
        for hook in hooks:
            hook.remove()
    return sizes
