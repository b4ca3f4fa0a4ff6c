import textwrap
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from alexnet.config.experiment import Experiment
from alexnet.plotting import COLOURS, GREY, caption
from alexnet.results import wording
from alexnet.results.anytime import AnytimeEffect
from alexnet.results.compare import Comparison
from alexnet.results.effects import Effect
from alexnet.results.figures.labels import (
    colour_of,
    counts_of,
    in_percent,
    in_points,
    limits_around,
    note_at,
    open_dots,
    ratio_ticks,
    seed_dots,
)
from alexnet.results.names import printed_arm, printed_effect

_ARROW = "_arrow"  # the label of arrows, by which the caption finds them
MAX_EFFECTS = 14  # more rows are unreadable: interactions are then only in the table


def arms_and_effects(comparison: Comparison, experiment: Experiment, title: str) -> Figure:
    """Draw a row per arm with seeds, mean and interval (left), and a row per effect (right)."""
    effects = grid_effects(comparison) or comparison.effects
    rows = max(len(comparison.arms), len(effects), 2)
    figure = Figure(figsize=(10.5 if effects else 5.5, 1.8 + 0.42 * rows), layout="constrained")
    left, *right = figure.subplots(1, 2 if effects else 1, squeeze=False)[0]
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=11)
    _arms(left, comparison, experiment)
    if effects:
        _forest(right[0], effects, comparison, experiment)
    parts = [counts_of(comparison.arms), _caption_of_dots(comparison)]
    if figure.findobj(lambda each: each.get_label() == _ARROW):
        parts.append("Arrow: the interval continues.")
    if effects:
        parts.append("Effects are paired by seed.")
    caption(figure, " ".join(parts))
    return figure


def _caption_of_dots(comparison: Comparison) -> str:
    if not any(arm.ci95 for arm in comparison.arms):
        return "Small dots: seeds; large: their mean."
    anytime = any(isinstance(each, AnytimeEffect) for each in comparison.effects)
    return "Small dots: seeds; large: mean with its 95 % t-interval over seeds" + (
        ", of an effect its anytime-valid interval." if anytime else "."
    )


def _arms(axes: Axes, comparison: Comparison, experiment: Experiment) -> None:
    measure = experiment.measure
    core = [value for arm in comparison.arms for value in (*arm.reached, *arm.limits)]
    if core:
        ends = [end for arm in comparison.arms for end in arm.ci95 or ()]
        low, high = limits_around(core, ends)
        # Times start at 0 if that takes little of the axis.
        is_near_zero = measure.kind == "epochs_to_error" and min(core) < 0.4 * max(core)
        axes.set_xlim(0 if is_near_zero else low if min(core) < 0 else max(low, 0.0), high)
    for row, arm in enumerate(comparison.arms):
        colour = colour_of(row) if not grid_effects(comparison) else COLOURS[0]
        height = row + 0.18
        axes.plot(arm.reached, [height] * len(arm.reached), marker="o", **seed_dots(colour))
        axes.plot(arm.limits, [height] * len(arm.limits), marker=">", **open_dots(colour))
        if arm.mean is not None:
            _interval(axes, arm.mean, arm.ci95, row - 0.08, colour)
    _name_rows(
        axes,
        ["; ".join(filter(None, [printed_arm(a), wording.lost_in(a)])) for a in comparison.arms],
    )
    in_percent(axes.xaxis, measure.kind == "final" and measure.described.is_fraction)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.set_title("Arms")
    axes.set_xlabel(wording.name_of_measure(measure))


def _forest(
    axes: Axes, effects: Sequence[Effect], comparison: Comparison, experiment: Experiment
) -> None:
    """Draw a row per effect, and the line of no effect."""
    scale = 100 if wording.effect_unit(experiment) == "percentage points" else 1
    is_log = experiment.effect == "ratio"
    axes.axvline(experiment.no_effect, color=GREY, linewidth=1)
    if is_log:
        axes.set_xscale("log")
    axes.set_xlim(_limits(effects, comparison, experiment, scale))
    for row, effect in enumerate(effects):
        colour = "black" if not effect.is_interaction else GREY
        seeds = [scale * value for value in effect.values if value is not None]
        if effect.n > 1 and effect.bound is None:
            axes.plot(seeds, [row + 0.22] * len(seeds), marker="o", **seed_dots(colour))
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
        note_at(axes, "paper", (paper, row), (0, 7), COLOURS[1])
    if is_log:
        ratio_ticks(axes.xaxis)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        in_points(axes.xaxis)
    _name_rows(axes, list(map(printed_effect, effects)))
    axes.set_title("Effects")
    what = wording.name_of_measure(experiment.measure)
    axes.set_xlabel(
        f"ratio of {what}"
        if experiment.effect == "ratio"
        else f"difference in {what}\n({wording.effect_unit(experiment)})"
    )


def _limits(
    effects: Sequence[Effect], comparison: Comparison, experiment: Experiment, scale: float
) -> tuple[float, float]:
    """Return limits that include all means, the number of the paper and no effect."""
    core = [experiment.no_effect]
    for effect in effects:
        core += [value for value in (effect.mean, *effect.values) if value is not None]
    if comparison.papers_effect in effects and experiment.paper is not None:
        core.append(experiment.paper.value)
    ends = [end for effect in effects for end in effect.ci95 or ()]
    return limits_around(
        [scale * each for each in core],
        [each and scale * each for each in ends],
        is_log=experiment.effect == "ratio",
    )


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Name the rows from top to bottom, on the left and without ticks."""
    axes.set_yticks(
        range(len(names)), [textwrap.fill(name, 34, break_on_hyphens=False) for name in names]
    )
    axes.set_ylim(len(names) - 0.5, -0.6)
    axes.tick_params(axis="y", length=0, pad=9)
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
    """Draw a dot for the mean with its interval; an end that is open or outside is an arrow."""
    if ci95 is not None:
        left, right = axes.get_xlim()
        low, high = (mean if end is None else end for end in ci95)
        axes.plot(
            [max(low, left), min(high, right)],
            [row, row],
            color=colour,
            linewidth=1.6,
            solid_capstyle="butt",
        )
        for is_beyond, at, marker in ((low < left, left, "<"), (high > right, right, ">")):
            if is_beyond:
                axes.plot(
                    at, row, marker=marker, color=colour, markersize=6, clip_on=False, label=_ARROW
                )  # fmt: skip
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
            label=_ARROW,
        )


def grid_effects(comparison: Comparison) -> tuple[Effect, ...]:
    """Return the effects of a sweep of several factors, at most a readable number; () for one."""
    if not any(effect.is_interaction for effect in comparison.effects):
        return ()
    if len(comparison.effects) <= MAX_EFFECTS:
        return comparison.effects
    return tuple(effect for effect in comparison.effects if not effect.is_interaction)
