import itertools

import pytest
import torch
import torch.nn.functional as F

from alexnet.model import CifarLocalNet
from tests.model.test_locally_connected import slowly

NONLINEARITIES = ("relu", "tanh", "sigmoid")
NORMALIZATIONS = ("lrn", "none")
POOLINGS = ("overlapping", "non_overlapping")
COMBINATIONS = list(itertools.product(NONLINEARITIES, NORMALIZATIONS, POOLINGS))
STD_2012 = {"conv1": 1e-4, "conv2": 0.01, "local3": 0.04, "local4": 0.04, "fc5": 0.01}


def local_net(seed=0, **settings):
    torch.manual_seed(seed)
    return CifarLocalNet(**settings)


def pictures(count, size=24):
    """Random images with the range of mean-subtracted pixels."""
    return 64 * torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("pooling", POOLINGS)
def test_it_has_the_parameters_of_layers_conv_local_13pct(normalization, pooling):
    net = local_net(normalization=normalization, pooling=pooling)
    counts = {
        name: sum(parameter.numel() for parameter in layer.parameters())
        for name, layer in net.named_children()
        if list(layer.parameters())
    }
    assert counts == {
        "conv1": 64 * (3 * 25 + 1),
        "conv2": 64 * (64 * 25 + 1),
        "local3": 36 * 32 * (64 * 9 + 1),
        "local4": 36 * 32 * (32 * 9 + 1),
        "fc5": 10 * (36 * 32 + 1),
    }
    assert sum(counts.values()) == 1_116_490


@torch.no_grad()
@pytest.mark.parametrize(("nonlinearity", "normalization", "pooling"), COMBINATIONS)
def test_it_is_the_net_of_13_percent_or_with_norms_of_11(nonlinearity, normalization, pooling):
    net = local_net(
        nonlinearity=nonlinearity, normalization=normalization, pooling=pooling, init="he"
    ).double()
    f = getattr(torch, nonlinearity)
    window = {"overlapping": 3, "non_overlapping": 2}[pooling]

    def norm(x):
        return F.local_response_norm(x, 5, 1e-3, k=1.0) if normalization == "lrn" else x

    def pool(x):
        return F.max_pool2d(x, window, 2, ceil_mode=True)

    images = pictures(2).double()
    x = pool(norm(f(F.conv2d(images / 64, net.conv1.weight, net.conv1.bias, padding=2))))
    x = pool(norm(f(F.conv2d(x, net.conv2.weight, net.conv2.bias, padding=2))))
    x = f(slowly(net.local4, f(slowly(net.local3, x))))
    by_hand = F.linear(x.flatten(1), net.fc5.weight, net.fc5.bias)
    torch.testing.assert_close(net(images), by_hand)


@pytest.mark.parametrize(("nonlinearity", "normalization", "pooling"), COMBINATIONS)
@pytest.mark.parametrize("init", ["source_2012", "he"])
def test_every_combination_of_factors_gives_gradients_to_every_parameter(
    nonlinearity, normalization, pooling, init
):
    net = local_net(
        nonlinearity=nonlinearity, normalization=normalization, pooling=pooling, init=init
    ).to(memory_format=torch.channels_last)
    logits = net(pictures(4))
    F.cross_entropy(logits, torch.arange(4)).backward()
    assert logits.isfinite().all()
    for name, parameter in net.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.count_nonzero(), name


@pytest.mark.parametrize("init", ["source_2012", "he"])
def test_equal_seeds_give_equal_initial_weights_in_all_arms(init):
    reference = local_net(init=init).state_dict()
    for nonlinearity, normalization, pooling in COMBINATIONS:
        arm = local_net(
            init=init, nonlinearity=nonlinearity, normalization=normalization, pooling=pooling
        )
        for name, value in arm.state_dict().items():
            assert torch.equal(value, reference[name]), name


def test_initial_weights_of_2012():
    net = local_net(init="source_2012")
    for name, std in STD_2012.items():
        # conv1 has 4,800 weights, whose sample std is within 1 % (one sigma) of the true one
        assert net.get_submodule(name).weight.std().item() == pytest.approx(std, rel=0.04), name
        assert not net.get_submodule(name).bias.any(), name


def test_he_weights_are_scaled_by_the_inputs_of_a_neuron():
    net = local_net(init="he")
    for name, fan_in in {"conv1": 75, "conv2": 1600, "local3": 576, "local4": 288}.items():
        std = net.get_submodule(name).weight.std().item()
        assert std == pytest.approx((2 / fan_in) ** 0.5, rel=0.04), name
    assert net.fc5.weight.std().item() == pytest.approx(0.01, rel=0.04)
    assert not any(net.get_submodule(name).bias.any() for name in STD_2012)


def test_dropout_acts_on_the_input_of_fc5_while_training():
    net = local_net(dropout=0.5, nonlinearity="sigmoid")
    seen = []
    net.fc5.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    net.train()(pictures(4))
    net.eval()(pictures(4))
    assert 0.4 < (seen[0] == 0).double().mean() < 0.6
    assert (seen[1] != 0).all()


@pytest.mark.parametrize(("pooling", "smallest"), [("overlapping", 4), ("non_overlapping", 1)])
def test_images_of_any_size_fit_that_the_pools_leave_something_of(pooling, smallest):
    for size in (smallest, 24, 28, 33):
        net = local_net(pooling=pooling, image_size=size)
        assert net.image_size == size
        assert net(pictures(2, size)).shape == (2, 10)
    for size in range(smallest):
        with pytest.raises(ValueError, match=f"image_size={size} .*enlarge"):
            local_net(pooling=pooling, image_size=size)


def test_the_paper_gives_no_initial_weights_for_it():
    with pytest.raises(ValueError, match=r"unknown init .* 'paper': .* source_2012, he"):
        local_net(init="paper")


@pytest.mark.parametrize("factor", ["nonlinearity", "normalization", "pooling", "init"])
def test_an_unknown_level_of_a_factor_is_refused(factor):
    with pytest.raises(ValueError, match=rf"unknown {factor}\b.* 'other': choose one of"):
        local_net(**{factor: "other"})
