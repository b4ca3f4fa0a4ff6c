"""When a noisy curve reaches a threshold: what a run stops at and what the report measures.

The curve is fitted by a monotone one (isotonic regression, by pooling adjacent violators), which
needs no width of a window and so blurs neither flat curves nor those that fall within an epoch.
The crossing is that of the fit, linear between rows. It counts once the rows of a whole epoch
after it have been seen and the fit of all rows up to there still has it; what a curve does later
changes nothing. docs/statistics.md compares this with other methods on simulated curves.

If a curve ends less than an epoch after its crossing, the fit of all its rows decides. So do runs
of versions before 0.2, which ended at the first row at or below the threshold.
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
"""Rows that the fit gives one value: their mean, how many, the first and the last one's epoch."""

Fit = tuple[Block, ...]


def add_row(fit: Fit, epoch: float, error: float) -> Fit:
    """The falling fit of the rows so far and one more; () is that of none."""
    blocks, mean, rows, first = list(fit), error, 1, epoch
    while blocks and blocks[-1][0] <= mean:
        before, its_rows, first, _ = blocks.pop()
        mean = (mean * rows + before * its_rows) / (rows + its_rows)
        rows += its_rows
    return (*blocks, (mean, rows, first, epoch))


def crossing(fit: Fit, threshold: float) -> float | None:
    """The epoch at which the fit falls to the threshold; None if it is above it everywhere.

    If it starts there, the epoch of the first row: we do not extrapolate.
    """
    if not fit or fit[-1][0] > threshold:
        return None
    for (above, _, _, last), (below, _, first, _) in pairwise(fit):
        if above > threshold >= below:
            return last + (above - threshold) / (above - below) * (first - last)
    return fit[0][2]


def is_confirmed(fit: Fit, threshold: float) -> bool:
    """Whether the fit has crossed an epoch ago."""
    at = crossing(fit, threshold)
    # Epochs in files have seven digits.
    return at is not None and fit[-1][3] - at >= CONFIRMED_AFTER - 1e-4


def epochs_to_error(
    epochs: Iterable[float],
    errors: Iterable[float],
    *,
    threshold: float,
    better: Literal["lower", "higher"] = "lower",
    are_means: bool = False,
) -> tuple[float, bool]:
    """When a curve has fallen to the threshold, and whether that is censored.

    With `better` higher, when it has risen to it. `are_means`: a row is the mean over what was seen
    since the row before, as a training error is; it then stands in the middle between both.

    If there is no crossing, the epoch of the last row and True: the run was watched that long and
    had not reached the threshold. Raises ValueError without any row.
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
