import zlib

import pytest
import torch
from torch import nn

from alexnet.model import AlexNet, CifarLocalNet, CifarNet, check_initialized

NETWORKS = {
    "AlexNet": lambda: AlexNet(7, channels=(12, 16, 20, 20, 16), hidden=(24, 24), image_size=64),
    "CifarNet": lambda: CifarNet(7, init="source_2012"),
    "CifarLocalNet": lambda: CifarLocalNet(7, init="source_2012"),
}
STD = {
    "AlexNet": dict.fromkeys(
        ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"), 0.01
    ),
    "CifarNet": {"conv1": 1e-4, "conv2": 0.01, "conv3": 0.01, "fc4": 0.01},
    "CifarLocalNet": {"conv1": 1e-4, "conv2": 0.01, "local3": 0.04, "local4": 0.04, "fc5": 0.01},
}


@pytest.mark.parametrize("network", NETWORKS)
def test_weights_are_drawn_from_one_number_and_the_name_of_the_layer(network):
    """The same in all versions: stopped runs can continue, and published seeds stay valid."""
    torch.manual_seed(5)
    seed = int(torch.randint(2**32, ()))
    next_number = torch.rand(())

    torch.manual_seed(5)
    net = NETWORKS[network]()

    assert torch.equal(torch.rand(()), next_number)
    for layer, std in STD[network].items():
        weight = net.get_submodule(layer).weight
        generator = torch.Generator().manual_seed(seed ^ zlib.crc32(layer.encode()))
        assert torch.equal(weight, torch.empty(weight.shape).normal_(0, std, generator=generator))
    assert {name.partition(".")[0] for name in net.state_dict()} == set(STD[network])


def test_a_network_with_finite_numbers_is_ready():
    check_initialized(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), "my_lab.Net")


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (nn.Linear(3, 4, device="meta"), r"no values for weight, bias, .*meta"),
        (nn.Sequential(nn.LazyLinear(4)), r"no values for 0\.weight, 0\.bias, .*first batch"),
        (nn.BatchNorm2d(4, affine=False, device="meta"), "no values for running_mean, running_var"),
    ],
)
def test_a_network_without_memory_is_refused_with_the_names_of_its_parameters(net, message):
    with pytest.raises(ValueError, match=f"my_lab.Net has {message}"):
        check_initialized(net, "my_lab.Net")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_network_that_starts_with_values_that_are_not_finite_is_refused(value):
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    with torch.no_grad():
        net[1].weight[0, 1] = value

    with pytest.raises(ValueError, match=r"my_lab\.Net starts with .* not finite in 1\.weight"):
        check_initialized(net, "my_lab.Net")
