"""Arguments of commands that Hydra does not read: key=value."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from alexnet.config.suggest import did_you_mean


class WrongCommand(ValueError):
    """What was typed cannot be done."""


def values_of(
    arguments: Sequence[str], readers: Mapping[str, Callable[[str], Any]], *, refusal: str
) -> dict[str, Any]:
    """What was given, by key, each read by its reader, which raises ValueError for a wrong value.

    Raises WrongCommand; of a wrong value with `refusal`, in which {key}, {value} and {error} stand.
    """
    given: dict[str, Any] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals:
            raise WrongCommand(f"{argument} is not key=value: {did_you_mean(key, readers)}")
        if key not in readers:
            raise WrongCommand(f"unknown key {key}: {did_you_mean(key, readers)}")
        try:
            given[key] = readers[key](value)
        except ValueError as error:
            text = refusal.format(key=key, value=value, error=error)
            raise WrongCommand(text) from error
    return given
