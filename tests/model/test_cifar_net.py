import itertools

import pytest
import torch
import torch.nn.functional as F

from alexnet.model import CifarNet

NONLINEARITIES = ("relu", "tanh", "sigmoid")
NORMALIZATIONS = ("lrn", "none")
POOLINGS = ("overlapping", "non_overlapping")
COMBINATIONS = list(itertools.product(NONLINEARITIES, NORMALIZATIONS, POOLINGS))
LAYERS = ("conv1", "conv2", "conv3", "fc4")


def cifar_net(seed=0, **settings):
    torch.manual_seed(seed)
    return CifarNet(**settings)


def pictures(count, size=32):
    """Random images with the range of mean-subtracted pixels."""
    return 64 * torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def test_it_has_the_parameters_of_layers_19pct_whatever_the_pooling():
    for pooling in POOLINGS:
        shapes = {n: tuple(p.shape) for n, p in cifar_net(pooling=pooling).state_dict().items()}
        assert shapes == {
            "conv1.weight": (32, 3, 5, 5),
            "conv1.bias": (32,),
            "conv2.weight": (32, 32, 5, 5),
            "conv2.bias": (32,),
            "conv3.weight": (64, 32, 5, 5),
            "conv3.bias": (64,),
            "fc4.weight": (10, 1024),
            "fc4.bias": (10,),
        }
    assert sum(parameter.numel() for parameter in cifar_net().parameters()) == 89_578


@torch.no_grad()
@pytest.mark.parametrize(("nonlinearity", "normalization", "pooling"), COMBINATIONS)
def test_it_is_layers_19pct_with_the_norms_of_the_11_percent_net(
    nonlinearity, normalization, pooling
):
    net = cifar_net(
        nonlinearity=nonlinearity, normalization=normalization, pooling=pooling, init="he"
    ).double()
    p = net.state_dict()
    f = getattr(torch, nonlinearity)
    window = {"overlapping": 3, "non_overlapping": 2}[pooling]

    def conv(layer, x):
        return F.conv2d(x, p[f"{layer}.weight"], p[f"{layer}.bias"], padding=2)

    def norm(x):
        return F.local_response_norm(x, 5, 1e-3, k=1.0) if normalization == "lrn" else x

    def average(x):
        # Sums over the pixels inside the image, divided by their number.
        ones = x.new_ones(x.shape[1], 1, window, window)
        inside = F.pad(torch.ones_like(x), (0, 1, 0, 1))
        total = F.conv2d(F.pad(x, (0, 1, 0, 1)), ones, stride=2, groups=x.shape[1])
        count = F.conv2d(inside, ones, stride=2, groups=x.shape[1])
        return total / count

    images = pictures(2).double()
    x = F.max_pool2d(norm(f(conv("conv1", images / 64))), window, 2, ceil_mode=True)
    x = average(norm(f(conv("conv2", x))))
    x = average(f(conv("conv3", x)))
    by_hand = F.linear(x.flatten(1), p["fc4.weight"], p["fc4.bias"])
    torch.testing.assert_close(net(images), by_hand)


@pytest.mark.parametrize("nonlinearity", NONLINEARITIES)
def test_the_maximum_before_the_nonlinearity_is_the_same_function(nonlinearity):
    net = cifar_net(nonlinearity=nonlinearity, normalization="none", init="he")
    maps = net.conv1(pictures(2))
    neurons = net.nonlinearity["conv1"]
    torch.testing.assert_close(net.pool1(neurons(maps)), neurons(net.pool1(maps)))


@pytest.mark.parametrize(("nonlinearity", "normalization", "pooling"), COMBINATIONS)
@pytest.mark.parametrize("init", ["source_2012", "he"])
def test_every_combination_of_factors_gives_gradients_to_every_parameter(
    nonlinearity, normalization, pooling, init
):
    net = cifar_net(
        nonlinearity=nonlinearity, normalization=normalization, pooling=pooling, init=init
    )
    logits = net(pictures(4))
    F.cross_entropy(logits, torch.arange(4)).backward()
    assert logits.isfinite().all()
    for name, parameter in net.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.count_nonzero(), name


@pytest.mark.parametrize("init", ["source_2012", "he"])
def test_equal_seeds_give_equal_initial_weights_in_all_arms(init):
    reference = cifar_net(init=init).state_dict()
    for nonlinearity, normalization, pooling in COMBINATIONS:
        arm = cifar_net(
            init=init, nonlinearity=nonlinearity, normalization=normalization, pooling=pooling
        )
        for name, value in arm.state_dict().items():
            assert torch.equal(value, reference[name]), name


def test_initial_weights_of_2012():
    net = cifar_net(init="source_2012")
    for name, std in {"conv1": 1e-4, "conv2": 0.01, "conv3": 0.01, "fc4": 0.01}.items():
        # conv1 has 2,400 weights, whose sample std is within 1.4 % (one sigma) of the true one
        assert net.get_submodule(name).weight.std().item() == pytest.approx(std, rel=0.05), name
        assert not net.get_submodule(name).bias.any(), name


def test_he_weights_are_scaled_by_fan_in():
    net = cifar_net(init="he")
    for name, fan_in in {"conv1": 75, "conv2": 800, "conv3": 800}.items():
        std = net.get_submodule(name).weight.std().item()
        assert std == pytest.approx((2 / fan_in) ** 0.5, rel=0.05), name
    assert net.fc4.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert not any(net.get_submodule(name).bias.any() for name in LAYERS)


def test_dropout_acts_on_the_input_of_fc4_while_training():
    net = cifar_net(dropout=0.5, nonlinearity="sigmoid")
    seen = []
    net.fc4.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    net.train()(pictures(4))
    net.eval()(pictures(4))
    assert 0.4 < (seen[0] == 0).double().mean() < 0.6
    assert (seen[1] != 0).all()


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("image_size", [8, 24, 28, 32, 33])
def test_images_of_any_size_fit(pooling, image_size):
    net = cifar_net(pooling=pooling, image_size=image_size)
    assert net.image_size == image_size
    assert net(pictures(2, image_size)).shape == (2, 10)


def test_images_too_small_for_the_pools_are_refused():
    assert cifar_net(image_size=8)(pictures(1, 8)).shape == (1, 10)
    for size in range(8):
        with pytest.raises(ValueError, match=f"image_size={size} .*enlarge"):
            cifar_net(image_size=size)


def test_the_paper_gives_no_initial_weights_for_it():
    with pytest.raises(ValueError, match=r"unknown init .* 'paper': .* source_2012, he"):
        cifar_net(init="paper")


@pytest.mark.parametrize("factor", ["nonlinearity", "normalization", "pooling", "init"])
def test_an_unknown_level_of_a_factor_is_refused(factor):
    with pytest.raises(ValueError, match=rf"unknown {factor}\b.* 'other': choose one of"):
        cifar_net(**{factor: "other"})


@pytest.mark.parametrize("dropout", [-0.5, 1.0])
def test_dropout_outside_0_to_1_is_refused(dropout):
    with pytest.raises(ValueError, match=r"in \[0, 1\)"):
        cifar_net(dropout=dropout)
