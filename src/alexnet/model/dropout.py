import torch
from torch import Tensor, nn
from typing_extensions import override


class Dropout(nn.Module):
    """Set each activity to zero with a probability while training (section 4.2).

        training:    y = x with probability 1 - p, else 0
        evaluation:  y = (1 - p) * x

    torch.nn.Dropout divides by 1 - p while training and does nothing afterwards. That is the same
    function for weights 1 - p times as large, but not the same training: with p = 0.5 it acts on
    the next layer like 4 times the learning rate and twice the initial weights. The paper's
    learning rate and initial weights belong to the paper's dropout.

    Raises ValueError if p is outside [0, 1).
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"dropout is the probability of zero, in [0, 1), but is {p}")
        self.p = p

    @override
    def forward(self, activities: Tensor) -> Tensor:
        if not self.training:
            return activities * (1 - self.p)
        # Drawn for p = 0, too, so that arms that differ in p use up equally many random numbers.
        return activities * torch.empty_like(activities).bernoulli_(1 - self.p)

    @override
    def extra_repr(self) -> str:
        return f"p={self.p}"
