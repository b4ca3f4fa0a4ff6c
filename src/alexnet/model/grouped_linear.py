import torch
from torch import Tensor, nn
from typing_extensions import override


class GroupedLinear(nn.Module):
    """A fully connected layer in groups of features that do not see each other.

    It corresponds to a grouped convolution: group g is chunk(groups, 1)[g] of the input and of the
    output, chunk(groups, 0)[g] of the weight, (out_features, in_features / groups), and of the
    bias, (out_features,).

    Shape: (N, in_features) -> (N, out_features); groups must divide both.
    """

    def __init__(self, in_features: int, out_features: int, groups: int) -> None:
        super().__init__()
        assert in_features % groups == out_features % groups == 0
        self.groups = groups
        self.weight = nn.Parameter(torch.empty(out_features, in_features // groups))
        self.bias = nn.Parameter(torch.empty(out_features))

    @override
    def forward(self, features: Tensor) -> Tensor:
        # Weight times features, not the reverse, so that its gradient has the weight's layout.
        x = features.unflatten(1, (self.groups, -1)).permute(1, 2, 0)  # (groups, in / groups, N)
        y = self.weight.unflatten(0, (self.groups, -1)) @ x  # (groups, out / groups, N)
        return y.flatten(0, 1).T + self.bias

    @override
    def extra_repr(self) -> str:
        out_features, per_group = self.weight.shape
        return f"{per_group * self.groups}, {out_features}, groups={self.groups}"
