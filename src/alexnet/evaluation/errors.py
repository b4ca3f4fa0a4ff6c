import math
from dataclasses import dataclass
from statistics import NormalDist

import torch
from torch import Tensor

TOP = 5  # number of labels in the top-5 error, and in lists of the best labels
_NORMAL_95 = NormalDist().inv_cdf(0.975)


def credits(probabilities: Tensor, labels: Tensor, k: int) -> Tensor:
    """Return the credit of each image: 1 if its true class is among the k most probable, else 0.

    Classes of equal probability share the remaining places, as in the program of 2012: if two
    classes tie for the last place, each gets half of it. So a network with equal probabilities gets
    k / classes, whatever the order of the classes.

    Shape: (N, classes), (N,) -> (N,).
    """
    true = probabilities.gather(1, labels[:, None])  # (N, 1)
    better = (probabilities > true).sum(1)
    equal = (probabilities == true).sum(1)  # including the true class itself
    return ((k - better) / equal).clamp(0, 1).double()


@dataclass
class Tally:
    """Errors counted over images; classes that tie give fractions."""

    images: int = 0
    wrong: float = 0.0
    wrong_top5: float = 0.0
    loss: float = 0.0  # sum over all images

    def add(self, probabilities: Tensor, labels: Tensor) -> None:
        """Add a batch: probabilities (N, classes), labels (N,)."""
        self.images += len(labels)
        self.wrong += (1 - credits(probabilities, labels, 1)).sum().item()
        self.wrong_top5 += (1 - credits(probabilities, labels, TOP)).sum().item()
        true = probabilities.gather(1, labels[:, None]).clamp_min(torch.finfo(torch.double).tiny)
        self.loss -= true.log().sum().item()


def interval(wrong: float, total: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of an error over images like these.

    It says nothing about how runs with other seeds would differ.
    """
    error, z2 = wrong / total, _NORMAL_95**2
    centre = (error + z2 / (2 * total)) / (1 + z2 / total)
    spread = error * (1 - error) / total + z2 / (4 * total**2)
    half = _NORMAL_95 * math.sqrt(spread) / (1 + z2 / total)
    return max(0.0, centre - half), min(1.0, centre + half)
