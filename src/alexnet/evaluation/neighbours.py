from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn


@torch.no_grad()
def last_hidden(net: nn.Module, images: Tensor) -> Tensor:
    """What the last layer sees of each image: of AlexNet fc7 after its nonlinearity (section 6.1).

    In evaluation mode, that is times the probability with which dropout keeps a unit.

    Shape: (N, 3, h, w), a network's input -> (N, units).
    """
    seen: list[Tensor] = []
    last = net.get_submodule(_layers(net)[-1])
    hook = last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        net(images)
    finally:
        hook.remove()
    return seen[0].flatten(1)


def last_hidden_layer(net: nn.Module) -> str:
    """The name of the last layer but one: fc7."""
    return _layers(net)[-2]


def nearest(queries: Tensor, batches: Iterable[Tensor], *, count: int) -> tuple[Tensor, Tensor]:
    """For each query (Q, units) the nearest of all vectors, which come in batches (N, units).

    Exact, by Euclidean distance, and of all batches together only the best so far are kept. Returns
    distances and numbers of vectors, in the order in which they came, both (Q, count), nearest
    first; fewer if there are fewer.
    """
    distances = queries.new_empty((len(queries), 0))
    numbers = torch.empty((len(queries), 0), dtype=torch.long, device=queries.device)
    seen = 0
    for batch in batches:
        # By multiplying matrices it would be quicker and, for near vectors, wrong.
        new = torch.cdist(queries, batch, compute_mode="donot_use_mm_for_euclid_dist")
        arriving = torch.arange(seen, seen + len(batch), device=queries.device)
        seen += len(batch)
        distances = torch.cat([distances, new], 1)
        numbers = torch.cat([numbers, arriving.expand(len(queries), -1)], 1)
        distances, order = distances.topk(min(count, seen), dim=1, largest=False)
        numbers = numbers.gather(1, order)
    return distances, numbers


def spread(count: int, rows: np.ndarray) -> np.ndarray:
    """At most `count` of the rows, evenly spread: where they are in order of class, over all."""
    return rows if count >= len(rows) else rows[np.arange(count) * len(rows) // count]


def _layers(net: nn.Module) -> list[str]:
    """Names of all layers that have parameters."""
    return list(dict.fromkeys(name.rpartition(".")[0] for name, _ in net.named_parameters()))
