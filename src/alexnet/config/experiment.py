"""What an experiment claims, what it varies and how that is measured.

Written in conf/experiment, kept in sweep.json, read by the report.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator

EffectKind = Literal["difference", "ratio"]
Metric = Literal[
    "train/loss", "train/error", "val/loss", "val/error", "val/error_top5",
    "test/loss", "test/error", "test/error_top5",
]  # fmt: skip


class Section(BaseModel):
    """A node of the configuration: these keys and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def plain(self) -> dict[str, Any]:
        """As nested dictionaries, with the keys that people type."""
        return self.model_dump(by_alias=True, mode="json", exclude_unset=True)


class Measure(Section):
    """What is read off a run: a final metric, or the epochs until an error has fallen so far.

    `threshold` is an error between 0 and 1, for epochs_to_error only.
    """

    kind: Literal["final", "epochs_to_error"]
    metric: Metric
    threshold: float | None = None

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> "Measure":
        if (self.kind == "epochs_to_error") != (self.threshold is not None):
            raise ValueError("epochs_to_error needs a threshold, final has none")
        return self


class Paper(Section):
    """The effect that the paper prints: a ratio, or a difference of fractions."""

    value: float
    note: str = ""


class Experiment(Section):
    """A claim of the paper, or (claim None) a sweep of any key.

    `baseline` is what the others are compared with, a level of the factor or of each factor; by
    default the first level of each. `search` is a key that
    is tuned for every arm separately and no part of the claim, as the learning rate in Figure 1.
    `claimed_levels` are those which the claim says are worse than the first; none: all others.
    """

    name: str
    section: str | None = None
    claim: str | None = None
    factor: tuple[str, ...]
    claimed_levels: tuple[str, ...] = ()
    measure: Measure
    effect: EffectKind
    paper: Paper | None = None
    search: str | None = None
    notes: str | None = None
    baseline: str | dict[str, Any] | None = None

    @property
    def no_effect(self) -> float:
        """The value an effect has when the factor does not matter."""
        return 1.0 if self.effect == "ratio" else 0.0
