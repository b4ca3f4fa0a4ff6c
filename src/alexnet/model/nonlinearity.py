from torch import nn

from alexnet.model.levels import make
from alexnet.vocabulary import Nonlinearity


def make_nonlinearity(name: Nonlinearity, *, channels: int, columns: int = 1) -> nn.Module:
    """Make a nonlinearity: a neuron's output f(x) as a function of its input (section 3.1).

        relu      f(x) = max(0, x)          does not saturate for positive x
        tanh      f(x) = tanh(x)            saturates on both sides
        sigmoid   f(x) = 1 / (1 + exp(-x))  saturates on both sides

    Later than the paper are gelu, silu and leaky_relu, as in torch.nn, and those that users add
    with vocabulary.add_level. `channels` is the number of maps or neurons of the layer, for
    nonlinearities with parameters.

    Raises ValueError for any other name.
    """
    return make("nonlinearity", name, channels=channels, columns=columns)
