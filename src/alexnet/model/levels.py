"""Modules for the levels of factors, such as nonlinearity=relu."""

import inspect
import pkgutil
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from torch import nn

from alexnet.vocabulary import LEVELS, Factory

T = TypeVar("T")

_NONE: Mapping[str, Factory] = MappingProxyType({})


def choose(factor: str, level: str, levels: Mapping[str, T]) -> T:
    """Look up a level of a factor.

    Raises ValueError that lists the levels, if it is not one of them.
    """
    if level not in levels:
        raise ValueError(f"unknown {factor} {level!r}: choose one of {', '.join(levels)}")
    return levels[level]


def make(
    factor: str,
    level: str,
    *,
    channels: int,
    columns: int = 1,
    own: Mapping[str, Factory] = _NONE,
) -> nn.Module:
    """Make a module for a level of vocabulary.LEVELS.

    The level's factory receives two arguments, if its signature names them: `channels`, the number
    of maps or neurons that the module acts on, and `columns`, the number of equal blocks of them.
    `own` contains a network's own factories, for example with its constants of local response
    normalization; they take precedence over the table.

    Raises ValueError if there is no such level, or if its factory cannot be imported, cannot be
    called with these arguments or does not return a module.
    """
    factory = choose(factor, level, {**LEVELS[factor], **own})
    what = f"{factor}={level}"
    if isinstance(factory, str):
        try:
            function: Any = pkgutil.resolve_name(factory)
        except (ImportError, AttributeError, ValueError) as error:
            raise ValueError(f"{what} needs {factory}, which is not found: {error}") from error
    else:
        function = factory
    arguments = _taken(function, {"channels": channels, "columns": columns})
    try:
        module = function(**arguments)
    except TypeError as error:
        raise ValueError(
            f"{what}: {factory} cannot be called with {', '.join(arguments) or 'no arguments'} "
            f"({error}). A factory receives channels and columns if it has arguments of these names"
        ) from error
    if not isinstance(module, nn.Module):
        raise ValueError(
            f"{what}: {factory} returns {type(module).__name__}, but must return a torch.nn.Module"
        )
    return module


def _taken(function: Any, offered: Mapping[str, int]) -> dict[str, int]:
    """Return the offered arguments that the function's signature names."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # some builtins have no signature
        return {}
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {
        name: value
        for name, value in offered.items()
        if name in parameters and parameters[name].kind in by_name
    }
