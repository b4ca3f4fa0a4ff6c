"""The description of an experiment: what it claims, what it varies, and how that is measured.

It is written in conf/experiment, kept in sweep.json, and read by the report.
"""

import re
from collections.abc import Iterable, Mapping
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
from alexnet.crossing import epochs_to_error

EffectKind = Literal["difference", "ratio"]
Level = str | int | float | bool | None


class Section(BaseModel):
    """A node of the configuration, which accepts only its declared keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)

    def plain(self) -> dict[str, Any]:
        """Return nested dictionaries, with the keys as users type them."""
        return self.model_dump(by_alias=True, mode="json", exclude_unset=True)


class Measure(Section):
    """What is measured on each run: a final metric, or the epochs until it reaches a threshold.

    `metric` is a key of the table of metrics. `threshold` is the value that it must reach (for an
    error a number between 0 and 1) and is given for epochs_to_error only: the metric must fall to
    it, or rise to it if higher is better.

    `printed`, `better` and `is_fraction` describe a metric that a user has added. They are filled
    in from the table of metrics, because the report does not import the user's modules, and are
    None for the built-in metrics.
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
        # A built-in metric is written as in version 0.1, because sweep names are hashes of it.
        plain = write(self)
        return {key: plain[key] for key in plain if plain[key] is not None or key == "threshold"}

    @property
    def described(self) -> vocabulary.Metric:
        """Description of the metric: from this measure, else the table, else its name."""
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
        """Whether a lower measured value is better; fewer epochs always are."""
        return self.kind == "epochs_to_error" or self.described.better == "lower"

    def of_curve(self, epochs: Iterable[float], values: Iterable[float]) -> tuple[float, bool]:
        """What a finished run with this curve of the metric measures, and whether it is censored.

        A censored run ended before it reached the threshold: its value is how many epochs
        it was trained. Raises ValueError for a curve without rows.
        """
        if self.kind == "epochs_to_error":
            assert self.threshold is not None
            return epochs_to_error(
                epochs,
                values,
                threshold=self.threshold,
                better=self.described.better,
                are_means=self.described.stage == "train",
            )
        rows = list(values)
        if not rows:
            raise ValueError("no rows to take the last one of")
        return float(rows[-1]), False

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> "Measure":
        if (self.kind == "epochs_to_error") != (self.threshold is not None):
            raise ValueError("epochs_to_error needs a threshold, and final must have none")
        return self


def unknown_metric(key: str) -> vocabulary.Metric:
    """Describe a metric that is not in the table: an error is a fraction, nothing else is."""
    is_error = key.partition("/")[2].startswith("error")
    return vocabulary.Metric(key=key, printed=key, is_fraction=is_error)


def same_level(one: Any, other: Any) -> bool:
    """Whether two levels have the same value, as typed: 0 and 0.0, "5e-4" and 0.0005."""
    left, right = _as_value(one), _as_value(other)
    return bool(isinstance(left, bool) == isinstance(right, bool) and left == right)


def _as_value(level: Any) -> Any:
    if not isinstance(level, str):
        return level
    try:
        return float(level)  # YAML reads 5e-4 as text
    except ValueError:
        return {"true": True, "false": False, "null": None}.get(level.lower(), level)


class Size(Section):
    """How large an effect is claimed to be.

    about     within `margin` of `value`: for a difference value -+ margin, for a ratio value
              divided or multiplied by margin (6 with margin 1.5 is 4 to 9)
    at_least  `value` or more
    within    no difference larger than `margin`; `value` is not used

    Errors are between 0 and 1: 1.4 % is 0.014. Without a margin, "about" can be contradicted but
    never confirmed.
    """

    kind: Literal["about", "at_least", "within"]
    value: float | None = None
    margin: float | None = None

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> "Size":
        if self.kind == "within" and self.margin is None:
            raise ValueError("within needs a margin: the largest difference that counts as equal")
        if self.kind != "within" and self.value is None:
            raise ValueError(f"{self.kind} needs a value")
        return self


class Claim(Section):
    """One statement that a sweep can support or contradict.

    `by` says who makes it: the paper, a log of 2012, or us. `data` (a file of conf/data) and
    `network` (a class) say where it applies: on other data or with another network the same
    experiment is an analogue and gets no verdict on the claim. A sweep with another number of test
    `images`, which distinguishes data sets of the same name, is an analogue, too, and so is one of
    networks that were trained for fewer `epochs`. `direction` says how the baseline compares with
    `levels` (default: all other levels): better, worse or equal; "value" makes a claim about the
    measure itself. `measure` and `effect` replace those of the experiment.
    """

    by: Literal["paper", "log", "us"]
    text: str
    data: str | None = None
    network: str | None = None
    images: int | None = None
    epochs: int | None = None
    levels: tuple[str | float | bool, ...] = ()
    direction: Literal["better", "worse", "equal", "value"] = "better"
    size: Size | None = None
    measure: Measure | None = None
    effect: EffectKind | None = None
    note: str = ""

    @model_validator(mode="after")
    def _equality_has_a_margin(self) -> "Claim":
        if (self.direction == "equal") != (self.size is not None and self.size.kind == "within"):
            raise ValueError("direction: equal requires size: {kind: within, margin: ...}")
        if self.direction == "value" and self.size is None:
            raise ValueError("direction: value needs size: the claimed value")
        return self


class Paper(Section):
    """The effect that the paper prints: a ratio, or a difference of fractions."""

    value: float
    note: str = ""


class Experiment(Section):
    """What is varied, how it is measured and what is claimed; without claims, a sweep of any key.

    `baseline` is the level of the factor, or of each factor, that the others are compared with
    (default: the first level of each). If it is not among the levels, there are no effects.
    `search` is the key, or the keys, tuned for every arm separately, such as the learning rate in
    Figure 1; it is not part of the claim.

    Files of version 0.1, with `claim`, `claimed_levels` and `paper` instead of `claims`, are read
    as one claim.
    """

    name: str
    section: str | None = None
    claims: tuple[Claim, ...] = ()
    factor: tuple[str, ...]
    measure: Measure
    effect: EffectKind
    search: str | tuple[str, ...] | None = None
    notes: str | None = None
    baseline: str | float | bool | dict[str, Any] | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_0_1(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or not {"claim", "paper", "claimed_levels"} & set(given):
            return given
        new = {key: given[key] for key in given if key not in ("claim", "paper", "claimed_levels")}
        text, paper = given.get("claim"), given.get("paper")
        if text is None and paper is None:
            return new
        if isinstance(paper, Mapping):
            paper = Paper.model_validate(paper)
        is_papers = paper is not None or given.get("section") is not None
        claim = {
            "by": "paper" if is_papers else "us",
            "text": text or "",
            "levels": given.get("claimed_levels") or (),
            "size": {"kind": "about", "value": paper.value} if paper else None,
            "note": paper.note if paper else "",
        }
        return {**new, "claims": [claim]}

    def of_0_1(self) -> dict[str, Any]:
        """The first claim under the keys of version 0.1."""
        paper = self.paper
        return {
            "claim": self.claim,
            "claimed_levels": list(self.claims[0].levels) if self.claims else [],
            "paper": {"value": paper.value, "note": paper.note} if paper else None,
        }

    @property
    def claim(self) -> str | None:
        """Text of the first claim."""
        return self.claims[0].text if self.claims else None

    @property
    def paper(self) -> Paper | None:
        """The effect that the first claim states, if it states one."""
        if not self.claims or self.claims[0].size is None:
            return None
        size, note = self.claims[0].size, self.claims[0].note
        return Paper(value=size.value, note=note) if size.value is not None else None

    def about(self, claim: Claim) -> "Experiment":
        """The experiment with the measure and the kind of effect of this claim."""
        changes: dict[str, Any] = {"claims": (claim,)}
        if claim.measure is not None:
            changes["measure"] = claim.measure
        if claim.effect is not None:
            changes["effect"] = claim.effect
        return self.model_copy(update=changes)

    @field_validator("name")
    @classmethod
    def _is_a_folder(cls, name: str) -> str:
        if not re.fullmatch(r"\w[\w .+-]*", name) or len(name.encode()) > 100:
            raise ValueError("it names a folder: give at most 100 letters, digits, _ and -")
        return name

    @property
    def searched(self) -> tuple[str, ...]:
        """The keys of `search`, as a tuple."""
        return (self.search,) if isinstance(self.search, str) else self.search or ()

    @property
    def no_effect(self) -> float:
        """The value of an effect if the factor makes no difference: 1 for a ratio, else 0."""
        return 1.0 if self.effect == "ratio" else 0.0
