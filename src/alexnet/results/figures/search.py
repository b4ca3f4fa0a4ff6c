import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from alexnet.config.experiment import Experiment
from alexnet.plotting import caption
from alexnet.results import wording
from alexnet.results.compare import Comparison
from alexnet.results.effects import Outcome, level_label
from alexnet.results.figures.labels import (
    colour_of,
    dashes_of,
    in_percent,
    in_points,
    label_ends,
    note_at,
    open_dots,
    ratio_ticks,
    seed_dots,
)
from alexnet.results.names import printed_arm, printed_key, printed_level, printed_pair

_MOST_TICKS = 9
_MOST_NOTES = 4  # arms; the notes of more would cover each other


def search(comparison: Comparison, experiment: Experiment, title: str) -> Figure:
    """Draw the measure against each searched key, with a ring around the best of each arm."""
    keys = list(comparison.trials[0].levels)
    measure = experiment.measure
    figure = Figure(figsize=(7.2 if len(keys) == 1 else 4.8 * len(keys), 4.2))
    panels = figure.subplots(1, len(keys), sharey=True, squeeze=False)[0]
    panels[0].set_title(title)
    for axes, key in zip(panels, keys, strict=True):
        _by_level(axes, key, comparison, is_alone=len(keys) == 1)
        in_percent(axes.yaxis, measure.kind == "final" and measure.described.is_fraction)
        axes.set_xlabel(printed_key(key))
    marks = ["Dots: seeds; line: their mean." if len(keys) == 1 else "Dots: seeds."]
    if measure.kind == "epochs_to_error":
        marks.append(
            "Open triangles: seeds that ended without reaching the threshold, or were stopped "
            "because they had lost, at their limit."
        )
    if any(_is_unknown(each) for arm in comparison.searched for each in arm.outcomes):
        marks.append("Crosses on top: a seed diverged, failed or is missing.")
        bottom, top = panels[0].get_ylim()
        room = 0.02 + 0.04 * len(comparison.arms)
        panels[0].set_ylim(top=top + room / (1 - room) * (top - bottom))  # for the crosses
    panels[0].set_ylabel(wording.name_of_measure(measure))
    caption(figure, " ".join([*marks, "Ring: the best trial of the arm."]))
    return figure


def _is_unknown(outcome: Outcome) -> bool:
    """Whether nothing is known of when a run reaches the threshold."""
    return outcome.value is None and outcome.not_by is None


def _by_level(axes: Axes, key: str, comparison: Comparison, *, is_alone: bool) -> None:
    levels = list(dict.fromkeys(arm.levels[key] for arm in comparison.searched))
    numbers = [float(level) for level in levels if isinstance(level, int | float) and level > 0]
    is_log = len(numbers) == len(levels)
    places = numbers if is_log else list(map(float, range(len(levels))))
    place = dict(zip(levels, places, strict=True))
    ends: list[tuple[tuple[float, float], str, str]] = []
    notes: list[tuple[str, tuple[float, float], str]] = []
    for index, arm in enumerate(comparison.arms):
        colour = colour_of(index)
        best = [each.levels for each in comparison.best if each.arm == arm.levels]
        line: list[tuple[float, float]] = []
        mine = [each for each in comparison.searched if arm.levels.items() <= each.levels.items()]
        for each in sorted(mine, key=lambda each: place[each.levels[key]]):
            x = place[each.levels[key]]
            dots, limits = [*each.reached], [*each.limits]
            for outcome in each.outcomes:
                if outcome.value is None and outcome.not_by is not None:
                    (dots if outcome.has_crossed else limits).append(outcome.not_by)
            axes.plot([x] * len(dots), dots, marker="o", **seed_dots(colour))
            axes.plot([x] * len(limits), limits, marker="^", **open_dots(colour))
            if any(map(_is_unknown, each.outcomes)):
                on_top = axes.get_xaxis_transform()
                axes.plot(x, 0.98 - 0.04 * index, marker="x", color=colour, transform=on_top)
            if each.n == 0:
                line.append((x, math.nan))  # its mean is not known: the line has a gap
                continue
            height = float(np.mean([*each.reached, *each.limits]))
            line.append((x, height if each.reached else math.nan))
            if any(levels.items() <= each.levels.items() for levels in best):
                [ring] = axes.plot(x, height, "o", fillstyle="none", color=colour, markersize=14)
                ring.set_clip_on(False)
                if len(comparison.arms) <= _MOST_NOTES:
                    notes.append((f"best: {level_label(each.levels[key])}", (x, height), colour))
        if line and is_alone:
            xs, heights = zip(*line, strict=True)
            axes.plot(xs, heights, color=colour, linestyle=dashes_of(index), linewidth=1.6)
        if known := [point for point in line if math.isfinite(point[1])]:
            ends.append((known[-1], printed_arm(arm), colour))
    if is_log:
        axes.set_xscale("log")
    if not is_log or (is_alone and len(levels) <= _MOST_TICKS):
        axes.minorticks_off()
        axes.set_xticks(places, list(map(level_label, levels)))
    axes.margins(y=0.15)  # for the note below the best
    if 0 <= axes.dataLim.y0 < 0.45 * axes.dataLim.y1:
        axes.set_ylim(bottom=0)
    if not is_alone:
        axes.margins(x=0.15)  # for the notes
    bottom, top = axes.get_ylim()
    for text, at, colour in notes:
        is_low = at[1] - bottom < 0.12 * (top - bottom)  # below it are the labels of the axis
        note_at(axes, text, at, (0, 9) if is_low else (0, -9), colour)
    label_ends(axes, ends)


def tuning_budget(comparison: Comparison, experiment: Experiment, title: str) -> Figure:
    """Draw the expected best of 1, 2, ... trials of each arm, and the effects on it."""
    measure = experiment.measure
    has_effects = bool(comparison.budget_effects)
    figure = Figure(figsize=(7.2, 6.8 if has_effects else 4.2))
    panels = figure.subplots(1 + has_effects, 1, sharex=True, squeeze=False)[:, 0]
    panels[0].set_title(title)
    ends = []
    for index, budget in enumerate(comparison.budgets):
        label = ", ".join(printed_level(*each) for each in budget.arm.items()) or "all runs"
        sides = ["^" if is_bound else "o" for is_bound in budget.is_bound]
        ends += _line(panels[0], budget.expected, sides, label, index)
    in_percent(panels[0].yaxis, measure.kind == "final" and measure.described.is_fraction)
    panels[0].set_ylabel(f"{wording.name_of_measure(measure)}\n(expected best)")
    if 0 <= panels[0].dataLim.y0 < 0.45 * panels[0].dataLim.y1:
        panels[0].set_ylim(bottom=0)
    label_ends(panels[0], ends)
    if has_effects:
        ends = []
        axes = panels[1]
        if experiment.effect == "ratio":
            axes.set_yscale("log")
        for index, effect in enumerate(comparison.budget_effects):
            signs = {None: "o", "lower": "^", "upper": "v", "neither": ""}
            sides = [signs[bound] for bound in effect.bounds]
            pair = printed_pair(effect.arm, effect.against)
            ends += _line(axes, effect.values, sides, pair, index)
        axes.axhline(experiment.no_effect, color="0.6", linewidth=0.8)
        if experiment.effect == "ratio":
            ratio_ticks(axes.yaxis)
        else:
            is_in_points = wording.effect_unit(experiment) == "percentage points"
            in_points(axes.yaxis, 100 if is_in_points else 1)
        axes.set_ylabel(f"{experiment.effect} ({wording.effect_unit(experiment)})")
        label_ends(axes, ends)
    panels[-1].set_xlabel("trials of each arm")
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    marks = ["Mean of the best trial over all subsets of that many trials."]
    if any(any(budget.is_bound) for budget in comparison.budgets):
        marks.append(
            "Open triangles: bounds (up: at least, down: at most), because the best of some "
            "subsets is censored or was stopped."
        )
    if has_effects:
        marks.append("Below: the effect of the first factor on these means.")
    caption(figure, " ".join(marks))
    return figure


def _line(
    axes: Axes, values: tuple[float | None, ...], markers: list[str], label: str, index: int
) -> list[tuple[tuple[float, float], str, str]]:
    """Draw a line over the number of trials; return its end with label and colour, if any."""
    colour = colour_of(index)
    points = [
        (float(k), value, marker)
        for k, (value, marker) in enumerate(zip(values, markers, strict=True), start=1)
        if value is not None
    ]
    if not points:
        return []
    xs, heights, _ = zip(*points, strict=True)
    axes.plot(xs, heights, color=colour, linestyle=dashes_of(index), linewidth=1.6)
    for x, height, marker in points:
        style = open_dots(colour) if marker in "^v" else seed_dots(colour)
        axes.plot([x], [height], marker=marker, **style)
    return [((xs[-1], heights[-1]), label, colour)]
