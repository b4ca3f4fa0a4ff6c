"""Figures of a sweep, in the manner of the paper's Figure 1."""

import math
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from alexnet import factors
from alexnet.experiment import Experiment, Measure
from alexnet.results import wording
from alexnet.results.compare import Arm, Comparison, Effect, Fate, level_label
from alexnet.results.runs import Sweep
from alexnet.results.style import COLOURS, GREY, HALO, STYLE, caption
from alexnet.results.wording import is_error

# The paper draws ReLU solid and tanh dashed: the baseline is solid.
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (6, 2, 1, 2)), (0, (1, 1.5)))
MAX_EFFECTS = 14  # more rows than this cannot be read: interactions are then left to the table


def draw(sweep: Sweep, comparison: Comparison) -> dict[str, Figure]:
    """All figures by file name, the one that shows the answer first."""
    experiment = sweep.experiment
    is_time = experiment.measure.kind == "epochs_to_error"
    is_grid = bool(_grid_effects(comparison))
    with matplotlib.rc_context(STYLE):
        figures = {"arms_and_effects": _arms_and_effects(comparison, experiment)}
        if comparison.best:
            figures["search"] = _search(comparison, experiment)
        if len(comparison.arms) <= len(COLOURS):  # with more, no line could be told from another
            curves = _curves(sweep, comparison)
            if is_time and not is_grid:
                return {"learning_curves": curves, **figures}
            figures["learning_curves" if is_time else "validation_curves"] = curves
    return figures


# Learning curves


def _curves(sweep: Sweep, comparison: Comparison) -> Figure:
    """Error against epochs: thin lines are seeds, thick their mean, the band their range."""
    measure = sweep.experiment.measure
    # The test error is measured once, at the end: its curve is that of the validation error.
    metric = factors.VAL_ERROR if measure.metric.startswith("test/") else measure.metric
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
        style = {"color": _colour(index), "linestyle": _dashes(index)}
        end = _draw_arm(axes, curves, metric, style)
        ends_here = arm.mean is not None and _end_at_threshold(curves, metric, measure.threshold)
        if curves and not ends_here:
            ends.append((end, arm.label, style["color"]))
        crossings.append((arm, style["color"], ends_here))
        last_epoch = max(last_epoch, end[0])
    axes.set_xlim(0, 1.02 * last_epoch or 1)
    axes.set_ylim(bottom=0)
    _percent(axes.yaxis, metric)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.set_xlabel("epochs")
    name = wording.name_of_metric(metric)
    axes.set_ylabel(f"{name} rate" if is_error(metric) else name)
    if is_time:
        assert measure.threshold is not None
        axes.axhline(measure.threshold, color=GREY, linestyle=(0, (4, 3)), linewidth=1, zorder=1)
        _mark_crossings(axes, crossings, measure)
    _label_ends(axes, ends)
    caption(figure, _curve_caption(comparison, is_time))
    return figure


def _draw_arm(
    axes: Axes, curves: list[tuple[bool, pd.DataFrame]], metric: str, style: dict[str, Any]
) -> tuple[float, float]:
    """Draw an arm from (whether finished, curve) of its runs, and say where its line ends."""
    complete = [curve for is_finished, curve in curves if is_finished]
    for is_finished, curve in curves:
        is_alone = is_finished and len(complete) == 1
        axes.plot(
            curve["epoch"],
            curve[metric],
            color=style["color"],
            linestyle=(style["linestyle"] if is_alone else "-") if is_finished else ":",
            linewidth=2 if is_alone else 0.7,
            alpha=1 if is_alone else 0.45,
        )
        if not is_finished:  # a cross where a run broke off
            axes.plot(*_last(curve, metric), marker="x", color=style["color"], clip_on=False)
    if not complete:
        return _last(curves[0][1], metric) if curves else (0.0, 0.0)
    if len(complete) == 1:
        return _last(complete[0], metric)
    epochs = np.unique(np.concatenate([curve["epoch"].to_numpy() for curve in complete]))
    table = np.array(
        [
            np.interp(epochs, curve["epoch"], curve[metric], left=np.nan, right=np.nan)
            for curve in complete
        ]
    )
    running = np.isfinite(table).sum(axis=0)
    several, all_of_them = running >= 2, running == len(complete)
    axes.fill_between(
        epochs[several],
        np.nanmin(table[:, several], axis=0),
        np.nanmax(table[:, several], axis=0),
        color=style["color"],
        alpha=0.15,
        linewidth=0,
    )
    # Only where all seeds run: a mean over those that are left would jump where one ends.
    mean = table[:, all_of_them].mean(axis=0)
    axes.plot(epochs[all_of_them], mean, linewidth=2, **style)
    return max((_last(curve, metric) for curve in complete), key=lambda end: end[0])


def _end_at_threshold(
    curves: Sequence[tuple[bool, pd.DataFrame]], metric: str, threshold: float | None
) -> bool:
    """Whether training stopped once it had reached the threshold, so that the lines end there."""
    if threshold is None:
        return False
    complete = [curve[metric] for is_finished, curve in curves if is_finished]
    return all((errors.iloc[:-1] > threshold).all() for errors in complete)


def _mark_crossings(axes: Axes, arms: Sequence[tuple[Arm, str, bool]], measure: Measure) -> None:
    """A dot where each seed crosses, a triangle to the right where one ended without crossing.

    Arms come with their colour and whether their lines end at the crossing. Then there is room
    below the threshold for name and number; else the number is above, as the line goes on below.
    """
    threshold = measure.threshold
    assert threshold is not None
    above, below = [], []
    for index, (arm, colour, ends_here) in enumerate(arms):
        later = [other for other, _, _ in arms[index + 1 :]]
        look: dict[str, Any] = {"color": colour, "linestyle": "none", "zorder": 5}
        dot: dict[str, Any] = {"marker": "o", "markeredgecolor": "white", "mew": 0.7}
        triangle: dict[str, Any] = {"marker": ">", "fillstyle": "none", "clip_on": False}
        for epoch in arm.reached:
            size = _size_around(axes, epoch, [other.reached for other in later])
            axes.plot(epoch, threshold, markersize=size, **dot, **look)
        for epoch in arm.limits:
            size = _size_around(axes, epoch, [other.limits for other in later])
            axes.plot(epoch, threshold, markersize=size, **triangle, **look)
        number = f"{wording.value(arm.mean, measure)} epochs"
        if arm.limit is not None:
            count = f"{arm.censored} of {arm.n} " if arm.n > 1 else ""
            text = f"{arm.label}: {count}not in {wording.count(arm.limit, 'epoch')}"
            below.append((axes.get_xlim()[1], text, colour))
        elif arm.mean is not None and ends_here:
            below.append((arm.mean, f"{arm.label}\n{number}", colour))
        elif arm.mean is not None:
            above.append((arm.mean, number, colour))
    _stack_notes(axes, above, threshold, sign=1)
    _stack_notes(axes, below, threshold, sign=-1)


def _size_around(axes: Axes, epoch: float, others: Sequence[Sequence[float]]) -> float:
    """Size of a marker that is drawn before those of others: a ring around what would hide it."""
    near = 0.005 * axes.get_xlim()[1]
    return 6 + 4 * sum(any(abs(each - epoch) <= near for each in arm) for arm in others)


def _stack_notes(
    axes: Axes, notes: Sequence[tuple[float, str, str]], threshold: float, *, sign: int
) -> None:
    """Write (epoch, text, colour) above (+1) or below (-1) the line; further away where crowded."""
    right = axes.get_xlim()[1]
    left_of_last, lines = math.inf, 0
    for epoch, text, colour in sorted(notes, reverse=True):
        width = 0.013 * right * max(map(len, text.split("\n")))
        is_at_margin = epoch + width > right
        left = epoch - width if is_at_margin else epoch
        lines = lines + 1 + text.count("\n") if left + width > left_of_last else 0
        left_of_last = left
        offset = (-7 if is_at_margin else 7, sign * (7 + 12 * lines))
        _note(axes, text, (epoch, threshold), offset, colour)


def _note(
    axes: Axes, text: str, at: tuple[float, float], offset: tuple[float, float], colour: str
) -> None:
    axes.annotate(
        text,
        at,
        xytext=offset,
        textcoords="offset points",
        ha="right" if offset[0] < 0 else "left" if offset[0] > 0 else "center",
        va="top" if offset[1] < 0 else "bottom",
        color=colour,
        fontsize=9,
        path_effects=HALO,
        zorder=6,
    )


def _label_ends(axes: Axes, ends: Sequence[tuple[tuple[float, float], str, str]]) -> None:
    """The arm's name at the end of its line, in its colour, shifted so that no two overlap."""
    bottom, top = axes.get_ylim()
    spacing = 0.055 * (top - bottom)
    right = axes.get_xlim()[1]
    placed = [
        (right if epoch > 0.8 * right else epoch, height, text, colour)
        for (epoch, height), text, colour in ends
    ]
    groups: list[list[tuple[float, float, str, str]]] = []  # labels above one another
    reach = -math.inf
    for label in sorted(placed, key=lambda label: label[0]):
        if label[0] > reach:
            groups.append([])
        groups[-1].append(label)
        reach = max(reach, label[0] + 0.02 * right * (1 + len(label[2])))
    for group in groups:
        group.sort(key=lambda label: label[1])
        heights = _apart([height for _, height, _, _ in group], spacing, top)
        for (x, _, text, colour), y in zip(group, heights, strict=True):
            _direct_label(axes, (x, y), text, colour)


def _apart(heights: Sequence[float], spacing: float, top: float) -> list[float]:
    """Ascending heights, moved up until they are apart, then down until none is above the top."""
    moved: list[float] = []
    for height in heights:
        moved.append(max(height, moved[-1] + spacing) if moved else height)
    for index in reversed(range(len(moved))):
        moved[index] = min(moved[index], top - spacing * (len(moved) - 1 - index))
    return moved


def _curve_caption(comparison: Comparison, is_time: bool) -> str:
    parts = [_counts(comparison.arms)]
    if max((arm.n for arm in comparison.arms), default=0) > 1:
        parts.append("Thick: mean over seeds; thin: each seed; band: lowest to highest seed.")
    if is_time and any(arm.n > arm.censored for arm in comparison.arms):
        parts.append("Dots: where a seed crosses (rings: several arms do); the number is the mean.")
    if any(arm.count("missing") < len(arm.outcomes) - arm.n for arm in comparison.arms):
        parts.append("Dotted, with a cross: runs that broke off.")
    return " ".join(parts)


# Arms and effects


def _arms_and_effects(comparison: Comparison, experiment: Experiment) -> Figure:
    """Left: a row per arm with its seeds, mean and interval. Right: the effects and no effect."""
    effects = _grid_effects(comparison) or comparison.effects
    rows = max(len(comparison.arms), len(effects), 2)
    figure = Figure(figsize=(10.5 if effects else 5.5, 1.4 + 0.42 * rows), layout="constrained")
    left, *right = figure.subplots(1, 2 if effects else 1, squeeze=False)[0]
    _arms(left, comparison, experiment)
    if effects:
        _forest(right[0], effects, comparison, experiment)
    caption(
        figure,
        f"{_counts(comparison.arms)} "
        "Small dots: seeds; large: mean with its 95 % t-interval over seeds. "
        + ("Effects are paired by seed." if effects else ""),
    )
    return figure


def _arms(axes: Axes, comparison: Comparison, experiment: Experiment) -> None:
    measure = experiment.measure
    for row, arm in enumerate(comparison.arms):
        colour = _colour(row) if not _grid_effects(comparison) else COLOURS[0]
        height = row + 0.18
        axes.plot(arm.reached, [height] * len(arm.reached), marker="o", **_seed_dots(colour))
        axes.plot(arm.limits, [height] * len(arm.limits), marker=">", **_open_dots(colour))
        if arm.mean is not None:
            _interval(axes, arm.mean, arm.ci95, row - 0.08, colour)
    _name_rows(axes, ["\n".join(filter(None, [a.label, _lost(a)])) for a in comparison.arms])
    if measure.kind == "epochs_to_error":
        axes.set_xlim(left=0)
    else:
        _percent(axes.xaxis, measure.metric)
        axes.margins(x=0.12)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.set_title("Arms")
    axes.set_xlabel(wording.name_of_measure(measure))


def _forest(
    axes: Axes, effects: Sequence[Effect], comparison: Comparison, experiment: Experiment
) -> None:
    """One row per effect; where the interval reaches the line of no effect, nothing is shown."""
    scale = 100 if wording.effect_unit(experiment) == "percentage points" else 1
    axes.axvline(experiment.no_effect, color=GREY, linewidth=1)
    for row, effect in enumerate(effects):
        colour = "black" if not effect.is_interaction else GREY
        if effect.mean is not None:
            ci95 = effect.ci95 and tuple(end and scale * end for end in effect.ci95)
            _interval(axes, scale * effect.mean, ci95, row, colour, bound=effect.bound)
        else:
            text = "censored on both sides" if effect.bound == "neither" else "no pair of runs"
            in_the_middle = axes.get_yaxis_transform()
            axes.text(0.5, row, text, transform=in_the_middle, ha="center", va="center", color=GREY)
        if effect is not comparison.papers_effect or experiment.paper is None:
            continue
        paper = scale * (experiment.paper.value)
        look: dict[str, Any] = {"marker": "D", "fillstyle": "none", "markersize": 8, "zorder": 6}
        axes.plot(paper, row, color=COLOURS[1], **look)
        _note(axes, "paper", (paper, row), (0, 7), COLOURS[1])
    if experiment.effect == "ratio":
        axes.set_xscale("log")
        axes.margins(x=0.15)
        low, high = axes.get_xlim()
        is_wide = high > 3 * low
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if is_wide else MaxNLocator(5))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axes.minorticks_off()
    else:
        axes.margins(x=0.15)
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:+g}" if x else "0"))
    _name_rows(axes, [_effect_label(effect) for effect in effects])
    axes.set_title("Effects")
    what = wording.name_of_measure(experiment.measure)
    axes.set_xlabel(
        f"ratio of {what}"
        if experiment.effect == "ratio"
        else f"difference in {what}\n({wording.effect_unit(experiment)})"
    )


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Rows from top to bottom, with their names on the left and no ticks."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)


def _interval(
    axes: Axes,
    mean: float,
    ci95: Any,
    row: float,
    colour: str,
    bound: str | None = None,
) -> None:
    """A dot for the mean with its interval; an end that is not known is an arrow."""
    if ci95 is not None:
        low, high = ci95
        axes.plot(
            [mean if low is None else low, mean if high is None else high],
            [row, row],
            color=colour,
            linewidth=1.6,
            solid_capstyle="butt",
        )
    axes.plot(mean, row, marker="o", color=colour, markersize=7, zorder=5)
    if bound in ("lower", "upper"):
        sign = 1 if bound == "lower" else -1
        axes.annotate(
            "",
            xy=(mean, row),
            xytext=(28 * sign, 0),
            textcoords="offset points",
            arrowprops={"arrowstyle": "<|-", "color": colour, "linewidth": 1.6},
            annotation_clip=False,
        )


# Search


def _search(comparison: Comparison, experiment: Experiment) -> Figure:
    """The measure against the searched key, the best level of each arm ringed."""
    search, measure = experiment.search, experiment.measure
    assert search is not None
    levels = list(dict.fromkeys(arm.levels[search] for arm in comparison.searched))
    numbers = [float(level) for level in levels if isinstance(level, int | float) and level > 0]
    is_log = len(numbers) == len(levels)
    places = numbers if is_log else list(map(float, range(len(levels))))
    place = dict(zip(levels, places, strict=True))
    figure = Figure(figsize=(7.2, 4.2))
    axes = figure.subplots()
    for index, arm in enumerate(comparison.arms):
        colour = _colour(index)
        best = [each.level for each in comparison.best if each.arm == arm.levels]
        line = []
        mine = [each for each in comparison.searched if arm.levels.items() <= each.levels.items()]
        for each in sorted(mine, key=lambda each: place[each.levels[search]]):
            x = place[each.levels[search]]
            axes.plot([x] * len(each.reached), each.reached, marker="o", **_seed_dots(colour))
            axes.plot([x] * len(each.limits), each.limits, marker="^", **_open_dots(colour))
            if each.n < len(each.outcomes):
                on_top = axes.get_xaxis_transform()
                axes.plot(x, 1 - 0.04 * index, marker="x", color=colour, transform=on_top)
            if each.n == 0:
                continue
            # Censored runs enter with their limit, as in the choice of the best level.
            height = float(np.mean([*each.reached, *each.limits]))
            line.append((x, height))
            if each.levels[search] in best:
                axes.plot(x, height, marker="o", fillstyle="none", color=colour, markersize=14)
                text = f"best: {level_label(each.levels[search])}"
                _note(axes, text, (x, height), (0, -9), colour)
        if line:
            xs, heights = zip(*line, strict=True)
            axes.plot(xs, heights, color=colour, linestyle=_dashes(index), linewidth=1.6)
            _direct_label(axes, line[-1], arm.label, colour)
    if is_log:
        axes.set_xscale("log")
        axes.minorticks_off()
    axes.set_xticks(places, list(map(level_label, levels)))
    axes.set_ylim(bottom=0)
    _percent(axes.yaxis, measure.metric if measure.kind == "final" else "")
    axes.set_xlabel(search)
    axes.set_ylabel(wording.name_of_measure(measure))
    caption(
        figure,
        "Dots: seeds; line: their mean. Open triangles: seeds that ended without reaching the "
        "threshold, at their limit. Crosses on top: a seed diverged, failed or is missing. "
        "Ring: the best level of the arm.",
    )
    return figure


# Parts


def _grid_effects(comparison: Comparison) -> tuple[Effect, ...]:
    """Effects of a sweep of several factors, at most as many as can be read; () for one factor."""
    if not any(effect.is_interaction for effect in comparison.effects):
        return ()
    if len(comparison.effects) <= MAX_EFFECTS:
        return comparison.effects
    return tuple(effect for effect in comparison.effects if not effect.is_interaction)


def _effect_label(effect: Effect) -> str:
    """Short: an interaction by its levels, whose factors the main effects above have named."""
    if not effect.is_interaction:
        return effect.of
    return " x ".join(level_label(other) for other, _ in effect.levels.values())


def _direct_label(axes: Axes, at: tuple[float, float], text: str, colour: str) -> None:
    axes.annotate(
        text,
        at,
        xytext=(7, 0),
        textcoords="offset points",
        va="center",
        color=colour,
        fontweight="bold",
        annotation_clip=False,
        path_effects=HALO,
        zorder=6,
    )


def _counts(arms: Sequence[Arm]) -> str:
    """The n of every arm, once if it is the same in all and nothing was lost."""
    if not any(map(_lost, arms)) and len({arm.n for arm in arms}) == 1:
        return f"n = {arms[0].n} per arm."
    if len(arms) > len(COLOURS):
        return f"n = {min(arm.n for arm in arms)} to {max(arm.n for arm in arms)} per arm."
    counts = (f"{arm.label} {', '.join(filter(None, [str(arm.n), _lost(arm)]))}" for arm in arms)
    return f"n: {'; '.join(counts)}."


def _lost(arm: Arm) -> str:
    """What is not in n, and what of n has no value: "1 diverged, 2 censored"."""
    fates: tuple[Fate, ...] = ("diverged", "failed", "unfinished", "missing")
    counts = [(arm.censored, "censored"), *((arm.count(fate), fate) for fate in fates)]
    return ", ".join(f"{count} {name}" for count, name in counts if count)


def _seed_dots(colour: str) -> dict[str, Any]:
    return {"color": colour, "linestyle": "none", "markersize": 5, "alpha": 0.5, "mew": 0}


def _open_dots(colour: str) -> dict[str, Any]:
    """Not a value but a limit."""
    return {"color": colour, "linestyle": "none", "markersize": 6, "fillstyle": "none"}


def _colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def _dashes(index: int) -> Any:
    return DASHES[index % len(DASHES)]


def _last(curve: pd.DataFrame, metric: str) -> tuple[float, float]:
    return float(curve["epoch"].iloc[-1]), float(curve[metric].iloc[-1])


def _percent(axis: Axis, metric: str) -> None:
    if is_error(metric):
        axis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * x:.4g} %"))
