"""When a curve reaches a threshold."""

from collections.abc import Iterable
from typing import Literal


def epochs_to_error(
    epochs: Iterable[float],
    errors: Iterable[float],
    *,
    threshold: float,
    better: Literal["lower", "higher"] = "lower",
) -> tuple[float, bool]:
    """When the error first is at or below the threshold, and whether that is censored.

    With `better` higher, when a value first is at or above it.

    Linear between the row before and the first row at or below. If that is the very first row,
    its own epoch: nothing is known before it, and we do not extrapolate. If there is none, the
    epoch of the last row and True: the run was watched that long and had not reached the threshold.
    Raises ValueError without any row.
    """
    before: tuple[float, float] | None = None
    if better == "higher":
        threshold, errors = -threshold, (-each for each in errors)
    for epoch, error in zip(epochs, errors, strict=True):
        if error <= threshold:
            if before is None:
                return epoch, False
            epoch_before, error_before = before
            share = (error_before - threshold) / (error_before - error)
            return epoch_before + share * (epoch - epoch_before), False
        before = (epoch, error)
    if before is None:
        raise ValueError("no rows to find a crossing in")
    return before[0], True
