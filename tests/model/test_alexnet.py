import itertools

import pytest
import torch
import torch.nn.functional as F
from torchvision.models.feature_extraction import create_feature_extractor

from alexnet.model import AlexNet, LocalResponseNorm

NONLINEARITIES = ("relu", "tanh", "sigmoid")
NORMALIZATIONS = ("lrn", "none")
POOLINGS = ("overlapping", "non_overlapping")
COMBINATIONS = list(itertools.product(NONLINEARITIES, NORMALIZATIONS, POOLINGS))
LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")


@pytest.fixture(scope="module")
def full_size():
    torch.manual_seed(0)
    return AlexNet().eval()


def on_paper(**settings):
    """A network on the meta device: shapes without values."""
    with torch.device("meta"):
        return AlexNet(**settings)


def small(seed=0, **settings):
    torch.manual_seed(seed)
    sizes = {
        "num_classes": 7,
        "channels": (12, 16, 20, 20, 16),
        "hidden": (24, 24),
        "image_size": 64,
    }
    return AlexNet(**sizes | settings)


def pictures(count, size):
    """Random images with the range of mean-subtracted pixels."""
    return 64 * torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def num_parameters(net):
    return sum(parameter.numel() for parameter in net.parameters())


def outputs_by_layer(net, images):
    outputs = {}
    hooks = [
        layer.register_forward_hook(lambda _, __, y, name=name: outputs.update({name: y}))
        for name, layer in net.named_children()
    ]
    with torch.no_grad():
        net(images)
    for hook in hooks:
        hook.remove()
    return outputs


# Sizes (section 3.5, figure 2)


def test_alexnet_has_the_60_million_parameters_of_section_4():
    # convolutions 2,334,080 + fully connected 58,631,144
    assert num_parameters(on_paper()) == 60_965_224


def test_one_column_of_all_maps_has_62_million_parameters():
    assert num_parameters(on_paper(columns=1)) == 62_378_344


def test_the_one_gpu_control_of_section_3_2_is_a_configuration():
    # 17,472 + 153,728 + 221,376 + 331,968 + 442,624 + 37,752,832 + 16,781,312 + 4,097,000
    control = on_paper(columns=1, channels=(48, 128, 192, 192, 256))
    assert num_parameters(control) == 59_798_312


def test_two_columns_that_meet_in_fc8_only_have_the_parameters_of_layers_150():
    # conv1 96 x 3 x 11 x 11, conv2 320 x 48 x 5 x 5, conv3 384 x 160 x 3 x 3, conv4 and conv5 as
    # printed, fc6 8192 x 4608, fc7 4096 x 4096, fc8 1000 x 4096; and the biases
    net = on_paper(
        columns_cross=False, channels=(96, 320, 384, 384, 256), hidden=(8192, 4096), columns=2
    )
    layers = 34_944 + 384_320 + 553_344 + 663_936 + 442_624 + 37_756_928 + 16_781_312 + 4_097_000
    assert num_parameters(net) == layers == 60_714_408


def test_a_sixth_convolution_adds_256_kernels_of_3_x_3_x_256():
    net = on_paper(sixth_convolution=True)
    assert net.conv6.weight.shape == (256, 256, 3, 3)  # both columns: layers-146-2012-2011.cfg
    assert num_parameters(net) == 60_965_224 + 589_824 + 256


@pytest.mark.parametrize(
    ("removed", "difference"),
    [
        (("conv3",), -663_936),  # conv4 then sees all 256 maps: as large as conv3 was
        (("conv4",), -663_936),
        (("conv5",), -442_624 + 4096 * (384 - 256) * 36),  # fc6 then sees 384 maps
        (("conv4", "conv3"), -2 * 663_936 - 885_120 + 663_936 + 256 * 64 * 9),  # conv5 sees 256
        (("conv3", "conv4", "conv5"), -885_120 - 663_936 - 442_624),
    ],
)
def test_removed_layers_are_gone_and_the_next_layer_sees_what_they_saw(removed, difference):
    net = on_paper(removed=removed)
    assert not any(name.startswith(removed) for name in net.state_dict())
    assert num_parameters(net) == 60_965_224 + difference
    assert net(torch.empty(1, 3, 224, 224, device="meta")).shape == (1, 1000)


def test_batch_normalization_adds_a_weight_and_a_bias_for_each_map_of_conv1_and_conv2():
    net = on_paper(normalization="batch")
    assert num_parameters(net) == 60_965_224 + 2 * (96 + 256)
    assert net.eval()(torch.empty(1, 3, 224, 224, device="meta")).shape == (1, 1000)


def test_no_option_that_has_no_weights_changes_their_number():
    options = ("norm1_before_nonlinearity", "same_map_norm", "dropout_is_inverted")
    assert num_parameters(on_paper(**dict.fromkeys(options, True))) == 60_965_224


def test_parameters_have_the_names_and_shapes_of_caffes_grouped_layout():
    shapes = {name: tuple(value.shape) for name, value in on_paper().state_dict().items()}
    assert shapes == {
        "conv1.weight": (96, 3, 11, 11),
        "conv2.weight": (256, 48, 5, 5),
        "conv3.weight": (384, 256, 3, 3),
        "conv4.weight": (384, 192, 3, 3),
        "conv5.weight": (256, 192, 3, 3),
        "fc6.weight": (4096, 9216),
        "fc7.weight": (4096, 4096),
        "fc8.weight": (1000, 4096),
    } | {
        f"{layer}.bias": (maps,)
        for layer, maps in zip(LAYERS, (96, 256, 384, 384, 256, 4096, 4096, 1000), strict=True)
    }


def test_layers_have_the_neurons_of_figure_2():
    # Figure 2 prints 253,440 = 55 * 48 * 96 for conv1, a slip for 55 * 55 * 96. In all 659,272:
    # the 650,000 of the abstract.
    outputs = outputs_by_layer(on_paper().eval(), torch.empty(1, 3, 224, 224, device="meta"))
    neurons = [outputs[layer].numel() for layer in LAYERS]
    assert neurons == [290_400, 186_624, 64_896, 64_896, 43_264, 4096, 4096, 1000]


@pytest.mark.parametrize(
    ("pooling", "sizes"),
    [
        ("overlapping", {"conv1": 55, "pool1": 27, "conv2": 27, "pool2": 13, "conv5": 13}),
        ("non_overlapping", {"conv1": 55, "pool1": 28, "conv2": 26, "pool2": 13, "conv5": 11}),
        ("average", {"conv1": 55, "pool1": 27, "conv2": 27, "pool2": 13, "conv5": 13}),
    ],
)
def test_every_pooling_leaves_maps_of_6_x_6(pooling, sizes):
    net = on_paper(pooling=pooling).eval()
    outputs = outputs_by_layer(net, torch.empty(1, 3, 224, 224, device="meta"))
    for layer, size in {**sizes, "conv3": 13, "conv4": 13, "pool5": 6}.items():
        assert outputs[layer].shape[2:] == (size, size), layer


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("image_size", [56, 57, 63, 64, 100, 127, 224, 227])
def test_images_of_any_size_fit(pooling, image_size):
    net = on_paper(pooling=pooling, image_size=image_size)
    assert net.image_size == image_size
    assert net(torch.empty(2, 3, image_size, image_size, device="meta")).shape == (2, 1000)


def test_pixels_beyond_the_image_are_zero_and_on_the_right_and_at_the_bottom_only():
    net = small(image_size=224)
    images = pictures(2, 224)
    maps = outputs_by_layer(net, images)["conv1"]
    inside = F.conv2d(images, net.conv1.weight, net.conv1.bias, stride=4)
    assert inside.shape[2:] == (54, 54)
    torch.testing.assert_close(maps[..., :54, :54], inside)
    # The last window starts at pixel 216 and reaches pixel 226; the image ends at 223.
    corner = torch.zeros(2, 3, 11, 11)
    corner[..., :8, :8] = images[..., 216:, 216:]
    last = F.conv2d(corner, net.conv1.weight, net.conv1.bias)
    torch.testing.assert_close(maps[..., 54:, 54:], last)


# The function (sections 3.1 to 3.5)


def two_columns_by_hand(net, images, nonlinearity, normalization, pooling):
    """The test-time network of figure 2, each column with its half of every parameter."""
    half = {name: value.chunk(2) for name, value in net.state_dict().items()}
    f = getattr(torch, nonlinearity)

    def conv(c, layer, x, **geometry):
        return f(F.conv2d(x, half[f"{layer}.weight"][c], half[f"{layer}.bias"][c], **geometry))

    def full(c, layer, x):
        return F.linear(x, half[f"{layer}.weight"][c], half[f"{layer}.bias"][c])

    def norm(x):
        return F.local_response_norm(x, 5, 5e-4, k=2.0) if normalization == "lrn" else x

    def pool(x):
        if pooling == "overlapping":
            return F.max_pool2d(x, 3, 2)
        return F.max_pool2d(x, 2, 2, ceil_mode=True)

    pad2, pad5 = (2, 1) if pooling == "overlapping" else (1, 0)
    canvas = images.new_zeros(len(images), 3, 227, 227)
    canvas[..., :224, :224] = images
    columns = (0, 1)
    x = [pool(norm(conv(c, "conv1", canvas, stride=4))) for c in columns]
    x = [pool(norm(conv(c, "conv2", x[c], padding=pad2))) for c in columns]
    both = torch.cat(x, 1)
    x = [conv(c, "conv3", both, padding=1) for c in columns]
    x = [conv(c, "conv4", x[c], padding=1) for c in columns]
    x = [pool(conv(c, "conv5", x[c], padding=pad5)) for c in columns]
    both = torch.cat(x, 1).flatten(1)
    x = [0.5 * f(full(c, "fc6", both)) for c in columns]
    both = torch.cat(x, 1)
    x = [0.5 * f(full(c, "fc7", both)) for c in columns]
    both = torch.cat(x, 1)
    return torch.cat([full(c, "fc8", both) for c in columns], 1)


@torch.no_grad()
@pytest.mark.parametrize(("nonlinearity", "normalization", "pooling"), COMBINATIONS)
def test_alexnet_is_two_columns_that_cross_where_figure_2_says(
    nonlinearity, normalization, pooling
):
    levels = {"nonlinearity": nonlinearity, "normalization": normalization, "pooling": pooling}
    net = small(image_size=224, **levels).double().eval()
    images = pictures(2, 224).double()
    torch.testing.assert_close(net(images), two_columns_by_hand(net, images, **levels))


@torch.no_grad()
def test_alexnet_is_two_columns_at_its_full_size_too(full_size):
    images = pictures(1, 224)
    by_hand = two_columns_by_hand(full_size, images, "relu", "lrn", "overlapping")
    torch.testing.assert_close(full_size(images), by_hand, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_the_network_of_2012_normalizes_conv1_before_its_relu_and_conv2_twice():
    net = small(
        image_size=224,
        norm1_before_nonlinearity=True,
        lrn_alpha_is_divided_by_size=True,
        same_map_norm=True,
        init="source_2012",
    )
    net, images = net.double().eval(), pictures(2, 224).double()
    half = {name: value.chunk(2) for name, value in net.state_dict().items()}

    def layer(x, name, c, **geometry):
        return F.conv2d(x, half[f"{name}.weight"][c], half[f"{name}.bias"][c], **geometry)

    pooled = []
    for c in (0, 1):
        conv1 = layer(F.pad(images, (0, 3, 0, 3)), "conv1", c, stride=4)
        rnorm1 = F.local_response_norm(conv1, 5, 1e-4, 0.75, k=2.0)
        pool1 = F.max_pool2d(rnorm1, 3, 2).relu()
        conv2 = layer(pool1, "conv2", c, padding=2).relu()
        rnorm2 = F.local_response_norm(conv2, 5, 1e-4, 0.75, k=2.0)
        window = torch.ones(rnorm2.shape[1], 1, 5, 5, dtype=torch.float64)
        energy = F.conv2d(rnorm2**2, window, padding=2, groups=rnorm2.shape[1])
        cnorm2 = rnorm2 / (1 + 1e-3 / 25 * energy) ** 0.75
        pooled.append(F.max_pool2d(cnorm2, 3, 2))
    torch.testing.assert_close(outputs_by_layer(net, images)["pool2"], torch.cat(pooled, 1))


@torch.no_grad()
@pytest.mark.parametrize("is_2012", [False, True])
def test_without_normalization_there_is_no_norm_of_any_kind(is_2012):
    # layers-148.cfg: of the network of 2012 none of the three norms is left, and the maximum
    # commutes with the nonlinearity, so that nothing is left of its order either.
    options = {"norm1_before_nonlinearity": is_2012, "same_map_norm": is_2012}
    net = small(image_size=224, normalization="none", **options).double().eval()
    images = pictures(1, 224).double()
    expected = two_columns_by_hand(net, images, "relu", "none", "overlapping")
    torch.testing.assert_close(net(images), expected)


@torch.no_grad()
@pytest.mark.parametrize("nonlinearity", ["relu", "tanh"])
@pytest.mark.parametrize(
    ("removed", "sixth_convolution"),
    [(("conv3",), False), (("conv4",), True), (("conv5", "conv3"), True), ((), True)],
)
def test_the_layers_that_remain_follow_each_other(removed, sixth_convolution, nonlinearity):
    net = small(
        nonlinearity=nonlinearity,
        removed=removed,
        sixth_convolution=sixth_convolution,
        init="he",
        image_size=100,
    ).eval()
    images, f = pictures(2, 100), getattr(torch, nonlinearity)
    x = outputs_by_layer(net, images)["pool2"]
    for name in ("conv3", "conv4", "conv5"):
        if name not in removed:
            layer = net.get_submodule(name)
            assert layer.groups == (1 if name in net.crossings else 2)
            x = f(F.conv2d(x, layer.weight, layer.bias, padding=1, groups=layer.groups))
    x = F.max_pool2d(x, 3, 2, ceil_mode=True)
    if sixth_convolution:
        x = f(F.conv2d(x, net.conv6.weight, net.conv6.bias, padding=1))
    torch.testing.assert_close(outputs_by_layer(net, images)["fc6"], net.fc6(x.flatten(1)))


@pytest.mark.parametrize(
    ("options", "crossings"),
    [
        ({}, ("conv3", "fc6", "fc7", "fc8")),
        ({"sixth_convolution": True}, ("conv3", "conv6", "fc6", "fc7", "fc8")),
        ({"removed": ("conv4", "conv5")}, ("conv3", "fc6", "fc7", "fc8")),
        ({"removed": ("conv3",)}, ("conv4", "fc6", "fc7", "fc8")),
        ({"removed": ("conv4", "conv3")}, ("conv5", "fc6", "fc7", "fc8")),
        ({"removed": ("conv3", "conv4", "conv5")}, ("fc6", "fc7", "fc8")),
        ({"columns_cross": False}, ("fc8",)),
        ({"columns_cross": False, "sixth_convolution": True, "removed": ("conv3",)}, ("fc8",)),
    ],
)
def test_columns_meet_where_the_options_say_and_nowhere_else(options, crossings):
    net = small(init="he", image_size=100, nonlinearity="tanh", **options).eval()
    images = pictures(2, 100)
    before = outputs_by_layer(net, images)
    with torch.no_grad():
        net.conv1.weight.chunk(2)[1].mul_(2)  # another column 1, the same column 0
    after = outputs_by_layer(net, images)

    layers = [n for n in (*LAYERS[1:5], "conv6", *LAYERS[5:]) if n in before]
    reached = [
        n for n in layers if not torch.equal(before[n].chunk(2, 1)[0], after[n].chunk(2, 1)[0])
    ]
    assert net.crossings == crossings
    assert reached == layers[layers.index(crossings[0]) :]


def test_without_crossings_fc7_of_a_column_has_no_gradient_of_the_other():
    net = small(init="he", columns_cross=False)
    fc7 = []
    net.fc7.register_forward_hook(lambda _, __, y: fc7.append(y))
    net(pictures(2, 64))
    fc7[0].chunk(2, 1)[0].sum().backward()
    for name, parameter in net.named_parameters():
        if not name.startswith("fc8"):
            mine, other = parameter.grad.chunk(2)
            assert mine.count_nonzero(), name
            assert not other.count_nonzero(), name


def test_a_column_reaches_the_other_only_through_the_crossings():
    net = small(image_size=224, init="he")
    images = pictures(2, 224)
    before = outputs_by_layer(net.eval(), images)
    with torch.no_grad():
        net.conv1.weight.chunk(2)[1].mul_(2)  # another column 1, the same column 0
    after = outputs_by_layer(net, images)

    def is_column_0_unmoved(layer):
        return torch.equal(before[layer].chunk(2, 1)[0], after[layer].chunk(2, 1)[0])

    assert is_column_0_unmoved("conv2")
    assert net.crossings[0] == "conv3"
    assert not is_column_0_unmoved("conv3")


def test_the_layers_that_are_not_crossings_see_their_own_column_only():
    net = on_paper(columns=2)
    grouped = {name for name, layer in net.named_children() if getattr(layer, "groups", 1) == 2}
    assert grouped == set(LAYERS) - set(net.crossings) - {"conv1"}  # conv1 sees the image


def test_both_norms_can_divide_alpha_by_size_as_the_program_of_2012_did():
    outputs = outputs_by_layer(small(lrn_alpha_is_divided_by_size=True).eval(), pictures(2, 64))
    for conv, norm in (("conv1", "norm1"), ("conv2", "norm2")):
        columns = outputs[conv].relu().chunk(2, 1)
        expected = [F.local_response_norm(column, 5, 1e-4, k=2.0) for column in columns]
        torch.testing.assert_close(outputs[norm], torch.cat(expected, 1))


def test_both_norms_have_the_constants_that_were_given():
    net = small(lrn_size=7, lrn_alpha=1e-3, lrn_beta=0.5, lrn_k=1.0)
    by_hand = LocalResponseNorm(7, 1e-3, 0.5, 1.0, columns=2)
    assert repr(net.norm1) == repr(net.norm2) == repr(by_hand)


@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize(("nonlinearity", "normalization", "pooling"), COMBINATIONS)
def test_every_combination_of_factors_gives_gradients_to_every_parameter_of_both_columns(
    nonlinearity, normalization, pooling, columns
):
    net = small(
        nonlinearity=nonlinearity,
        normalization=normalization,
        pooling=pooling,
        columns=columns,
        init="he",
    )
    logits = net(pictures(4, 64))
    F.cross_entropy(logits, torch.arange(4)).backward()
    assert logits.isfinite().all()
    for name, parameter in net.named_parameters():
        for column in parameter.grad.chunk(columns):
            assert column.isfinite().all(), name
            assert column.count_nonzero(), name


# Initial weights (section 5)


@pytest.mark.parametrize("init", ["paper", "source_2012", "he"])
def test_equal_seeds_give_equal_initial_weights_in_all_arms(init):
    reference = small(init=init).state_dict()
    for nonlinearity, normalization, pooling in COMBINATIONS:
        arm = small(
            init=init, nonlinearity=nonlinearity, normalization=normalization, pooling=pooling
        )
        for name, value in arm.state_dict().items():
            assert torch.equal(value, reference[name]), name


def test_networks_of_other_columns_and_widths_share_the_layers_of_equal_shape():
    reference = small().state_dict()
    for other in (
        small(columns=1),
        small(channels=(12, 16, 20, 40, 16)),
        small(num_classes=9),
        small(norm1_before_nonlinearity=True, same_map_norm=True, dropout_is_inverted=True),
    ):
        parameters = other.state_dict()
        equal = {
            name
            for name, value in parameters.items()
            if value.shape == reference[name].shape and torch.equal(value, reference[name])
        }
        same_shape = {n for n, value in parameters.items() if value.shape == reference[n].shape}
        assert equal == same_shape
        assert {"conv1.weight", "conv3.weight", "fc7.weight"} <= equal


@pytest.mark.parametrize(
    "options",
    [{"sixth_convolution": True}, {"removed": ("conv4",)}, {"columns_cross": False}],
)
@pytest.mark.parametrize("init", ["paper", "source_2012", "he"])
def test_networks_of_other_layers_share_those_of_equal_shape(options, init):
    reference, other = (small(init=init, **each).state_dict() for each in ({}, options))
    shared = {n for n in other if n in reference and other[n].shape == reference[n].shape}
    assert {"conv1.weight", "conv2.weight", "conv5.weight", "fc8.weight"} <= shared
    assert all(torch.equal(other[name], reference[name]) for name in shared)


@pytest.mark.parametrize(
    ("init", "std", "bias"),
    [("paper", 0.01, 1), ("source_2012", 0.03, 1), ("he", (2 / (128 * 9)) ** 0.5, 0)],
)
def test_the_sixth_convolution_starts_as_conv5_does(init, std, bias):
    channels = (12, 16, 20, 20, 128)
    net = small(init=init, channels=channels, sixth_convolution=True)
    assert net.conv6.weight.std().item() == pytest.approx(std, rel=0.02)
    assert torch.equal(net.conv6.bias, torch.full((128,), float(bias)))


def test_he_weights_of_a_column_alone_are_scaled_by_what_it_sees():
    net = small(init="he", columns_cross=False, hidden=(512, 512))
    assert net.fc7.weight.shape == (512, 256)
    assert net.fc7.weight.std().item() == pytest.approx((2 / 256) ** 0.5, rel=0.02)


def test_building_uses_up_equally_many_random_numbers_whatever_the_network():
    def next_number(**settings):
        small(**settings)
        return torch.rand(())

    assert torch.equal(next_number(), next_number(columns=1, hidden=(48, 48), init="he"))


def test_other_seeds_and_other_layers_have_other_weights():
    net = small(channels=(12, 16, 20, 20, 20), columns=1)
    assert not torch.equal(net.conv4.weight, net.conv5.weight)
    assert not torch.equal(net.conv4.weight, small(seed=1, columns=1).conv4.weight)


def test_a_second_network_of_the_same_seed_has_other_weights():
    torch.manual_seed(0)
    first, second = (AlexNet(7, channels=(2,) * 5, hidden=(2, 2), image_size=64) for _ in range(2))
    assert not torch.equal(first.conv1.weight, second.conv1.weight)


def test_initial_weights_are_those_of_section_5(full_size):
    for name in LAYERS:
        layer = full_size.get_submodule(name)
        # the smallest layer has 34,848 weights, whose sample std is within 0.4 % of the true one
        assert layer.weight.std().item() == pytest.approx(0.01, rel=0.02), name
        assert abs(layer.weight.mean().item()) < 3e-4, name
        bias = 1.0 if name in {"conv2", "conv4", "conv5", "fc6", "fc7"} else 0.0
        assert torch.equal(layer.bias, torch.full_like(layer.bias, bias)), name


def test_the_program_of_2012_had_three_times_larger_weights_in_conv3_to_conv5():
    paper, source = small(), small(init="source_2012")
    for name, value in source.state_dict().items():
        factor = 3 if name in {"conv3.weight", "conv4.weight", "conv5.weight"} else 1
        torch.testing.assert_close(value, factor * paper.state_dict()[name])


def test_he_weights_are_scaled_by_fan_in_and_pixels_to_about_one():
    net = small(init="he", channels=(96, 128, 128, 128, 64), hidden=(512, 512), num_classes=100)
    fan_in = {"conv2": 48 * 25, "conv3": 128 * 9, "conv4": 64 * 9, "conv5": 64 * 9, "fc7": 512}
    for name, count in {"conv1": 3 * 121, **fan_in}.items():
        std = net.get_submodule(name).weight.std().item()
        assert std == pytest.approx((2 / count) ** 0.5, rel=0.02), name
    assert net.fc8.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert not any(net.get_submodule(name).bias.any() for name in LAYERS)

    images = pictures(2, 64)
    maps = outputs_by_layer(net, images)["conv1"]
    scaled = F.pad(images / 64, (0, 3, 0, 3))
    torch.testing.assert_close(maps, F.conv2d(scaled, net.conv1.weight, stride=4))


# Dropout (section 4.2)


def test_dropout_acts_on_the_outputs_of_fc6_and_fc7_while_training_only():
    net = small(nonlinearity="sigmoid")  # no activity is zero by itself
    seen = {}
    for layer in ("fc7", "fc8"):
        net.get_submodule(layer).register_forward_pre_hook(
            lambda _, inputs, layer=layer: seen.update({layer: inputs[0]})
        )
    images = pictures(8, 64)
    net.train()(images)
    assert all(0.3 < (x == 0).double().mean() < 0.7 for x in seen.values())
    net.eval()(images)
    assert all((x != 0).all() for x in seen.values())
    assert torch.equal(net(images), net(images))


@torch.no_grad()
def test_inverted_dropout_is_the_same_network_with_half_the_weights_behind_it():
    printed = small(init="he").eval()
    inverted = small(init="he", dropout_is_inverted=True).eval()
    for layer in ("fc7", "fc8"):
        inverted.get_submodule(layer).weight.mul_(0.5)
    torch.testing.assert_close(inverted(pictures(2, 64)), printed(pictures(2, 64)))


# What is refused


@pytest.mark.parametrize("factor", ["nonlinearity", "normalization", "pooling", "init"])
def test_an_unknown_level_of_a_factor_is_refused(factor):
    with pytest.raises(ValueError, match=f"unknown {factor} 'other': choose one of"):
        on_paper(**{factor: "other"})


@pytest.mark.parametrize(
    "wrong",
    [{"columns": 5}, {"columns": 0}, {"hidden": (4096, 4095)}, {"channels": (96, 256, 383, 4, 2)}],
)
def test_columns_that_do_not_divide_every_layer_are_refused(wrong):
    with pytest.raises(ValueError, match=r"columns=\d must divide every layer"):
        on_paper(**wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"channels": (96, 256)}, "conv1 to conv5"),
        ({"hidden": (4096,)}, "fc6 and fc7"),
        ({"columns": 1, "columns_cross": False}, "columns is 1"),
        ({"removed": ("conv3", "conv2")}, "cannot remove conv2: choose from conv3, conv4, conv5"),
        ({"lrn_size": 4}, "size is 4"),
        ({"lrn_k": 0.0}, "k is 0.0"),
    ],
)
def test_a_network_that_cannot_be_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        on_paper(**wrong)


@pytest.mark.parametrize("dropout", [-0.5, 1.0])
def test_dropout_outside_0_to_1_is_refused(dropout):
    with pytest.raises(ValueError, match=r"in \[0, 1\)"):
        on_paper(dropout=dropout)


@pytest.mark.parametrize(("pooling", "smallest"), [("overlapping", 36), ("non_overlapping", 56)])
def test_images_too_small_for_the_layers_are_refused(pooling, smallest):
    net = on_paper(pooling=pooling, image_size=smallest)
    assert net(torch.empty(1, 3, smallest, smallest, device="meta")).shape == (1, 1000)
    for size in range(smallest):
        with pytest.raises(ValueError, match=rf"image_size={size}\b.*enlarge"):
            on_paper(pooling=pooling, image_size=size)


# Features


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"columns": 1, "normalization": "none"},
        {"normalization": "batch"},
        {"norm1_before_nonlinearity": True, "same_map_norm": True, "columns_cross": False},
        {"removed": ("conv4",), "sixth_convolution": True},
    ],
)
@pytest.mark.filterwarnings("ignore:The nodes obtained by tracing")  # dropout differs in training
def test_torchvision_extracts_the_output_of_every_layer(settings):
    net = small(**settings).eval()
    images = pictures(2, 64)
    expected = outputs_by_layer(net, images)

    found = create_feature_extractor(net, list(expected))(images)

    for layer, output in expected.items():
        assert torch.equal(found[layer], output)


def test_an_extractor_that_trains_draws_a_new_mask_in_every_pass():
    extractor = create_feature_extractor(small(), ["dropout6"]).train()

    first, second = (extractor(pictures(2, 64))["dropout6"] for _ in range(2))

    assert not torch.equal(first, second)
