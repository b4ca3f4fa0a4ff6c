import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from alexnet.plotting import COLOURS
from alexnet.results.effects import Arm
from alexnet.results.names import printed_arm
from alexnet.results.wording import lost_in

# The paper draws ReLU solid and tanh dashed: the baseline is solid.
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (6, 2, 1, 2)), (0, (1, 1.5)))


def size_around(axes: Axes, epoch: float, others: Sequence[Sequence[float]]) -> float:
    """Return a marker's size in points: larger for each later arm that would hide the marker.

    `others` are the epochs of the arms that are drawn later.
    """
    near = 0.005 * axes.get_xlim()[1]
    return 6 + 4 * sum(any(abs(each - epoch) <= near for each in arm) for arm in others)


def stack_notes(axes: Axes, notes: Sequence[tuple[float, str, str]], threshold: float) -> None:
    """Write (epoch, text, colour) below a line, further away where crowded."""
    right = axes.get_xlim()[1]
    left_of_last, lines = math.inf, 0
    for epoch, text, colour in sorted(notes, reverse=True):
        width = 0.013 * right * max(map(len, text.split("\n")))
        is_at_margin = epoch + width > right
        left = epoch - width if is_at_margin else epoch
        lines = lines + 1 + text.count("\n") if left + width > left_of_last else 0
        left_of_last = left
        offset = (-7 if is_at_margin else 7, -(7 + 12 * lines))
        note_at(axes, text, (epoch, threshold), offset, colour)


def note_at(
    axes: Axes, text: str, at: tuple[float, float], offset: tuple[float, float], colour: str
) -> None:
    """Write text beside a point, on a background that keeps it readable over lines."""
    axes.annotate(
        text,
        at,
        xytext=offset,
        textcoords="offset points",
        ha="right" if offset[0] < 0 else "left" if offset[0] > 0 else "center",
        va="top" if offset[1] < 0 else "bottom",
        color=colour,
        fontsize=9,
        bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 0.5},
        zorder=6,
    )


def label_ends(axes: Axes, ends: Sequence[tuple[tuple[float, float], str, str]]) -> None:
    """Write each arm's name at the end of its line, in its colour, shifted so that none overlap."""
    scale = axes.yaxis.get_transform()  # distances are those on paper, also on a logarithmic axis
    bottom, top = map(float, scale.transform(axes.get_ylim()))
    spacing = 0.055 * (top - bottom)
    lowest = bottom + 0.5 * spacing  # not struck through by the axis
    right = axes.get_xlim()[1]
    placed = [
        (right if epoch > 0.8 * right else epoch, float(scale.transform(height)), text, colour)
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
        heights = _apart([max(height, lowest) for _, height, _, _ in group], spacing, top)
        for (x, _, text, colour), y in zip(group, heights, strict=True):
            direct_label(axes, (x, float(scale.inverted().transform(y))), text, colour)


def _apart(heights: Sequence[float], spacing: float, top: float) -> list[float]:
    """Move ascending heights up until they are apart, then down until none is above the top."""
    moved: list[float] = []
    for height in heights:
        moved.append(max(height, moved[-1] + spacing) if moved else height)
    for index in reversed(range(len(moved))):
        moved[index] = min(moved[index], top - spacing * (len(moved) - 1 - index))
    return moved


def direct_label(axes: Axes, at: tuple[float, float], text: str, colour: str) -> None:
    """Write the name of a line to the right of its end."""
    axes.annotate(
        text,
        at,
        xytext=(7, 0),
        textcoords="offset points",
        va="center",
        color=colour,
        fontweight="bold",
        annotation_clip=False,
        zorder=6,
    )


def counts_of(arms: Sequence[Arm]) -> str:
    """Return the n of every arm; only once if it is the same in all and no run was lost."""
    if not any(map(lost_in, arms)) and len({arm.n for arm in arms}) == 1:
        return f"n = {arms[0].n} per arm."
    if len(arms) > len(COLOURS):
        return f"n = {min(arm.n for arm in arms)} to {max(arm.n for arm in arms)} per arm."
    counts = (
        f"{printed_arm(arm)} {', '.join(filter(None, [str(arm.n), lost_in(arm)]))}" for arm in arms
    )
    return f"n: {'; '.join(counts)}."


def limits_around(
    core: Sequence[float], ends: Sequence[float | None], *, is_log: bool = False
) -> tuple[float, float]:
    """Return the limits of an axis: around all of the core, and the ends that are near it.

    An interval over two seeds may be twenty times as wide as the range of the values: if it were
    shown whole, they could not be distinguished.
    """
    forth, back = (np.log, np.exp) if is_log else (np.asarray, np.asarray)
    inner = forth(np.array([each for each in core if not is_log or each > 0]))
    outer = forth(
        np.array([each for each in ends if each is not None and (each > 0 or not is_log)])
    )
    low, high = inner.min(), inner.max()
    span = high - low
    if not span:
        span = np.abs(outer - low).max() / 3 if len(outer) else abs(low) / 10
    span = span or 1.0
    near = outer[(outer >= low - 2.5 * span) & (outer <= high + 2.5 * span)]
    low, high = min([low, *near]), max([high, *near])
    if len(near) < len(outer):  # room for the arrows of the others
        low, high = low - 0.3 * span, high + 0.3 * span
    margin = 0.08 * (high - low) or span
    return float(back(low - margin)), float(back(high + margin))


def seed_dots(colour: str) -> dict[str, Any]:
    """Return the style of the dot of a run, as arguments of matplotlib's plot."""
    return {"color": colour, "linestyle": "none", "markersize": 5, "alpha": 0.5, "mew": 0}


def open_dots(colour: str) -> dict[str, Any]:
    """Return the style of the marker of a limit, as arguments of matplotlib's plot."""
    return {"color": colour, "linestyle": "none", "markersize": 6, "fillstyle": "none"}


def colour_of(index: int) -> str:
    """Return the colour of the arm with this index."""
    return COLOURS[index % len(COLOURS)]


def dashes_of(index: int) -> Any:
    """Return the line style of the arm with this index."""
    return DASHES[index % len(DASHES)]


def last_point(curve: pd.DataFrame, metric: str) -> tuple[float, float]:
    """Return (epoch, value) at the end of a curve."""
    return float(curve["epoch"].iloc[-1]), float(curve[metric].iloc[-1])


def in_percent(axis: Axis, is_fraction: bool) -> None:
    """Label an axis in per cent if what it shows is a fraction."""
    if is_fraction:
        axis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * x:.6g} %"))


def in_points(axis: Axis, scale: float = 1) -> None:
    """Label an axis of differences, with their sign."""
    sign = FuncFormatter(
        lambda x, _: f"{scale * x:+.6g}".replace("-", "\N{MINUS SIGN}") if x else "0"
    )
    axis.set_major_formatter(sign)


def ratio_ticks(axis: Axis) -> None:
    """Ticks of a logarithmic axis: decades, their halves and fifths, else even steps."""
    low, high = axis.get_view_interval()
    even = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10])
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)) if high > 5 * low else even)
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axis.set_minor_locator(NullLocator())
