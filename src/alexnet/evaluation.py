"""What trained networks say of images: views and networks averaged, ties shared (section 4.1)."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

TOP = 5  # the labels of the top-5 error, and of every list of best labels
_NORMAL_95 = 1.959964  # 97.5 % of a standard normal distribution lie below


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
            logits = member.net(member.to_input(view))
            if member.outputs is not None:
                logits = logits[:, list(member.outputs)]
            # In float64, where tiny probabilities do not all become 0 and seem equal.
            average = average + logits.double().softmax(1) * (member.weight / total / len(views))
    if not average.isfinite().all():
        raise ValueError("the probabilities are no numbers: has the training diverged?")
    return average


def predictions(
    members: Sequence[Member], loader: Iterable[Sequence[Tensor]], *, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Of batches of (images (N, V, C, h, w), labels (N,)): probabilities (N, classes), labels."""
    for images, labels in loader:
        yield predict(members, images.to(device)).cpu(), labels


def credits(probabilities: Tensor, labels: Tensor, k: int) -> Tensor:
    """How right each image is: 1 if its true class is among the k most probable, 0 if not.

    Classes of equal probability share what places are left to them, as in the program of 2012: if
    two classes tie for the last place, each has half of it. So a network that says nothing gets
    k / classes, whatever the order of the classes.

    Shape: (N, classes), (N,) -> (N,).
    """
    true = probabilities.gather(1, labels[:, None])  # (N, 1)
    better = (probabilities > true).sum(1)
    equal = (probabilities == true).sum(1)  # with the true class itself
    return ((k - better) / equal).clamp(0, 1).double()


@dataclass
class Tally:
    """Errors counted over images; fractions where classes tie."""

    images: int = 0
    wrong: float = 0.0
    wrong_top5: float = 0.0
    loss: float = 0.0  # of all images together

    def add(self, probabilities: Tensor, labels: Tensor) -> None:
        """Count a batch: probabilities (N, classes), labels (N,)."""
        self.images += len(labels)
        self.wrong += (1 - credits(probabilities, labels, 1)).sum().item()
        self.wrong_top5 += (1 - credits(probabilities, labels, TOP)).sum().item()
        true = probabilities.gather(1, labels[:, None]).clamp_min(torch.finfo(torch.double).tiny)
        self.loss -= true.log().sum().item()


def interval(wrong: float, total: int) -> tuple[float, float]:
    """Wilson's 95 % interval of an error: what these images tell of all images like them.

    It says nothing of how runs of other seeds would differ.
    """
    error, z2 = wrong / total, _NORMAL_95**2
    centre = (error + z2 / (2 * total)) / (1 + z2 / total)
    spread = error * (1 - error) / total + z2 / (4 * total**2)
    half = _NORMAL_95 * math.sqrt(spread) / (1 + z2 / total)
    return max(0.0, centre - half), min(1.0, centre + half)


@torch.no_grad()
def last_hidden(net: nn.Module, images: Tensor) -> Tensor:
    """What the last layer sees of each image: of AlexNet fc7 after its nonlinearity (section 6.1).

    In evaluation mode, that is times the probability with which dropout keeps a unit.

    Shape: (N, 3, h, w), a network's input -> (N, units).
    """
    layers = [
        layer for layer in net.modules() if any(True for _ in layer.parameters(recurse=False))
    ]
    seen: list[Tensor] = []
    hook = layers[-1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        net(images)
    finally:
        hook.remove()
    return seen[0].flatten(1)


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
