"""Arguments key=value of the commands that do not use Hydra."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from alexnet.config.suggest import did_you_mean


class WrongCommand(ValueError):
    """The command line is wrong; the message says how to correct it."""


def values_of(
    arguments: Sequence[str], readers: Mapping[str, Callable[[str], Any]], *, refusal: str
) -> dict[str, Any]:
    """Parse key=value arguments, and convert each value with the reader of its key.

    A reader raises ValueError for a wrong value. Raises WrongCommand for arguments that are not
    key=value, for unknown keys, and for wrong values: then the message is `refusal` with {key},
    {value} and {error} filled in.
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
