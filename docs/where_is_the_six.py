"""Write the table and the figure of docs/where_is_the_six.md.

    python docs/where_is_the_six.py

They are made from the published sweeps: run docs/results.py first.
"""

from collections.abc import Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alexnet.files import replacing
from alexnet.plotting import COLOURS, GREY, STYLE, caption, save
from alexnet.results import Sweep, load_sweep
from alexnet.results.effects import Effect
from alexnet.results.figures.labels import ratio_ticks
from alexnet.results.names import printed_level
from alexnet.results.parts import Table
from alexnet.results.search import trials_of
from alexnet.results.text.sensitivity import compared_at, thresholds, with_interval

FILE = Path(__file__).with_suffix(".md")
RESULTS = FILE.with_name("results")
BEGIN = "<!-- Made by docs/where_is_the_six.py, from here -->\n"
END = "<!-- to here -->\n"

INITS = {"weights of 2012": "relu_vs_tanh", "He's weights": "relu_vs_tanh_he"}
NONLINEARITY, RATE = "model.nonlinearity", "learning.lr"
LINES = ("-", (0, (4, 1.5)))  # an initialization has a line style, and in the left panel a colour

Effects = dict[float, Effect]
"""The ratio of tanh to ReLU by threshold."""


def published(experiment: str) -> list[Sweep]:
    """The published sweeps of an experiment on CIFAR-10."""
    return [load_sweep(folder) for folder in sorted((RESULTS / experiment).glob("cifar10-*"))]


def measured() -> list[Effects]:
    """The ratios for each kind of initial weights, down to the threshold at which runs ended."""
    found = []
    for name in INITS.values():
        [sweep] = published(name)
        last = sweep.experiment.measure.threshold or 0.0
        reached = [each for each in thresholds(sweep.experiment.measure) if each >= last]
        found.append({each: compared_at(sweep, each).effects[0] for each in reached})
    return found


def table(found: Sequence[Effects] | None = None) -> str:
    """The ratio by threshold and initial weights, in Markdown."""
    experiment = published(next(iter(INITS.values())))[0].experiment
    found = measured() if found is None else found
    rows = [
        [f"{100 * threshold:g} %", *(with_interval(each[threshold], experiment) for each in found)]
        for threshold in found[0]
    ]
    return f"{Table(['training error', *INITS], rows)}\n"


def figure(found: Sequence[Effects]) -> Figure:
    """The ratio by threshold, and the epochs by learning rate, for both initial weights."""
    drawn = Figure(figsize=(10.5, 4.4), layout="constrained")
    left, right = drawn.subplots(1, 2)
    _by_threshold(left, found)
    _by_rate(right)
    caption(
        drawn,
        "Left: epochs of tanh divided by those of ReLU, at the best rate of each, with 95 % "
        "intervals (n = 3 seeds). Right: a search with one seed; triangles: at least, because "
        "the run had lost and was stopped (He: open) or had used all of its epochs; no mark: "
        "diverged.",
    )
    return drawn


def _by_threshold(axes: Axes, found: Sequence[Effects]) -> None:
    for label, effects, colour, line in zip(INITS, found, COLOURS[2:], LINES, strict=False):
        at = [100 * each for each in effects]
        means = [each.mean for each in effects.values()]
        axes.plot(at, means, color=colour, ls=line, marker="o", ms=4)
        lows, highs = zip(*(each.ci95 for each in effects.values() if each.ci95), strict=True)
        axes.fill_between(at, lows, highs, color=colour, alpha=0.15, lw=0)
        axes.annotate(
            label, (at[-1], means[-1]), (6, 0), textcoords="offset points",
            color=colour, va="center", fontweight="bold",
        )  # fmt: skip
    axes.plot((at[0], at[-1]), (6, 6), color=GREY, lw=1, ls=":")
    axes.annotate("the paper", (60, 6), (0, 3), textcoords="offset points", color=GREY)
    axes.axhline(1, color=GREY, lw=1)
    axes.set(xlabel="training error reached (%)", title="tanh vs ReLU (times)", yscale="log")
    axes.set(xlim=(62, 13), xticks=(60, 50, 40, 30, 25))
    ratio_ticks(axes.yaxis)


def _by_rate(axes: Axes) -> None:
    for sweep in published("relu_vs_tanh_lr"):
        init = {each["model"]["init"] for each in sweep.configs.values()}.pop()
        line = LINES[init == "he"]
        trials = [
            each
            for each in trials_of(sweep.outcomes(), sweep.experiment)
            if all(outcome.fate != "diverged" for outcome in each.outcomes)
        ]
        for colour, level in zip(COLOURS, ("relu", "tanh"), strict=False):
            mine = sorted(
                (each.levels[RATE], each.value, each.is_bound)
                for each in trials
                if each.arm[NONLINEARITY] == level
            )
            known = [(rate, value) for rate, value, is_bound in mine if not is_bound]
            axes.plot(
                *zip(*known, strict=True), color=colour, ls=line, marker="o", ms=5,
                label=f"{printed_level(NONLINEARITY, level)}, {'He' if init == 'he' else '2012'}",
            )  # fmt: skip
            bounds = [(rate, value) for rate, value, is_bound in mine if is_bound]
            fill = colour if init == "source_2012" else "white"
            axes.plot(*zip(*bounds, strict=True), color=colour, ls="", marker="^", mfc=fill, ms=5)
    axes.set(xlabel="learning rate", xscale="log", yscale="log", ylim=(4, 75))
    axes.set_title("epochs to 25 % training error")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(0, 0.72))
    ticks = (0.001, 0.004, 0.016, 0.064)
    axes.set_xticks(ticks, map(str, ticks))
    axes.minorticks_off()
    ratio_ticks(axes.yaxis)


def main() -> None:
    """Write the table into the page, and the figure beside the results."""
    found = measured()
    with rc_context(STYLE):
        drawn = figure(found)
    for path in save({"where_is_the_six": drawn}, RESULTS):
        print(path)
    before, _, rest = FILE.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    with replacing(FILE) as file:
        file.write(f"{before}{BEGIN}\n{table(found)}\n{END}{after}")


if __name__ == "__main__":
    main()
