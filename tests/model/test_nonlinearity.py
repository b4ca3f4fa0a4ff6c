import math

import pytest
import torch
import torch.nn.functional as F

from alexnet.model.nonlinearity import make_nonlinearity

PRINTED = {
    "relu": lambda x: max(0.0, x),
    "tanh": math.tanh,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
}
LATER = {
    "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
    "silu": lambda x: x / (1 + math.exp(-x)),
    "leaky_relu": lambda x: max(0.01 * x, x),
}


@pytest.mark.parametrize("name", PRINTED | LATER)
def test_nonlinearities_are_the_functions_that_their_names_say(name):
    x = torch.linspace(-5, 5, 101, dtype=torch.float64)
    by_hand = (PRINTED | LATER)[name]
    expected = torch.tensor([by_hand(value) for value in x.tolist()], dtype=torch.float64)
    torch.testing.assert_close(make_nonlinearity(name, channels=1)(x), expected)


@pytest.mark.parametrize("name", ["gelu", "silu"])
def test_for_gelu_and_silu_the_maximum_before_the_nonlinearity_is_another_function(name):
    f = make_nonlinearity(name, channels=1)
    x = torch.tensor([[[-3.0, -0.5]]])  # the smaller one has the larger output
    assert not torch.equal(F.max_pool1d(f(x), 2), f(F.max_pool1d(x, 2)))


def test_an_unknown_nonlinearity_is_refused_with_the_names_that_exist():
    with pytest.raises(ValueError, match=r"unknown nonlinearity 'swish': .* relu, tanh, sigmoid"):
        make_nonlinearity("swish", channels=1)
