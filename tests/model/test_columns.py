import pytest
import torch
from torch import nn

from alexnet.model import AlexNet, crossing_sizes, keep_column, rows_of
from alexnet.vocabulary import LEVELS


def test_activities_cross_where_the_paper_draws_it():
    with torch.device("meta"):
        net = AlexNet()

    # Figure 2: 2 x 128 maps of 13 x 13 into conv3, of 6 x 6 into fc6, 2 x 2048 neurons after that.
    assert crossing_sizes(net) == {"conv3": 43_264, "fc6": 9_216, "fc7": 4_096, "fc8": 4_096}


def test_activities_of_other_networks_cross_before_other_layers():
    with torch.device("meta"):
        apart = AlexNet(columns_cross=False, hidden=(8192, 4096))
        six_but_conv3 = AlexNet(sixth_convolution=True, removed=("conv3",))

    assert crossing_sizes(apart) == {"fc8": 4_096}
    assert crossing_sizes(six_but_conv3) == {
        "conv4": 43_264, "conv6": 9_216, "fc6": 9_216, "fc7": 4_096, "fc8": 4_096,
    }  # fmt: skip


@torch.no_grad()
def test_columns_that_do_not_cross_are_networks_of_their_own_up_to_fc8():
    def net_of_four_columns():
        torch.manual_seed(0)
        net = AlexNet(
            num_classes=8, channels=(8, 16, 16, 16, 8), hidden=(32, 16), image_size=67, columns=4,
            columns_cross=False, same_map_norm=True, sixth_convolution=True, init="he",
        )  # fmt: skip
        return net.eval()

    images = torch.randn(2, 3, 67, 67)
    whole = net_of_four_columns()
    whole.fc8 = nn.Identity()

    for column in range(2):
        part = net_of_four_columns()
        keep_column(part, column, columns=2)
        part.fc8 = nn.Identity()
        torch.testing.assert_close(part(images), whole(images).chunk(2, 1)[column])


def test_a_column_is_the_chunk_of_every_parameter():
    net = AlexNet(num_classes=7, channels=(8, 16, 16, 16, 8), hidden=(16, 16), image_size=67)
    before = {name: weight.detach().clone() for name, weight in net.named_parameters()}

    whole = keep_column(net, column=1, columns=2)

    for name, weight in net.named_parameters():
        assert torch.equal(weight, before[name].chunk(2, 0)[1])
        assert whole[name] == before[name].shape


@pytest.mark.parametrize("rows", [5, 7, 8, 9, 1000])
@pytest.mark.parametrize("columns", [1, 2, 4])
def test_rows_are_divided_as_chunk_does_it(rows: int, columns: int):
    numbers = torch.arange(rows)

    mine = [numbers[rows_of(column, columns, rows)] for column in range(columns)]

    chunks = numbers.chunk(columns)
    assert [part.tolist() for part in mine[: len(chunks)]] == [part.tolist() for part in chunks]
    assert torch.equal(torch.cat(mine), numbers)


def test_half_of_the_control_cannot_be_divided_again():
    with torch.device("meta"):
        net = AlexNet(columns=1)

    with pytest.raises(ValueError, match=r"model\.columns=1 cannot be divided into 2"):
        keep_column(net, column=0, columns=2)


def small_net(**levels):
    sizes = {"channels": (8, 16, 16, 16, 8), "hidden": (16, 16), "image_size": 67}
    return AlexNet(num_classes=8, columns=2, columns_cross=False, init="he", **sizes, **levels)


def test_running_statistics_are_divided_and_the_number_of_batches_is_not():
    net = small_net(normalization="batch")
    net(torch.randn(4, 3, 67, 67))
    before = {name: value.clone() for name, value in net.state_dict().items()}

    whole = keep_column(net, column=1, columns=2)

    for name, value in net.state_dict().items():
        is_count = name.endswith("num_batches_tracked")
        assert torch.equal(value, before[name] if is_count else before[name].chunk(2)[1]), name
        assert (name in whole) is not is_count
    assert net.norm1.num_features == 4


class Slopes(nn.PReLU):
    def __init__(self, channels):
        super().__init__(channels)


@pytest.mark.parametrize(
    ("factor", "factory"),
    [
        ("nonlinearity", Slopes),
        ("normalization", lambda channels, columns: nn.GroupNorm(2 * columns, channels)),
    ],
)
def test_levels_with_a_parameter_per_channel_are_divided(factor, factory, monkeypatch):
    monkeypatch.setitem(LEVELS[factor], "mine", factory)

    def build():
        torch.manual_seed(0)
        net = small_net(**{factor: "mine"}).eval()
        with torch.no_grad():
            for name, weight in net.named_parameters():
                if not name.startswith(("conv", "fc")):
                    weight.uniform_()
        net.fc8 = nn.Identity()
        return net

    images = torch.randn(2, 3, 67, 67)
    for column in range(2):
        part = build()
        part.fc8 = nn.Linear(1, 8)  # keep_column divides it too
        keep_column(part, column, columns=2)
        part.fc8 = nn.Identity()
        torch.testing.assert_close(part(images), build()(images).chunk(2, 1)[column])


@pytest.mark.parametrize(
    ("factor", "factory", "message"),
    [
        (
            "nonlinearity",
            nn.PReLU,
            r"nonlinearity\.conv1\.weight .*cannot be divided.*each channel",
        ),
        ("normalization", lambda channels: nn.GroupNorm(1, channels), "norm1 normalizes across"),
    ],
)
def test_levels_that_join_columns_are_refused(factor, factory, message, monkeypatch):
    monkeypatch.setitem(LEVELS[factor], "mine", factory)
    net = small_net(**{factor: "mine"})
    before = net.conv1.weight.shape

    with pytest.raises(ValueError, match=message):
        keep_column(net, column=0, columns=2)

    assert net.conv1.weight.shape == before
    assert net.columns == 2
