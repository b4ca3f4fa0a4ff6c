import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Member:
    """One network of an ensemble.

    `to_input` makes of uint8 (N, C, h, w) what this network sees. Output `outputs[i]` is for the
    data's class i; None: they are in the same order.
    """

    net: nn.Module
    to_input: Callable[[Tensor], Tensor]
    weight: float = 1.0
    outputs: Sequence[int] | None = None


@torch.no_grad()
def predict(members: Sequence[Member], images: Tensor) -> Tensor:
    """Class probabilities: softmax averaged over views, then over networks by their weights.

    As in the program of 2012, probabilities are averaged and not logits. The networks are as they
    are: in evaluation mode, if that is what is meant. Weights are divided by their sum.

    Shape: (N, V, C, h, w) uint8 -> (N, classes) float64. Raises ValueError if they are no numbers,
    as those of a network that has diverged.
    """
    total = math.fsum(member.weight for member in members)
    average = torch.zeros((), dtype=torch.float64, device=images.device)
    for member in members:
        views = images.unbind(1)
        # View by view, so that ten take no more memory than one.
        for view in views:
            # In float64, where tiny probabilities do not all become 0 and seem equal.
            found = member.net(member.to_input(view)).double().softmax(1)
            if member.outputs is not None:
                found = found[:, list(member.outputs)]
            average = average + found * (member.weight / total / len(views))
    if not average.isfinite().all():
        raise ValueError("the probabilities are no numbers: has the training diverged?")
    return average


def predictions(
    members: Sequence[Member], loader: Iterable[Sequence[Tensor]], *, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Of batches of (images (N, V, C, h, w), labels (N,)): probabilities (N, classes), labels."""
    for images, labels in loader:
        yield predict(members, images.to(device)).cpu(), labels
