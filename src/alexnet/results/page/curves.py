"""The curves of a sweep, encoded compactly enough to be part of a page."""

import base64
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from alexnet.results import wording
from alexnet.results.compare import Comparison
from alexnet.results.names import printed_arm
from alexnet.results.runs import Sweep

_STEPS = 65534  # a value is stored as one of these steps; 65535 stands for no value
_POINTS = 30_000
"""Maximum number of points in a page; each takes 2.7 bytes."""


def curves_of(sweep: Sweep, comparison: Comparison) -> dict[str, Any]:
    """Return the data of the page's charts: arms, runs, and each metric's values by run.

    Values are 16-bit steps between the metric's least and largest, or between their logarithms
    where all are positive: 0.03 % of a value that ranges over nine decades. Curves with too many
    points keep some of them, the first and the last included.
    """
    arms = comparison.searched or comparison.arms
    runs: list[dict[str, Any]] = [
        {"name": each.run, "arm": index, "seed": each.seed, "done": each.value is not None}
        for index, arm in enumerate(arms)
        for each in arm.outcomes
    ]
    keys = _metrics(sweep)
    most = max(40, _POINTS // max(1, len(keys) * len(runs)))
    grids: dict[tuple[float, ...], int] = {}
    metrics = []
    for key in keys:
        found = []
        for index, run in enumerate(runs):
            curve = sweep.curve(run["name"], key)
            epochs, values = (
                _thinned(curve[name].to_numpy(float), most) for name in ("epoch", key)
            )
            if len(epochs):
                grid = tuple(float(f"{epoch:.6g}") for epoch in epochs)
                found.append((index, grids.setdefault(grid, len(grids)), values))
        metrics.append(_metric(key, found, sweep))
    shown = [metric for metric in metrics if metric["series"]]
    measure = sweep.experiment.measure
    return {
        "arms": [{"label": printed_arm(arm), "n": arm.n} for arm in arms],
        "runs": runs,
        "grids": [list(grid) for grid in grids],
        "metrics": shown,
        "first": sweep.curve_metric,
        "threshold": measure.threshold,
    }


def _metrics(sweep: Sweep) -> list[str]:
    """Return the metrics that were recorded as curves."""
    columns = dict.fromkeys([*sweep.metrics.columns, *sweep.progress.columns])
    found = [
        str(key)
        for key in columns
        if "/" in str(key) or key == "lr"
        if any(
            key in table and table[key].notna().any() for table in (sweep.metrics, sweep.progress)
        )
    ]
    return [key for key in found if key not in sweep.arms[next(iter(sweep.arms))]]


def _thinned(values: np.ndarray, most: int) -> np.ndarray:
    if len(values) <= most:
        return values
    return values[np.unique(np.linspace(0, len(values) - 1, most).round().astype(int))]


def _metric(key: str, found: Sequence[tuple[int, int, np.ndarray]], sweep: Sweep) -> dict[str, Any]:
    described = wording.metric_named(key, sweep.experiment.measure)
    values = np.concatenate([each for *_, each in found]) if found else np.empty(0)
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    is_log = low > 0
    if is_log:
        low, high = math.log(low), math.log(high)
    span = high - low or 1.0

    def packed(numbers: np.ndarray) -> str:
        with np.errstate(invalid="ignore", divide="ignore"):
            scaled = ((np.log(numbers) if is_log else numbers) - low) / span * _STEPS
        steps = np.where(np.isfinite(scaled), scaled, _STEPS + 1).round().astype("<u2")
        return base64.b64encode(steps.tobytes()).decode()

    return {
        "key": key,
        "printed": "learning rate" if key == "lr" else described.printed,
        "percent": described.is_fraction,
        "log": is_log,
        "low": low,
        "span": span / _STEPS,
        "series": [[run, grid, packed(numbers)] for run, grid, numbers in found],
    }
