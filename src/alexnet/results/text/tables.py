"""The tables of a report: arms, effects, and the times of runs that did not reach the error."""

from collections.abc import Iterator

from alexnet.config.experiment import Experiment
from alexnet.results import wording
from alexnet.results.compare import Comparison
from alexnet.results.effects import Fate, level_label
from alexnet.results.parts import Part, Table
from alexnet.results.search import SEARCH_FILE
from alexnet.results.statistics import holm
from alexnet.results.survival import Pair, Survival


def arms_table(comparison: Comparison, experiment: Experiment) -> Table:
    """Return a row per arm: n, mean, interval, the value of each seed, and counts of other runs."""
    measure = experiment.measure
    keys = list(comparison.arms[0].levels) if comparison.arms else []
    lost: tuple[Fate, ...] = ("diverged", "failed", "unfinished", "missing")
    if any(arm.count("unmeasured") for arm in comparison.arms):
        lost = ("unmeasured", *lost)
    rows = []
    for arm in comparison.arms:
        rows.append(
            [
                *map(level_label, arm.levels.values()),
                str(arm.n),
                wording.arm_mean(arm, measure),
                wording.interval(arm.ci95, lambda number: wording.value(number, measure)),
                wording.values(arm, measure),
                str(arm.censored),
                *(str(arm.count(fate)) for fate in lost),
            ]
        )
    name = wording.name_of_measure(measure)
    head = [*keys, "n", name, "95 % interval", "by seed", "censored", *lost]
    return Table(head, rows)


def best_levels(comparison: Comparison) -> Iterator[Part]:
    """Yield the levels that a search found best for each arm."""
    if not comparison.best:
        return
    rows = []
    for best in comparison.best:
        arm = ", ".join(map(level_label, best.arm.values()))
        levels = (
            level_label(level) + (" (on the edge)" if key in best.on_edge else "")
            for key, level in best.levels.items()
        )
        rows.append([arm or "all runs", *levels])
    yield Table(["arm", *(f"best `{key}`" for key in comparison.best[0].levels)], rows)
    if any(best.at_edge for best in comparison.best):
        yield "On the edge of what was searched: a better level may lie beyond."
    yield (
        f"`{SEARCH_FILE}` holds the search for other experiments: copy it to "
        "`conf/searches/NAME.yaml`, or to `searches/NAME.yaml` in a folder of your own."
    )


def effects(comparison: Comparison, experiment: Experiment) -> Iterator[Part]:
    """Yield the section of effects, if there are any."""
    if not comparison.effects:
        return
    yield "## Effects"
    yield effects_table(comparison, experiment)
    if comparison.contains_paper_value is not None:
        does = "contains" if comparison.contains_paper_value else "does not contain"
        yield f"The interval {does} the paper's value."


def effects_table(comparison: Comparison, experiment: Experiment) -> Table:
    """Return a row per effect, with p adjusted over the rows."""
    claimed = experiment.paper.value if experiment.paper else None
    paper = wording.paper_value(claimed, experiment) if claimed is not None else "no number"
    adjusted = holm([effect.p for effect in comparison.effects])
    rows = []
    for effect, p in zip(comparison.effects, adjusted, strict=True):
        mean = wording.effect_value(effect.mean, experiment)
        if effect.bound == "neither":
            mean = "censored on both sides"
        elif effect.bound is not None:
            mean = f"{'at least' if effect.bound == 'lower' else 'at most'} {mean}"
        rows.append(
            [
                effect.of,
                mean,
                wording.interval(
                    effect.ci95, lambda number: wording.effect_value(number, experiment)
                ),
                wording.p_value(effect.p),
                wording.p_value(p),
                paper if effect is comparison.papers_effect else "-",
                str(effect.n),
                ", ".join(map(str, effect.left_out)) or "-",
            ]
        )
    unit = wording.effect_unit(experiment)
    head = ["effect", f"{experiment.effect} ({unit})", "95 % interval", "p", "adjusted"]
    return Table([*head, "paper", "n", "seeds left out"], rows)


def survival(found: Survival, experiment: Experiment) -> Iterator[Part]:
    """Yield the section of times to an error, which includes runs that never reached it."""
    yield "## Runs that did not reach the threshold"
    pairs: list[Pair | None] = [None, *found.pairs]
    head = ["arm", "n", "not reached", "restricted mean (epochs)", "ratio", "log-rank p"]
    yield Table(
        head,
        [
            [
                curve.label,
                str(curve.n),
                str(len(curve.censored)),
                wording.value(curve.restricted_mean, experiment.measure),
                f"{pair.ratio:.2f}" if pair and pair.ratio is not None else "-",
                wording.p_value(pair.p if pair else None),
            ]
            for curve, pair in zip(found.curves, pairs, strict=True)
        ],
    )
    yield (
        f"The mean of min(T, {found.until:.4g} epochs) by the Kaplan-Meier estimate, its ratio to "
        f"that of {found.curves[0].label}, and a log-rank test by permutation. Runs that diverged "
        "count as not having reached the threshold. Nothing here is paired by seed, and no verdict "
        "depends on it."
    )
