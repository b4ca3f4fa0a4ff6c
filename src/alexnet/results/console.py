"""A report as text, printed at the end of a sweep: a row per arm, the verdicts, the page's path."""

from collections.abc import Iterator, Sequence
from typing import TextIO

import numpy as np
from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from alexnet.results import wording
from alexnet.results.compare import Comparison
from alexnet.results.effects import Arm
from alexnet.results.names import printed_arm, printed_level
from alexnet.results.report import Report
from alexnet.results.runs import Sweep
from alexnet.terminal import can_show, columns_of

MOST_ARMS = 12
"""Maximum number of rows of the table; the page has all arms."""

_BARS = "▁▂▃▄▅▆▇█"
_BARS_OF_ASCII = "_.-:=+*#"
_COLOURS = {"yes": "green", "no": "red", "open": "yellow"}
_MOST_EFFECTS = 3
_ENDLESS = 10_000  # columns of a pipe: nothing is wrapped


def console_text(report: Report, stream: TextIO) -> str:
    """Return a table with a curve for each arm, a line for each verdict, and the page's path.

    A terminal gets colours and a link, a pipe plain text. NO_COLOR and TERM=dumb are honoured.
    Lines fit the width of the terminal, except for the path, which can then be copied.
    """
    columns = columns_of(stream)
    console = Console(
        file=stream,
        force_terminal=columns is not None,
        width=columns or _ENDLESS,
        height=25,  # with a width alone, rich takes 80 columns for a dumb terminal
        highlight=False,
    )
    with console.capture() as captured:
        console.print(Text(_headline(report)))
        console.print()
        console.print(_table(report, columns, _BARS if can_show(_BARS, stream) else _BARS_OF_ASCII))
        console.print()
        for warning in _warnings(report):
            console.print(Text(warning, style="yellow"))
        for line in _verdicts(report.comparison):
            if len(line) > console.width:
                line.right_crop(len(line) - console.width + 3)
                line.append("...")
            console.print(line)
        page = Text(str(report.page), style=Style(link=report.page.absolute().as_uri()))
        console.print(Text("report: ") + page, soft_wrap=True)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def _headline(report: Report) -> str:
    """Return the answer as a sentence, without its numbers if there are too many to read."""
    if len(report.comparison.claimed) <= _MOST_EFFECTS:
        return report.line
    return report.line.removesuffix(f" {report.answer}")


def _table(report: Report, columns: int | None, bars: str) -> Table:
    measure = report.experiment.measure
    arms = report.comparison.arms[:MOST_ARMS]
    width = 20 if columns is None else max(6, min(24, columns // 5))
    curves, last = _mean_curves(report.sweep, arms, width)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    metric = wording.metric_named(report.sweep.curve_metric, measure).printed
    table.add_column("arm", overflow="fold")
    has_curves = last > 0
    if has_curves:
        table.add_column(f"{metric} in {wording.count(last, 'epoch')}", min_width=width)
    table.add_column(f"{wording.name_of_measure(measure)} (95 % interval)", overflow="fold")
    table.add_column("n", overflow="fold")
    for arm, curve in zip(arms, _sparklines(curves, bars), strict=True):
        interval = wording.interval(arm.ci95, lambda number: wording.value(number, measure))
        measured = wording.arm_mean(arm, measure)
        measured += f" ({interval})" if interval != "-" else ""
        n = ", ".join(filter(None, [str(arm.n), wording.lost_in(arm)]))
        bars_if_any = [curve] if has_curves else []
        table.add_row(*map(Text, (_name(arm, report), *bars_if_any, measured, n)))
    return table


def _name(arm: Arm, report: Report) -> str:
    """Return the levels of an arm, and those that a search found best for it."""
    found = (best.levels for best in report.comparison.best if best.arm == arm.levels)
    levels = [printed_level(key, level) for each in found for key, level in each.items()]
    return printed_arm(arm) + (f" (best: {', '.join(levels)})" if levels else "")


def _warnings(report: Report) -> Iterator[str]:
    sweep, comparison = report.sweep, report.comparison
    if (hidden := len(comparison.arms) - MOST_ARMS) > 0:
        yield f"{wording.count(hidden, 'more arm')}: see the report"
    if sweep.ended < len(sweep.runs):
        yield f"{sweep.ended} of {len(sweep.runs)} runs so far: the numbers are preliminary"
    if comparison.problem:
        yield f"No verdict: {comparison.problem}"


def _verdicts(comparison: Comparison) -> Iterator[Text]:
    verdicts = wording.verdicts(comparison)
    for number, (claim, verdict) in enumerate(verdicts, start=1):
        colour = _COLOURS.get(wording.kind_of(verdict), "")  # none for an analogue
        which = f"{number}. " if len(verdicts) > 1 else ""
        yield Text.assemble(which, (verdict, f"bold {colour}".strip()), f": {claim}")


# Curves as lines of characters


def _mean_curves(sweep: Sweep, arms: Sequence[Arm], width: int) -> tuple[list[np.ndarray], float]:
    """Return the mean curve of each arm, at most `width` values, and the last epoch of all arms.

    All arms share one scale of epochs: an arm that was trained for fewer epochs has fewer values. A
    mean ends where the first run of its arm ends. Unfinished runs are left out unless there are no
    others.
    """
    metric = sweep.curve_metric
    curves = []
    for arm in arms:
        runs = [each.run for each in arm.measured] or [each.run for each in arm.outcomes]
        curves.append([curve for run in runs if not (curve := sweep.curve(run, metric)).empty])
    last = max((float(each["epoch"].iloc[-1]) for arm in curves for each in arm), default=0.0)
    width = min(width, max((len(each) for arm in curves for each in arm), default=0))
    means = []
    for arm_curves in curves:
        end = min((float(each["epoch"].iloc[-1]) for each in arm_curves), default=0.0)
        count = max(1, round(width * end / last)) if arm_curves and last else 0
        epochs = (np.arange(count) + 0.5) * last / width
        values = [np.interp(epochs, each["epoch"], each[metric]) for each in arm_curves]
        means.append(np.mean(values, axis=0) if count else np.empty(0))
    return means, last


def _sparklines(curves: Sequence[np.ndarray], bars: str) -> list[str]:
    """Draw each curve as bars, scaled from the lowest value of all curves to the highest.

    A value that is not finite, because its run diverged, gets the highest bar.
    """
    known = np.concatenate([np.empty(0), *curves])
    known = known[np.isfinite(known)]
    low, high = (known.min(), known.max()) if len(known) else (0.0, 0.0)
    top = len(bars) - 1
    scale = top / (high - low) if high > low else 0.0
    return [
        "".join(bars[round((each - low) * scale) if np.isfinite(each) else top] for each in curve)
        for curve in curves
    ]
