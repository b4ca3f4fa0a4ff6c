import pytest
import torch
from torch.nn import functional

from alexnet.model import GroupedLinear


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_it_is_a_fully_connected_layer_for_each_group(groups):
    torch.manual_seed(0)
    layer = GroupedLinear(12, 8, groups).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    features = torch.randn(3, 12, dtype=torch.float64, requires_grad=True)
    inputs = (features, *layer.parameters())

    together = layer(features)
    apart = torch.cat(
        [
            functional.linear(x, weight, bias)
            for x, weight, bias in zip(
                features.chunk(groups, 1),
                layer.weight.chunk(groups),
                layer.bias.chunk(groups),
                strict=True,
            )
        ],
        1,
    )

    torch.testing.assert_close(together, apart)
    gradient = torch.randn_like(apart)
    for mine, theirs in zip(
        torch.autograd.grad(together, inputs, gradient),
        torch.autograd.grad(apart, inputs, gradient),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs)


def test_its_weight_has_the_shape_of_a_grouped_layer():
    assert GroupedLinear(12, 8, groups=2).weight.shape == (8, 6)
    assert repr(GroupedLinear(12, 8, groups=2)) == "GroupedLinear(12, 8, groups=2)"
