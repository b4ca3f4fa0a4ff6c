"""The columns of one network (section 3.2): the part that belongs to each, and where they meet."""

import torch
from torch import Tensor, nn
from torch.func import functional_call

from alexnet.model.alexnet import AlexNet
from alexnet.model.dropout import Dropout
from alexnet.model.grouped_linear import GroupedLinear


def rows_of(column: int, columns: int, rows: int) -> slice:
    """Return the rows of a parameter that belong to a column: chunk(columns, 0)[column].

    If chunk returns fewer parts than columns, the last columns have no rows.
    """
    height = -(-rows // columns)
    return slice(min(rows, column * height), min(rows, (column + 1) * height))


def keep_column(net: AlexNet, column: int, columns: int) -> dict[str, torch.Size]:
    """Reduce a network to one of its columns, in place; return the whole shapes of what was cut.

    The column keeps one of `columns` equal parts of every layer's output features, with their
    weights and running statistics. At the inputs of `crossings` the caller must join the columns.
    A network of four columns can also be divided into two parts of two columns each. The returned
    shapes are those of the whole tensors, by name.

    Raises ValueError, before anything is changed, if `columns` does not divide the columns of the
    network, or if a level has parameters that are not one per channel.
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
        # LocalResponseNorm, the network itself, and users' levels that act across channels.
        if isinstance(blocks := getattr(module, "columns", None), int):
            module.columns = max(1, blocks // columns)
    for tensor in _of_channels(net).values():
        tensor.data = tensor.data[rows_of(column, columns, len(tensor))].clone()
    return whole


def _of_channels(net: AlexNet) -> dict[str, Tensor]:
    """Return the parameters and buffers with a row for each output feature of their layer, by name.

    Other buffers, such as the number of batches, are the same in every column.
    """
    tensors: dict[str, Tensor] = dict(net.named_parameters())
    widths = {len(tensors[name]) for name in tensors if name.startswith(("conv", "fc"))}
    for name, tensor in tensors.items():
        if tensor.dim() == 0 or len(tensor) not in widths:
            raise ValueError(
                f"{name} of shape {tuple(tensor.shape)} cannot be divided into columns: give it a "
                "row for each channel, or set trainer.devices=1"
            )
    for name, buffer in net.named_buffers():
        if buffer.dim() > 0 and len(buffer) in widths:
            tensors[name] = buffer
    return tensors


def crossing_sizes(net: AlexNet) -> dict[str, int]:
    """Return the number of activities per image, of all columns, that enter each crossing.

    They are counted by passing an image on the meta device through the whole network.
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
