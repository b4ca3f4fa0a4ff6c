"""What an experiment claims, what it varies and how it is measured, as `sweep.json` states it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from alexnet import factors

Level = str | int | float | bool | None
EffectKind = Literal["ratio", "difference"]
MeasureKind = Literal["epochs_to_error", "final"]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What is read off a run. `threshold` is an error between 0 and 1, for epochs_to_error only."""

    kind: MeasureKind
    metric: str
    threshold: float | None = None


@dataclass(frozen=True, kw_only=True)
class Paper:
    """The effect the paper prints, where it prints one: a ratio, or a difference of fractions."""

    value: float | None
    note: str


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A claim of the paper, or (claim None) a sweep of any key.

    The first level of each factor is what the paper proposes: the baseline. `search` is a key that
    is tuned for every arm separately and no part of the claim, as the learning rate in Figure 1.
    """

    name: str
    factor: tuple[str, ...]
    measure: Measure
    effect: EffectKind
    section: str | None = None
    claim: str | None = None
    paper: Paper | None = None
    search: str | None = None
    notes: str = ""

    @property
    def no_effect(self) -> float:
        """The value an effect has when the factor does not matter."""
        return 1.0 if self.effect == "ratio" else 0.0


def parse_experiment(content: Mapping[str, Any]) -> Experiment:
    """Read the `experiment` of sweep.json. Raises ValueError naming the key that is wrong."""
    try:
        measure, paper = content["measure"], content.get("paper")
        experiment = Experiment(
            name=content["name"],
            factor=tuple(content["factor"]),
            measure=Measure(
                kind=measure["kind"],
                metric=measure["metric"],
                threshold=measure.get("threshold"),
            ),
            effect=content["effect"],
            section=content.get("section"),
            claim=content.get("claim"),
            paper=paper and Paper(value=paper.get("value"), note=paper.get("note") or ""),
            search=content.get("search"),
            notes=content.get("notes") or "",
        )
    except KeyError as missing:
        raise ValueError(f"the experiment lacks the key {missing}") from None
    measure = experiment.measure
    if measure.kind not in get_args(MeasureKind):
        raise ValueError(
            f"measure.kind is {measure.kind!r}: expected one of {get_args(MeasureKind)}"
        )
    if experiment.effect not in get_args(EffectKind):
        raise ValueError(f"effect is {experiment.effect!r}: expected one of {get_args(EffectKind)}")
    if measure.kind == "epochs_to_error" and measure.threshold is None:
        raise ValueError("measure.threshold is missing: epochs_to_error needs the error to reach")
    return experiment


def is_error(metric: str) -> bool:
    """Whether a metric is a fraction between 0 and 1, printed in per cent."""
    return metric.partition("/")[2].startswith("error")


METRIC_NAMES = {
    factors.TRAIN_LOSS: "training loss",
    factors.TRAIN_ERROR: "training error",
    factors.VAL_LOSS: "validation loss",
    factors.VAL_ERROR: "validation error",
    factors.VAL_ERROR_TOP5: "top-5 validation error",
    factors.TEST_LOSS: "test loss",
    factors.TEST_ERROR: "test error",
    factors.TEST_ERROR_TOP5: "top-5 test error",
}
