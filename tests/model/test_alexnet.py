import itertools

import pytest
import torch
import torch.nn.functional as F

from alexnet.model import AlexNet

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
    """A network with shapes but no numbers."""
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
    """Like mean-subtracted pixels."""
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
    ],
)
def test_either_pooling_leaves_maps_of_6_x_6(pooling, sizes):
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
    for other in (small(columns=1), small(channels=(12, 16, 20, 40, 16)), small(num_classes=9)):
        parameters = other.state_dict()
        equal = {
            name
            for name, value in parameters.items()
            if value.shape == reference[name].shape and torch.equal(value, reference[name])
        }
        same_shape = {n for n, value in parameters.items() if value.shape == reference[n].shape}
        assert equal == same_shape
        assert {"conv1.weight", "conv3.weight", "fc7.weight"} <= equal


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


def test_channels_are_those_of_five_layers():
    with pytest.raises(ValueError, match="conv1 to conv5"):
        on_paper(channels=(96, 256))


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
