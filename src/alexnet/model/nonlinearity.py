from torch import nn

from alexnet.model.levels import choose
from alexnet.vocabulary import Nonlinearity

_MODULES: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}


def make_nonlinearity(name: Nonlinearity) -> nn.Module:
    """A neuron's output as a function of its input (section 3.1).

        relu      f(x) = max(0, x)          does not saturate for positive x
        tanh      f(x) = tanh(x)            saturates on both sides
        sigmoid   f(x) = 1 / (1 + exp(-x))  saturates on both sides

    Raises ValueError for any other name.
    """
    return choose("nonlinearity", name, _MODULES)()
