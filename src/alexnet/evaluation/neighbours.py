from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn


@torch.no_grad()
def last_hidden(net: nn.Module, images: Tensor) -> Tensor:
    """Return the input of the last layer: for AlexNet, fc7 after its nonlinearity (section 6.1).

    In evaluation mode it includes the factor of dropout, the probability of keeping a unit.

    Shape: network input (N, 3, h, w) -> (N, units).
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
    """Return the name of the last layer but one, such as fc7."""
    return _layers(net)[-2]


def nearest(queries: Tensor, batches: Iterable[Tensor], *, count: int) -> tuple[Tensor, Tensor]:
    """Find the nearest vectors to each query (Q, units), in batches (N, units) of vectors.

    The search is exact, by Euclidean distance, and keeps only the nearest so far. Returns the
    distances and the indices of the vectors (in order of arrival), both (Q, count), nearest first;
    there are fewer columns if there are fewer vectors.
    """
    distances = queries.new_empty((len(queries), 0))
    numbers = torch.empty((len(queries), 0), dtype=torch.long, device=queries.device)
    seen = 0
    for batch in batches:
        # Matrix products would be faster, but wrong for near vectors.
        new = torch.cdist(queries, batch, compute_mode="donot_use_mm_for_euclid_dist")
        arriving = torch.arange(seen, seen + len(batch), device=queries.device)
        seen += len(batch)
        distances = torch.cat([distances, new], 1)
        numbers = torch.cat([numbers, arriving.expand(len(queries), -1)], 1)
        distances, order = distances.topk(min(count, seen), dim=1, largest=False)
        numbers = numbers.gather(1, order)
    return distances, numbers


def spread(count: int, rows: np.ndarray) -> np.ndarray:
    """Return at most `count` rows, evenly spread, so that they cover rows sorted by class."""
    return rows if count >= len(rows) else rows[np.arange(count) * len(rows) // count]


def _layers(net: nn.Module) -> list[str]:
    """Return the names of all layers with parameters."""
    return list(dict.fromkeys(name.rpartition(".")[0] for name, _ in net.named_parameters()))
