import itertools

import pytest
import torch
from torch import nn

from alexnet.model import Dropout, seed_dropout


def test_training_zeroes_with_probability_p_and_leaves_the_rest_as_it_is():
    torch.manual_seed(0)
    x = torch.rand(100_000) + 1
    y = Dropout(0.3).train()(x)
    is_dropped = y == 0
    assert torch.equal(y[~is_dropped], x[~is_dropped])
    assert is_dropped.double().mean().item() == pytest.approx(0.3, abs=0.01)


def test_evaluation_multiplies_by_the_probability_of_survival():
    x = torch.randn(1000)
    assert torch.equal(Dropout(0.5).eval()(x), x * 0.5)
    assert torch.equal(Dropout(0.25).eval()(x), x * 0.75)


def test_without_dropout_activities_pass_through():
    x = torch.randn(1000)
    assert torch.equal(Dropout(0.0).train()(x), x)
    assert torch.equal(Dropout(0.0).eval()(x), x)


@pytest.mark.parametrize("p", [0.0, 0.25, 0.5])
def test_inverted_it_divides_while_training_and_does_nothing_afterwards(p):
    printed, inverted = Dropout(p), Dropout(p, is_inverted=True)
    printed.key = inverted.key = 7
    x = torch.randn(1000)
    torch.testing.assert_close(inverted.train()(x), printed.train()(x) / (1 - p))
    assert torch.equal(inverted.eval()(x), x)


def test_dropped_activities_get_no_gradient():
    x = torch.ones(1000, requires_grad=True)
    y = Dropout(0.5).train()(x)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())


def test_arms_with_and_without_dropout_use_up_equally_many_random_numbers():
    def next_number(p):
        torch.manual_seed(0)
        Dropout(p).train()(torch.ones(4, 33))
        return torch.rand(())

    assert torch.equal(next_number(0.0), next_number(0.5))


@pytest.mark.parametrize("p", [-0.1, 1.0, 50])
def test_a_dropout_that_is_no_probability_below_one_is_refused(p):
    with pytest.raises(ValueError, match=rf"in \[0, 1\), but is {p}"):
        Dropout(p)


def splitmix64(start: int, number: int) -> int:
    """Element `number` of the stream, in Python's unbounded integers."""
    x = (start + number * 0x9E3779B97F4A7C15) % 2**64
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
    return x ^ (x >> 31)


@pytest.mark.parametrize("p", [0.5, 0.3])
def test_a_mask_is_a_function_of_its_key_the_row_and_the_unit(p):
    layer = Dropout(p).train()
    layer.key, layer.first_row, layer.column = -123456789, 5, 1

    survivors = layer(torch.ones(3, 4))

    for row, unit in itertools.product(range(3), range(4)):
        drawn = splitmix64(-123456789, (5 + row) * 2**32 + 4 + unit) / 2**64
        assert survivors[row, unit] == (drawn >= p)


def mask(net, *, seed=0, step=0, layer="a"):
    seed_dropout(net, seed=seed, step=step)
    return net.get_submodule(layer)(torch.ones(8, 64)) != 0


def test_a_mask_is_another_for_another_seed_step_or_layer_and_else_the_same():
    net = nn.ModuleDict({"a": Dropout(), "b": Dropout()}).train()
    first = mask(net)

    assert torch.equal(mask(net), first)
    for changed in ({"seed": 1}, {"step": 1}, {"layer": "b"}):
        agreement = (mask(net, **changed) == first).double().mean()
        assert 0.4 < agreement < 0.6


def test_columns_and_replicas_drop_what_one_process_drops():
    layer = Dropout().train()
    layer.key = 7
    whole = layer(torch.ones(6, 10))

    layer.first_row, layer.column = 4, 1

    assert torch.equal(layer(torch.ones(2, 5)), whole[4:, 5:])
