"""Parts that the two networks for CIFAR-10 share."""

from collections.abc import Mapping
from functools import partial

from torch import nn

from alexnet.model.initialization import InitialWeights
from alexnet.model.levels import make
from alexnet.model.local_response_norm import LocalResponseNorm
from alexnet.model.nonlinearity import make_nonlinearity
from alexnet.vocabulary import Nonlinearity, Normalization

# The constants of layers-conv-local-11pct, March 2012.
_LRN = partial(LocalResponseNorm, size=5, alpha=1e-3, k=1.0, alpha_is_divided_by_size=True)


def make_norm(normalization: Normalization, *, channels: int) -> nn.Module:
    """Make a normalization layer (section 3.3), with the constants of the 11 % net for LRN."""
    return make("normalization", normalization, own={"lrn": _LRN}, channels=channels)


def make_nonlinearities(name: Nonlinearity, **channels: int) -> nn.ModuleDict:
    """Make the nonlinearity of each layer (section 3.1), given its number of maps.

    Each layer has its own module, because it may have parameters.
    """
    return nn.ModuleDict(
        {layer: make_nonlinearity(name, channels=maps) for layer, maps in channels.items()}
    )


def initial_weights(std_2012: Mapping[str, float]) -> dict[str, InitialWeights]:
    """Return the choices of `init`: as in the program's file, or by fan-in; all biases are 0."""
    return {
        "source_2012": InitialWeights(std=std_2012),
        "he": InitialWeights.he(*std_2012),
    }
