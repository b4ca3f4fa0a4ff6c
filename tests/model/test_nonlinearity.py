import math

import pytest
import torch

from alexnet.model.nonlinearity import make_nonlinearity

PRINTED = {
    "relu": lambda x: max(0.0, x),
    "tanh": math.tanh,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
}


@pytest.mark.parametrize("name", PRINTED)
def test_nonlinearities_are_the_functions_of_section_3_1(name):
    x = torch.linspace(-5, 5, 101, dtype=torch.float64)
    expected = torch.tensor([PRINTED[name](value) for value in x.tolist()], dtype=torch.float64)
    torch.testing.assert_close(make_nonlinearity(name)(x), expected)


def test_an_unknown_nonlinearity_is_refused_with_the_names_there_are():
    with pytest.raises(ValueError, match=r"unknown nonlinearity 'swish': .* relu, tanh, sigmoid"):
        make_nonlinearity("swish")
