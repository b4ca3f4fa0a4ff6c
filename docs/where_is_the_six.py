"""Write the table and the figure of docs/where_is_the_six.md from the published sweeps.

python docs/where_is_the_six.py
"""

from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alexnet.files import replacing
from alexnet.plotting import COLOURS, GREY, STYLE, caption, save
from alexnet.results import Sweep, load_sweep
from alexnet.results.compare import compare
from alexnet.results.effects import Effect
from alexnet.results.figures.labels import ratio_ticks
from alexnet.results.search import trials_of
from alexnet.results.text.sensitivity import with_interval

FILE = Path(__file__).with_suffix(".md")
RESULTS = FILE.with_name("results")
BEGIN = "<!-- Made by docs/where_is_the_six.py, from here -->\n"
END = "<!-- to here -->\n"

INITS = {"weights of 2012": "relu_vs_tanh", "He's weights": "relu_vs_tanh_he"}
THRESHOLDS = (0.6, 0.55, 0.5, 0.45, 0.4, 0.35, 0.3, 0.25)
NONLINEARITY, RATE = "model.nonlinearity", "learning.lr"
LINES = ("-", (0, (4, 1.5)))  # an initialization has a line style, and in the left panel a colour


def published(experiment: str) -> list[Sweep]:
    """The published sweeps of an experiment on CIFAR-10."""
    return [load_sweep(folder) for folder in sorted((RESULTS / experiment).glob("cifar10-*"))]


def effects(experiment: str) -> list[Effect]:
    """The ratio of tanh to ReLU at each of the thresholds."""
    [sweep] = published(experiment)
    found = []
    for threshold in THRESHOLDS:
        measure = sweep.experiment.measure.model_copy(update={"threshold": threshold})
        about = sweep.experiment.model_copy(update={"measure": measure})
        [effect] = compare(sweep.outcomes(measure), experiment=about).effects
        found.append(effect)
    return found


def table() -> str:
    """The ratio by threshold and initial weights, in Markdown."""
    columns = [
        [with_interval(effect, published(name)[0].experiment) for effect in effects(name)]
        for name in INITS.values()
    ]
    rows = zip((f"{100 * each:g} %" for each in THRESHOLDS), *columns, strict=True)
    lines = ["| training error | " + " | ".join(INITS) + " |", "|---" * (1 + len(INITS)) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def figure() -> Figure:
    """The ratio by threshold, and the epochs by learning rate, for both initial weights."""
    drawn = Figure(figsize=(10.5, 4.4), layout="constrained")
    left, right = drawn.subplots(1, 2)
    _by_threshold(left)
    _by_rate(right)
    caption(
        drawn,
        "Left: epochs of tanh divided by those of ReLU, at the best rate of each, with 95 % "
        "intervals (n = 3 seeds). Right: a search with one seed; triangles: at least, because "
        "the run had lost and was stopped (He: open) or had used all of its epochs; no mark: "
        "diverged.",
    )
    return drawn


def _by_threshold(axes: Axes) -> None:
    at = [100 * each for each in THRESHOLDS]
    for (label, name), colour, line in zip(INITS.items(), COLOURS[2:], LINES, strict=False):
        found = effects(name)
        axes.plot(at, [e.mean for e in found], color=colour, ls=line, marker="o", ms=4)
        lows, highs = zip(*(e.ci95 for e in found if e.ci95), strict=True)
        axes.fill_between(at, lows, highs, color=colour, alpha=0.15, lw=0)
        axes.annotate(
            label, (at[-1], found[-1].mean or 1.0), (6, 0), textcoords="offset points",
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
        trials = trials_of(sweep.outcomes(), [NONLINEARITY], [RATE])
        for colour, level in zip(COLOURS, ("relu", "tanh"), strict=False):
            mine = sorted(
                (each.levels[RATE], each.value, each.is_bound)
                for each in trials
                if each.arm[NONLINEARITY] == level and each.value is not None
                and each.error_reached is not None
            )  # fmt: skip
            known = [(rate, value) for rate, value, is_bound in mine if not is_bound]
            name = {"relu": "ReLU", "tanh": "tanh"}[level]
            axes.plot(
                *zip(*known, strict=True), color=colour, ls=line, marker="o", ms=5,
                label=f"{name}, {'He' if init == 'he' else '2012'}",
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
    with rc_context(STYLE):
        drawn = figure()
    for path in save({"where_is_the_six": drawn}, RESULTS):
        print(path)
    before, _, rest = FILE.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    with replacing(FILE) as file:
        file.write(f"{before}{BEGIN}\n{table()}\n{END}{after}")


if __name__ == "__main__":
    main()
