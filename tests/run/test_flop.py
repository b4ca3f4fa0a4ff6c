import torch
from torch import nn

from alexnet.model import AlexNet
from alexnet.run.flop import forward_flop
from alexnet.timeline.costs import ARITHMETIC, layers_of


def test_alexnet_takes_the_multiply_adds_of_its_layers():
    # conv1 to conv5: 55^2 x 96 x 363, 27^2 x 256 x 1200, 13^2 x 384 x 2304, 13^2 x 384 x 1728,
    # 13^2 x 256 x 1728; then the weights of three products.
    convolutions = 105_415_200 + 223_948_800 + 149_520_384 + 112_140_288 + 74_760_192
    products = 9216 * 4096 + 4096 * 4096 + 4096 * 1000
    found = forward_flop(AlexNet(), 224)
    assert found == 2 * (convolutions + products)
    assert found == sum(each.forward for each in layers_of(AlexNet) if each.kind in ARITHMETIC)


def test_counting_leaves_the_network_and_the_random_numbers_as_they_were():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4).eval(), nn.Dropout(), nn.Flatten())
    before = {key: value.clone() for key, value in net.state_dict().items()}
    state = torch.get_rng_state()
    assert forward_flop(net, 8) == 2 * 4 * 27 * 36
    assert [each.training for each in net] == [True, False, True, True]
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_a_network_that_takes_other_input_is_not_counted():
    assert forward_flop(nn.Linear(5, 2), 8) is None
    assert forward_flop(nn.Linear(5, 2), None) is None
