import numpy as np
from matplotlib.figure import Figure

from alexnet.config.experiment import Experiment
from alexnet.plotting import caption
from alexnet.results import wording
from alexnet.results.compare import Comparison
from alexnet.results.effects import level_label
from alexnet.results.figures.labels import (
    colour_of,
    dashes_of,
    direct_label,
    in_percent,
    note_at,
    open_dots,
    seed_dots,
)
from alexnet.results.names import printed_arm


def search(comparison: Comparison, experiment: Experiment, title: str) -> Figure:
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
        colour = colour_of(index)
        best = [each.level for each in comparison.best if each.arm == arm.levels]
        line = []
        mine = [each for each in comparison.searched if arm.levels.items() <= each.levels.items()]
        for each in sorted(mine, key=lambda each: place[each.levels[search]]):
            x = place[each.levels[search]]
            axes.plot([x] * len(each.reached), each.reached, marker="o", **seed_dots(colour))
            axes.plot([x] * len(each.limits), each.limits, marker="^", **open_dots(colour))
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
                note_at(axes, text, (x, height), (0, -9), colour)
        if line:
            xs, heights = zip(*line, strict=True)
            axes.plot(xs, heights, color=colour, linestyle=dashes_of(index), linewidth=1.6)
            direct_label(axes, line[-1], printed_arm(arm), colour)
    if is_log:
        axes.set_xscale("log")
        axes.minorticks_off()
    axes.set_xticks(places, list(map(level_label, levels)))
    axes.set_title(title)
    if 0 <= axes.dataLim.y0 < 0.45 * axes.dataLim.y1:
        axes.set_ylim(bottom=0)
    in_percent(axes.yaxis, measure.kind == "final" and measure.described.is_fraction)
    axes.set_xlabel(search)
    axes.set_ylabel(wording.name_of_measure(measure))
    caption(
        figure,
        "Dots: seeds; line: their mean. Open triangles: seeds that ended without reaching the "
        "threshold, at their limit. Crosses on top: a seed diverged, failed or is missing. "
        "Ring: the best level of the arm.",
    )
    return figure
