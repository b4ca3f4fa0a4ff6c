import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Member:
    """One network of an ensemble.

    `to_input` converts uint8 (N, C, h, w) to this network's input. Output `outputs[i]` is for the
    data's class i; None if they are in the same order.
    """

    net: nn.Module
    to_input: Callable[[Tensor], Tensor]
    weight: float = 1.0
    outputs: Sequence[int] | None = None


@torch.no_grad()
def predict(members: Sequence[Member], images: Tensor) -> Tensor:
    """Return class probabilities: softmax averaged over views, then over networks by weight.

    As in the program of 2012, probabilities are averaged, not logits. The networks are used in
    their present mode, so set evaluation mode first. Weights are divided by their sum.

    Shape: (N, V, C, h, w) uint8 -> (N, classes) float64. Raises ValueError if probabilities are not
    finite, as for a network that has diverged.
    """
    total = math.fsum(member.weight for member in members)
    average = torch.zeros((), dtype=torch.float64, device=images.device)
    for member in members:
        views = images.unbind(1)
        # View by view, so that ten views need no more memory than one.
        for view in views:
            # In float64, because tiny probabilities would become 0, and so equal, in float32.
            found = member.net(member.to_input(view)).double().softmax(1)
            if member.outputs is not None:
                found = found[:, list(member.outputs)]
            average = average + found * (member.weight / total / len(views))
    if not average.isfinite().all():
        raise ValueError("the probabilities are not finite: has the training diverged?")
    return average


def predictions(
    members: Sequence[Member], loader: Iterable[Sequence[Tensor]], *, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield probabilities (N, classes) and labels (N,) of batches of images (N, V, C, h, w)."""
    for images, labels in loader:
        yield predict(members, images.to(device)).cpu(), labels
