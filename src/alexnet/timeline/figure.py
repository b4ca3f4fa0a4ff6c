"""The timeline figure: what the cards and the link between them do during one step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from alexnet import plotting
from alexnet.timeline.schedule import Event, Phase, seconds_of

_COLOURS: Mapping[Phase, str] = {
    "forward": plotting.COLOURS[5],
    "backward": plotting.COLOURS[0],
    "exchange": plotting.COLOURS[1],
    "update": plotting.COLOURS[2],
}
_LARGE = 0.055  # share of the longest step above which a bar has room for a name


@dataclass(frozen=True, kw_only=True)
class Row:
    """One setup: its name, the events of a column's step, and the measured length if known."""

    name: str
    events: Sequence[Event]
    columns: int
    measured: float | None = None


def draw(rows: Sequence[Row], *, note: str) -> Figure:
    """Draw two lanes for each setup: one for the columns' computation, one for the link."""
    longest = max(row.measured or 0.0 for row in rows)
    longest = max(longest, *(seconds_of(row.events) for row in rows))
    with matplotlib.rc_context(plotting.STYLE):
        figure = Figure(figsize=(10, 0.9 + 0.85 * len(rows)), layout="constrained")
        axes = figure.subplots()
        for place, row in enumerate(rows):
            _lanes(axes, row, 1.5 * place, longest)
        axes.set_ylim(1.5 * len(rows) - 0.5, -0.6)
        is_measured = any(row.measured is not None for row in rows)
        axes.set_xlim(0, 1e3 * longest * (1.35 if is_measured else 1.16))
        axes.set_yticks([1.5 * place for place in range(len(rows))], [row.name for row in rows])
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("milliseconds of one training step")
        figure.legend(
            handles=[Patch(color=colour, label=phase) for phase, colour in _COLOURS.items()],
            loc="outside upper center", ncols=len(_COLOURS), frameon=False,
        )  # fmt: skip
        plotting.caption(figure, note)
    return figure


def _lanes(axes: Axes, row: Row, y: float, longest: float) -> None:
    for event in row.events:
        is_exchange = event.phase == "exchange"
        seconds = event.end - event.start
        middle = y + (0.6 if is_exchange else 0.0)
        axes.barh(
            middle, 1e3 * seconds, left=1e3 * event.start, height=0.3 if is_exchange else 0.8,
            color=_COLOURS[event.phase], edgecolor="white", linewidth=0.3,
        )  # fmt: skip
        if seconds > _LARGE * longest and not is_exchange:
            axes.text(
                1e3 * (event.start + event.end) / 2, middle, event.layer,
                ha="center", va="center", fontsize=8,
                color="black" if event.phase == "forward" else "white",
            )  # fmt: skip
    end = seconds_of(row.events)
    text = f"{1e3 * end:.0f} ms"
    if row.measured is not None:
        axes.plot([1e3 * row.measured] * 2, [y - 0.5, y + 0.5], color="black", linewidth=2)
        text = f"modelled {text}, measured {1e3 * row.measured:.0f} ms"
    beside = 1e3 * max(end, row.measured or 0.0)
    axes.text(beside, y, f"  {text}", va="center", fontsize=8)
    if row.columns > 1:
        busy = sum(each.end - each.start for each in row.events if each.phase == "exchange")
        axes.text(beside, y + 0.6, f"  link busy {busy / end:.1%}", va="center", fontsize=8)
