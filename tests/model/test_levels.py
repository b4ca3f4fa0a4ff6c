import pytest
import torch
import torch.nn.functional as F
from torch import nn

from alexnet.model import AlexNet, BatchNorm, CifarLocalNet, CifarNet
from alexnet.model.levels import make
from alexnet.vocabulary import LEVELS, add_level

NETWORKS = {
    "AlexNet": lambda **levels: AlexNet(
        7, channels=(12, 16, 20, 20, 16), hidden=(24, 24), image_size=64, init="he", **levels
    ),
    "CifarNet": lambda **levels: CifarNet(7, image_size=24, **levels),
    "CifarLocalNet": lambda **levels: CifarLocalNet(7, image_size=12, **levels),
}
LAYERS = {
    "AlexNet": {
        "conv1": 12, "conv2": 16, "conv3": 20, "conv4": 20, "conv5": 16, "fc6": 24, "fc7": 24,
    },
    "CifarNet": {"conv1": 32, "conv2": 32, "conv3": 64},
    "CifarLocalNet": {"conv1": 64, "conv2": 64, "local3": 32, "local4": 32},
}  # fmt: skip


@pytest.fixture(autouse=True)
def _levels_are_left_as_they_were(monkeypatch):
    for factor, levels in LEVELS.items():
        monkeypatch.setitem(LEVELS, factor, dict(levels))


def build(network, seed=0, **levels):
    torch.manual_seed(seed)
    return NETWORKS[network](**levels)


def pictures(net, count=2):
    """Random images with the range of mean-subtracted pixels."""
    generator = torch.Generator().manual_seed(1)
    return 64 * torch.randn(count, 3, net.image_size, net.image_size, generator=generator)


class Swish(nn.Module):
    """x * sigmoid(slope * x), with a slope for each channel."""

    def __init__(self, channels):
        super().__init__()
        self.slope = nn.Parameter(torch.empty(channels))
        self.reset_parameters()

    def reset_parameters(self):
        nn.init.normal_(self.slope)

    def forward(self, x):
        slope = self.slope.view(-1, *[1] * (x.dim() - 2))
        return x * torch.sigmoid(slope * x)


def forgetful():
    """A module whose buffer is set only by its constructor."""
    module = nn.ReLU()
    module.register_buffer("kernel", torch.ones(3))
    return module


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("factor", ["nonlinearity", "normalization", "pooling"])
def test_every_level_of_the_table_works_in_every_network(network, factor):
    for level in LEVELS[factor]:
        net = build(network, **{factor: level})
        logits = net(pictures(net, 4))
        F.cross_entropy(logits, torch.arange(4)).backward()
        assert logits.isfinite().all()
        assert all(parameter.grad.count_nonzero() for parameter in net.parameters()), level


@pytest.mark.parametrize("network", NETWORKS)
def test_levels_without_parameters_add_nothing_to_a_state_dict(network):
    names = list(build(network).state_dict())
    for factor, levels in LEVELS.items():
        for level in levels:
            added = set(build(network, **{factor: level}).state_dict()) - set(names)
            assert {name.partition(".")[0] for name in added} == (
                {"norm1", "norm2"} if level == "batch" else set()
            )


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("factory", [Swish, f"{__name__}.Swish"], ids=["class", "dotted name"])
def test_a_users_nonlinearity_has_a_module_with_parameters_for_each_layer(network, factory):
    add_level("nonlinearity", "swish", factory)

    net = build(network, nonlinearity="swish")

    slopes = {
        name.split(".")[1]: value.shape[0]
        for name, value in net.state_dict().items()
        if name.endswith("slope")
    }
    assert slopes == LAYERS[network]
    net(pictures(net)).sum().backward()
    assert all(parameter.grad.count_nonzero() for parameter in net.parameters())


@pytest.mark.parametrize("network", NETWORKS)
def test_a_users_parameters_are_a_function_of_seed_and_layer_and_disturb_no_others(network):
    add_level("nonlinearity", "swish", Swish)
    plain = build(network)
    after_plain = torch.rand(())

    net, again, other = (build(network, seed, nonlinearity="swish") for seed in (0, 0, 1))
    build(network, nonlinearity="swish")

    assert torch.equal(torch.rand(()), after_plain)
    for name, value in plain.state_dict().items():
        assert torch.equal(net.state_dict()[name], value)
    slopes = [each.nonlinearity["conv1"].slope for each in (net, again, other)]
    assert torch.equal(slopes[0], slopes[1])
    assert not torch.equal(slopes[0], slopes[2])
    assert not torch.equal(net.nonlinearity["conv2"].slope[:12], slopes[0][:12])


@pytest.mark.parametrize("network", NETWORKS)
def test_a_users_pooling_takes_the_place_of_all_pools_and_its_sizes_are_found(network):
    add_level("pooling", "strided", lambda channels: nn.AvgPool2d(2, 2, padding=1))

    net = build(network, pooling="strided")

    pools = [module for name, module in net.named_children() if name.startswith("pool")]
    assert len(pools) == {"AlexNet": 3, "CifarNet": 3, "CifarLocalNet": 2}[network]
    assert all(module.padding == 1 for module in pools)
    assert net(pictures(net)).shape == (2, 7)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_users_normalization_is_given_channels_and_columns(network):
    given = []

    def grouped(columns, channels):
        given.append((channels, columns))
        return nn.GroupNorm(columns, channels)

    add_level("normalization", "grouped", grouped)

    net = build(network, normalization="grouped")

    two = {"AlexNet": [(12, 2), (16, 2)], "CifarNet": [(32, 1)] * 2, "CifarLocalNet": [(64, 1)] * 2}
    assert given == two[network]
    assert torch.equal(net.norm1.weight, torch.ones(given[0][0]))
    assert net(pictures(net)).isfinite().all()


@pytest.mark.parametrize("network", NETWORKS)
def test_average_pooling_replaces_the_maximum_everywhere(network):
    net = build(network, pooling="average")
    assert not any(isinstance(module, nn.MaxPool2d) for module in net.modules())


def test_batch_normalization_starts_as_the_identity_of_normalized_activities():
    net = build("CifarNet", normalization="batch")
    assert isinstance(net.norm1, BatchNorm)
    expected = nn.BatchNorm2d(32).state_dict()
    for name, value in net.norm1.state_dict().items():
        assert torch.equal(value, expected[name]), name


@pytest.mark.parametrize("network", NETWORKS)
def test_a_level_whose_tensors_nobody_sets_is_an_error_that_names_them(network):
    add_level("nonlinearity", "forgetful", forgetful)

    with pytest.raises(ValueError, match=r"kernel of nonlinearity\.conv1 \(ReLU\).*add one"):
        build(network, nonlinearity="forgetful")


def test_a_level_that_sets_some_of_its_tensors_only_is_an_error_that_names_the_rest():
    class Half(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(channels))
            self.shift = nn.Parameter(torch.zeros(channels))
            self.register_buffer("steps", torch.tensor(0))

        def reset_parameters(self):
            nn.init.ones_(self.scale)

    add_level("normalization", "half", Half)

    with pytest.raises(ValueError, match=r"initializes shift, steps of norm1 \(Half\).*set them"):
        build("CifarNet", normalization="half")


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("my_lab.levels.Swish", "needs my_lab.levels.Swish, which is not found"),
        ("torch.nn.Swosh", "needs torch.nn.Swosh, which is not found"),
        (lambda: 3, "returns int, but must return a torch.nn.Module"),
        (lambda width: nn.ReLU(), "cannot be called with no arguments .*'width'"),
    ],
)
def test_a_factory_that_makes_no_module_is_refused(factory, message):
    add_level("nonlinearity", "mine", factory)
    with pytest.raises(ValueError, match=f"nonlinearity=mine.*{message}"):
        make("nonlinearity", "mine", channels=4)
