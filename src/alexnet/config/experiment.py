"""What an experiment claims, what it varies and how that is measured.

Written in conf/experiment, kept in sweep.json, read by the report.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from alexnet import vocabulary
from alexnet.config.suggest import did_you_mean

EffectKind = Literal["difference", "ratio"]


class Section(BaseModel):
    """A node of the configuration: these keys and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def plain(self) -> dict[str, Any]:
        """As nested dictionaries, with the keys that people type."""
        return self.model_dump(by_alias=True, mode="json", exclude_unset=True)


class Measure(Section):
    """What is read off a run: a final metric, or the epochs until an error has fallen so far.

    `metric` is a key of the table of metrics. `threshold` is a value of it (an error between 0 and
    1), for epochs_to_error only; a metric of which more is better has to rise to it.

    `printed`, `better` and `is_fraction` are what the table says of a metric that a user has added:
    the report reads them here, for it does not import the user's modules. They are filled in from
    the table, and None for the metrics that every process knows.
    """

    kind: Literal["final", "epochs_to_error"]
    printed: str | None = None
    better: Literal["lower", "higher"] | None = None
    is_fraction: bool | None = None
    metric: str
    threshold: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _described_by_the_table(cls, given: Any) -> Any:
        metric = given.get("metric") if isinstance(given, Mapping) else None
        entry = vocabulary.METRICS.get(metric) if isinstance(metric, str) else None
        if entry is None or entry.factory is None:
            return given
        known = {key: getattr(entry, key) for key in ("printed", "better", "is_fraction")}
        return {**given, **{key: value for key, value in known.items() if given.get(key) is None}}

    @field_validator("metric")
    @classmethod
    def _is_registered(cls, metric: str, info: ValidationInfo) -> str:
        if metric not in vocabulary.METRICS and info.data.get("printed") is None:
            registered = ", ".join(vocabulary.METRICS)
            near = did_you_mean(metric, vocabulary.METRICS)
            hint = f"{near} Registered are" if near.startswith("did you mean") else "choose one of"
            raise ValueError(f"{hint} {registered}")
        return metric

    @model_serializer(mode="wrap")
    def _without_what_the_table_says(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A metric that the program ships is written as it always was: names of sweeps are hashes.
        plain = write(self)
        return {key: plain[key] for key in plain if plain[key] is not None or key == "threshold"}

    @property
    def described(self) -> vocabulary.Metric:
        """What is known of the metric: by this measure, else by the table, else by its name."""
        if self.printed is not None:
            return vocabulary.Metric(
                key=self.metric,
                printed=self.printed,
                better=self.better or "lower",
                is_fraction=bool(self.is_fraction),
            )
        return vocabulary.METRICS.get(self.metric) or unknown_metric(self.metric)

    @property
    def lower_is_better(self) -> bool:
        """Of the measured value. Fewer epochs are always better."""
        return self.kind == "epochs_to_error" or self.described.better == "lower"

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> "Measure":
        if (self.kind == "epochs_to_error") != (self.threshold is not None):
            raise ValueError("epochs_to_error needs a threshold, final has none")
        return self


def unknown_metric(key: str) -> vocabulary.Metric:
    """What is assumed of a metric that is in no table: an error is a fraction, nothing else is."""
    is_error = key.partition("/")[2].startswith("error")
    return vocabulary.Metric(key=key, printed=key, is_fraction=is_error)


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

    @field_validator("name")
    @classmethod
    def _is_a_folder(cls, name: str) -> str:
        if not re.fullmatch(r"\w[\w .+-]*", name) or len(name.encode()) > 100:
            raise ValueError("it names a folder: give letters, digits, _ and -, at most 100")
        return name

    @property
    def no_effect(self) -> float:
        """The value an effect has when the factor does not matter."""
        return 1.0 if self.effect == "ratio" else 0.0
