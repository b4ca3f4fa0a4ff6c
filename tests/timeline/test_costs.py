"""The cost model agrees with torch's count of operations and with the strategy's layout."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from alexnet.learning.columns.layout import Layout
from alexnet.model import AlexNet, crossing_sizes
from alexnet.timeline import layers_of
from alexnet.timeline.costs import ARITHMETIC, bytes_sent

IMAGES = 3
CONTROL = {"channels": (48, 128, 192, 192, 256), "columns": 1}


def on_paper(**settings):
    with torch.device("meta"):
        return AlexNet(**settings)


def counted(net):
    """FLOP of the forward pass by layer, and of the whole backward pass, as torch counts them."""
    images = torch.empty(IMAGES, 3, net.image_size, net.image_size, device="meta")
    with FlopCounterMode(display=False) as forward:
        logits = net.eval()(images)
    with FlopCounterMode(display=False) as backward:
        logits.sum().backward()
    return forward.get_flop_counts(), backward.get_total_flops()


@pytest.mark.parametrize("settings", [{}, CONTROL, {"columns_cross": False}])
def test_flop_of_every_layer_are_those_that_torch_counts(settings):
    by_layer, _ = counted(on_paper(**settings))

    for layer in layers_of(lambda: AlexNet(**settings)):
        if layer.kind in ARITHMETIC:
            assert IMAGES * layer.forward == sum(by_layer[f"AlexNet.{layer.name}"].values())


# Without groups: for g of them torch 2.14 counts the gradient of the weights g times.
@pytest.mark.parametrize("settings", [CONTROL, {"columns": 1}])
def test_flop_of_the_backward_pass_are_those_that_torch_counts(settings):
    layers = [each for each in layers_of(lambda: AlexNet(**settings)) if each.kind in ARITHMETIC]

    _, backward = counted(on_paper(**settings))

    assert IMAGES * sum(layer.backward for layer in layers) == backward


def test_two_columns_share_the_arithmetic_and_the_parameters_of_the_network():
    # 724,406,816 multiplications and 60,965,224 parameters: counted by hand from figure 2
    column = layers_of(AlexNet, 2)

    assert 2 * sum(layer.multiply_adds for layer in column) == 724_406_816
    assert 2 * sum(layer.parameters for layer in column) == 60_965_224


@pytest.mark.parametrize("columns", [2, 4])
def test_bytes_between_columns_are_those_that_the_strategy_exchanges(columns):
    net = on_paper(columns=columns)
    strategy = Layout(
        columns=columns,
        replicas=1,
        parameters={},
        crossings=crossing_sizes(net),
        classes=1000,
        bytes_per_activity=4,
    )

    modelled = bytes_sent(
        layers_of(lambda: AlexNet(columns=columns), columns),
        columns=columns,
        classes=1000,
        images=5,
    )

    assert modelled == strategy.bytes_sent(5)
    if columns == 2:  # docs/two_columns.md
        assert modelled == 5 * 61_172 * 4


def test_the_shapes_of_a_column_are_those_that_it_is_given_after_an_exchange():
    shapes = {layer.name: layer.shape for layer in layers_of(AlexNet, 2)}

    assert shapes["conv2"] == (48, 27, 27)  # its own column
    assert shapes["conv3"] == (256, 13, 13)  # both
    assert shapes["fc7"] == (4096,)


def test_a_network_that_cannot_be_divided_is_refused():
    with pytest.raises(ValueError, match=r"model\.columns=1 cannot be divided into 2"):
        layers_of(lambda: AlexNet(columns=1), 2)
