"""What a time in epochs is in seconds and in arithmetic: epochs of two arms may differ in both."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from alexnet.config.experiment import Experiment
from alexnet.results.compare import Comparison, compare
from alexnet.results.effects import Arm, Outcome
from alexnet.results.findings import Findings
from alexnet.results.parts import Part, Table
from alexnet.results.runs import Sweep
from alexnet.results.text.sensitivity import with_interval

_PASSES = 3
"""Forward, and twice as much backward: the gradients of weights and of activities."""


def in_seconds_and_flop(findings: Findings) -> Iterator[Part]:
    """The times of a time to an error, and their ratios, in epochs, seconds and FLOP."""
    sweep, experiment = findings.sweep, findings.experiment
    if experiment.measure.kind != "epochs_to_error" or findings.comparison.searched:
        return
    images = _images_of_an_epoch(sweep)
    known = {}
    for unit, of_an_image in (
        ("seconds", _seconds_of_an_image(sweep)),
        ("FLOP", _flop_of_an_image(sweep)),
    ):
        of_an_epoch = {
            run: images[run] * each for run, each in of_an_image.items() if run in images
        }
        if compared := _compared(sweep, experiment, of_an_epoch):
            known[unit] = compared
    if not known:
        return
    yield "## The same in seconds and in FLOP"
    units = {"epochs": findings.comparison, **known}
    rows = [
        [arm.label, *(_mean(compared, arm, unit) for unit, compared in units.items())]
        for arm in findings.comparison.arms
    ]
    for effect in findings.comparison.claimed:
        found = [
            next((each for each in compared.claimed if each.of == effect.of), None)
            for compared in units.values()
        ]
        cells = ("-" if each is None else with_interval(each, experiment) for each in found)
        rows.append([effect.of, *cells])
    yield Table(["", *units], rows)
    yield (
        "Seconds are those of training at the median speed of a run's epochs: they depend on the "
        "machine and on what else it did. FLOP are counted by torch in one image's forward pass "
        "(convolutions and matrix products, two for a multiply-add) and taken three times for "
        "training. These rows are not tests."
    )


def _compared(
    sweep: Sweep, experiment: Experiment, of_an_epoch: Mapping[str, float]
) -> Comparison | None:
    """The same comparison in another unit; None if an epoch of some measured run is not known."""
    outcomes = sweep.outcomes()
    if any(each.value is not None and each.run not in of_an_epoch for each in outcomes):
        return None

    def converted(each: Outcome) -> Outcome:
        if each.value is None:
            return each
        return replace(each, value=each.value * of_an_epoch[each.run])

    return compare([converted(each) for each in outcomes], experiment=experiment)


def _images_of_an_epoch(sweep: Sweep) -> dict[str, float]:
    if not {"images", "epoch"} <= set(sweep.progress):
        return {}
    rows = sweep.progress.dropna(subset=["images", "epoch"]).groupby("run")[["images", "epoch"]]
    last = rows.last()
    return (last["images"] / last["epoch"]).to_dict()


def _seconds_of_an_image(sweep: Sweep) -> dict[str, float]:
    if "images_per_second" not in sweep.metrics:
        return {}
    speeds = sweep.metrics.groupby("run")["images_per_second"].median()
    return {run: 1 / speed for run, speed in speeds.items() if speed > 0}


def _flop_of_an_image(sweep: Sweep) -> dict[str, float]:
    forward = {run: each.get("forward_flop") for run, each in sweep.provenance.items()}
    return {run: _PASSES * flop for run, flop in forward.items() if flop}


def _mean(comparison: Comparison, arm: Arm, unit: str) -> str:
    """The mean of the same arm in another unit."""
    there = next(each for each in comparison.arms if each.levels == arm.levels)

    def write(number: float) -> str:
        if unit == "FLOP":
            return f"{number:.2e}"
        return f"{number:#.3g}" if number < 100 else f"{number:,.0f}"

    if there.limit is not None:
        return f"more than {write(there.limit)} in {len(there.limits)} of {there.n}"
    return "-" if there.mean is None else write(there.mean)
