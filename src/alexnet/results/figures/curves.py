from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from alexnet.config.experiment import Measure
from alexnet.plotting import GREY, caption
from alexnet.results import wording
from alexnet.results.compare import Comparison
from alexnet.results.effects import Arm
from alexnet.results.figures.labels import (
    colour_of,
    counts_of,
    dashes_of,
    in_percent,
    label_ends,
    last_point,
    size_around,
    stack_notes,
)
from alexnet.results.names import printed_arm
from alexnet.results.runs import Sweep

_SEED_POINTS = 3600  # in the thin lines of all runs; more would only make the file larger
_MEAN_POINTS = 100


def curves(sweep: Sweep, comparison: Comparison, title: str) -> Figure:
    """Draw error against epochs: thin lines are seeds, thick ones their mean, bands their range."""
    measure = sweep.experiment.measure
    metric = sweep.curve_metric
    shown = wording.metric_named(metric, measure)
    figure = Figure(figsize=(7.2, 4.4))
    axes = figure.subplots()
    is_time = measure.kind == "epochs_to_error"
    ends, crossings, last_epoch = [], [], 0.0
    for index, arm in enumerate(comparison.arms):
        curves = [
            (each.value is not None, curve)
            for each in arm.outcomes
            if not (curve := sweep.curve(each.run, metric)).empty
        ]
        style = {"color": colour_of(index), "linestyle": dashes_of(index)}
        end = _draw_arm(axes, curves, metric, style, len(sweep.runs))
        has_crossed = is_time and arm.mean is not None
        ends_here = has_crossed and _ends_at_threshold(sweep, arm, metric)
        if curves and not ends_here:
            number = f", {_epochs(arm, measure)}" if has_crossed else ""
            ends.append((end, f"{printed_arm(arm)}{number}", style["color"]))
        crossings.append((arm, style["color"], ends_here))
        last_epoch = max([last_epoch, *(float(curve["epoch"].iloc[-1]) for _, curve in curves)])
    axes.set_title(title)
    axes.set_xlim(0, 1.02 * last_epoch or 1)
    # Start at 0 if that takes less than half of the axis, so that close curves stay distinct.
    if axes.dataLim.y0 >= 0 and axes.dataLim.y0 < 0.45 * axes.dataLim.y1:
        axes.set_ylim(bottom=0)
    in_percent(axes.yaxis, shown.is_fraction)
    axes.xaxis.set_major_locator(MaxNLocator(integer=last_epoch > 4, steps=[1, 2, 2.5, 5, 10]))
    axes.set_xlabel("epochs")
    is_error = metric.partition("/")[2].startswith("error")
    axes.set_ylabel(f"{shown.printed} rate" if is_error else shown.printed)
    if is_time:
        assert measure.threshold is not None
        axes.axhline(measure.threshold, color=GREY, linestyle=(0, (4, 3)), linewidth=1, zorder=1)
        _mark_crossings(axes, crossings, measure)
    label_ends(axes, ends)
    caption(figure, _curve_caption(comparison, is_time))
    return figure


def _thinned(rows: Any, most: int) -> Any:
    """Keep at most this number of rows, including the first and the last."""
    if len(rows) <= most:
        return rows
    kept = np.unique(np.linspace(0, len(rows) - 1, most).round().astype(int))
    return rows.iloc[kept] if isinstance(rows, pd.DataFrame) else rows[kept]


def _draw_arm(
    axes: Axes,
    curves: list[tuple[bool, pd.DataFrame]],
    metric: str,
    style: dict[str, Any],
    runs: int,
) -> tuple[float, float]:
    """Draw an arm from the (is finished, curve) of its runs; return (epoch, value) of its end."""
    complete = [curve for is_finished, curve in curves if is_finished]
    for is_finished, whole in curves:
        curve = _thinned(whole, max(40, _SEED_POINTS // max(1, runs)))
        is_alone = is_finished and len(complete) == 1
        axes.plot(
            curve["epoch"],
            curve[metric],
            color=style["color"],
            linestyle=(style["linestyle"] if is_alone else "-") if is_finished else ":",
            linewidth=2 if is_alone else 0.7 if is_finished else 1.1,
            alpha=1 if is_alone else 0.45 if is_finished else 0.9,
            marker="o" if len(curve) == 1 else None,  # a line of one point is invisible
            markersize=5 if is_alone else 3,
        )
        if not is_finished:  # a cross where an unfinished run ends
            axes.plot(*last_point(curve, metric), marker="x", color=style["color"], clip_on=False)
    if not complete:
        ends = [last_point(curve, metric) for _, curve in curves]
        return max(ends, default=(0.0, 0.0))
    if len(complete) == 1:
        return last_point(complete[0], metric)
    epochs = np.unique(np.concatenate([curve["epoch"].to_numpy() for curve in complete]))
    epochs = _thinned(epochs, _MEAN_POINTS)
    table = np.array(
        [
            np.interp(epochs, curve["epoch"], curve[metric], left=np.nan, right=np.nan)
            for curve in complete
        ]
    )
    # Only where all seeds run: mean and band of those that are left would jump where one ends.
    all_of_them = np.isfinite(table).all(axis=0)
    axes.fill_between(
        epochs[all_of_them],
        table[:, all_of_them].min(axis=0),
        table[:, all_of_them].max(axis=0),
        color=style["color"],
        alpha=0.15,
        linewidth=0,
    )
    mean = table[:, all_of_them].mean(axis=0)
    is_point = all_of_them.sum() == 1
    axes.plot(epochs[all_of_them], mean, linewidth=2, marker="o" if is_point else None, **style)
    if all_of_them.any():
        return float(epochs[all_of_them][-1]), float(mean[-1])
    return max((last_point(curve, metric) for curve in complete), key=lambda end: end[0])


def _ends_at_threshold(sweep: Sweep, arm: Arm, metric: str) -> bool:
    """Return whether training stopped at the threshold, so that the lines of the arm end there."""
    ends = {each.run: last_point(sweep.curve(each.run, metric), metric)[0] for each in arm.measured}
    return all(
        each.value is not None and each.value > 0.8 * ends[each.run] for each in arm.measured
    )


def _mark_crossings(axes: Axes, arms: Sequence[tuple[Arm, str, bool]], measure: Measure) -> None:
    """Draw a dot where a seed crosses the threshold, a triangle where one ended without crossing.

    Arms come with their colour and whether their lines end at the crossing. If they do, name and
    number are written below the threshold; otherwise they are at the end of the line.
    """
    threshold = measure.threshold
    assert threshold is not None
    below = []
    for index, (arm, colour, ends_here) in enumerate(arms):
        later = [other for other, _, _ in arms[index + 1 :]]
        look: dict[str, Any] = {"color": colour, "linestyle": "none", "zorder": 5}
        dot: dict[str, Any] = {"marker": "o", "markeredgecolor": "white", "mew": 0.7}
        triangle: dict[str, Any] = {"marker": ">", "fillstyle": "none", "clip_on": False}
        for epoch in arm.reached:
            size = size_around(axes, epoch, [other.reached for other in later])
            axes.plot(epoch, threshold, markersize=size, **dot, **look)
        for epoch in arm.limits:
            size = size_around(axes, epoch, [other.limits for other in later])
            axes.plot(epoch, threshold, markersize=size, **triangle, **look)
        name = printed_arm(arm)
        if arm.limit is not None:
            count = f"{len(arm.limits)} of {arm.n} " if arm.n > 1 else ""
            text = f"{name}: {count}not reached in {wording.count(arm.limit, 'epoch')}"
            below.append((axes.get_xlim()[1], text, colour))
        elif arm.mean is not None and ends_here:
            below.append((arm.mean, f"{name}\n{_epochs(arm, measure)}", colour))
    stack_notes(axes, below, threshold)


def _epochs(arm: Arm, measure: Measure) -> str:
    return f"{wording.value(arm.mean, measure)} epochs"


def _curve_caption(comparison: Comparison, is_time: bool) -> str:
    parts = [counts_of(comparison.arms)]
    if max((arm.n for arm in comparison.arms), default=0) > 1:
        parts.append("Thick: mean over seeds; thin: each seed; band: lowest to highest seed.")
    if is_time and any(arm.n > arm.censored for arm in comparison.arms):
        parts.append("Dots: where a seed crosses (rings: several arms do); the number is the mean.")
    if any(arm.count("missing") < len(arm.outcomes) - arm.n for arm in comparison.arms):
        parts.append("Dotted, with a cross: unfinished runs.")
    return " ".join(parts)
