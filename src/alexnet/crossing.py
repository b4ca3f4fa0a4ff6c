"""The epoch at which a noisy curve reaches a threshold: runs stop by it, and reports measure it.

A monotone curve is fitted (isotonic regression, by pooling adjacent violators). The fit has no
window, so it blurs neither flat curves nor those that fall within an epoch. The crossing is where
the fit, linear between rows, meets the threshold. It counts once the rows of a whole epoch after it
are known and the fit of all rows up to there still crosses; later rows change nothing.
docs/statistics.md compares this with other methods on simulated curves.

If a curve ends less than an epoch after its crossing, the fit of all its rows decides. This is the
case for runs of version 0.1, which ended at the first row at or below the threshold.
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import Literal

METHOD = (
    "time to an error: crossing of the isotonic fit of the curve, linear between rows, once the "
    "fit has stayed across for one epoch"
)

CONFIRMED_AFTER = 1.0
"""Epochs between a crossing and the row that confirms it."""

Block = tuple[float, int, float, float]
"""Rows with the same fitted value: their mean, their number, the first and the last epoch."""

Fit = tuple[Block, ...]


def add_row(fit: Fit, epoch: float, error: float) -> Fit:
    """Add a row to a decreasing fit, and return the new fit; () is the fit of no rows."""
    blocks, mean, rows, first = list(fit), error, 1, epoch
    while blocks and blocks[-1][0] <= mean:
        before, its_rows, first, _ = blocks.pop()
        mean = (mean * rows + before * its_rows) / (rows + its_rows)
        rows += its_rows
    return (*blocks, (mean, rows, first, epoch))


def crossing(fit: Fit, threshold: float) -> float | None:
    """Return the epoch at which the fit falls to the threshold; None if it stays above.

    If the fit starts at or below the threshold, this is the epoch of the first row: there is no
    extrapolation.
    """
    if not fit or fit[-1][0] > threshold:
        return None
    for (above, _, _, last), (below, _, first, _) in pairwise(fit):
        if above > threshold >= below:
            return last + (above - threshold) / (above - below) * (first - last)
    return fit[0][2]


def is_confirmed(fit: Fit, threshold: float) -> bool:
    """Whether the fit crossed the threshold at least one epoch before its last row."""
    at = crossing(fit, threshold)
    # Epochs in files are rounded to seven digits.
    return at is not None and fit[-1][3] - at >= CONFIRMED_AFTER - 1e-4


def epochs_to_error(
    epochs: Iterable[float],
    errors: Iterable[float],
    *,
    threshold: float,
    better: Literal["lower", "higher"] = "lower",
    are_means: bool = False,
) -> tuple[float, bool]:
    """Return the epoch at which a curve falls to the threshold, and whether it is censored.

    With better="higher" the curve has to rise to it. With `are_means`, a row is the mean over the
    images since the row before, as for a training error, and is placed halfway between the two.

    If there is no crossing, returns the epoch of the last row and True: the run had not reached the
    threshold by then. Raises ValueError if there are no rows.
    """
    sign = -1.0 if better == "higher" else 1.0
    fit: Fit = ()
    end = 0.0
    for epoch, error in zip(epochs, errors, strict=True):
        fit = add_row(fit, (end + epoch) / 2 if are_means else epoch, sign * error)
        end = epoch
        if is_confirmed(fit, sign * threshold):
            break
    if not fit:
        raise ValueError("no rows to find a crossing in")
    at = crossing(fit, sign * threshold)
    return (end, True) if at is None else (at, False)
