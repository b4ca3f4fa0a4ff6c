"""Tables of levels (what can be varied) and metrics (what is measured). Imports nothing heavy.

Users add to both tables in a module that `imports: [my_lab.levels]` names.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt

# Types of numbers for constructors: the configuration's schema is read from their signatures.
Positive = Annotated[int, Gt(0)]
Count = Annotated[int, Ge(0)]
Rate = Annotated[float, Ge(0)]
Above0 = Annotated[float, Gt(0)]
Probability = Annotated[float, Ge(0), Lt(1)]
Fraction = Annotated[float, Gt(0), Le(1)]
Share = Annotated[float, Gt(0), Lt(1)]

Factory = str | Callable[..., Any]
"""A callable that makes a module, or its dotted name, which is imported when it is needed."""

LEVELS: dict[str, dict[str, Factory]] = {
    # Section 3.1. ReLU does not saturate for positive input; tanh and sigmoid saturate.
    "nonlinearity": {
        "relu": "torch.nn.ReLU",
        "tanh": "torch.nn.Tanh",
        "sigmoid": "torch.nn.Sigmoid",
        "gelu": "torch.nn.GELU",
        "silu": "torch.nn.SiLU",
        "leaky_relu": "torch.nn.LeakyReLU",
    },
    # Section 3.3; batch normalization is from 2015. Networks have their own constants for lrn.
    "normalization": {
        "lrn": "alexnet.model.LocalResponseNorm",
        "none": "torch.nn.Identity",
        "batch": "alexnet.model.BatchNorm",
    },
    # Section 3.4: windows of 3 with stride 2, or windows of 2 with stride 2; or means of 3 x 3.
    "pooling": {
        "overlapping": "alexnet.model.pooling.overlapping",
        "non_overlapping": "alexnet.model.pooling.non_overlapping",
        "average": "alexnet.model.pooling.average",
    },
}
"""Factor -> level -> factory, which is called with those of `channels` and `columns` it accepts."""


def add_level(factor: str, name: str, factory: Factory) -> None:
    """Register a level, so that `model.<factor>=<name>` uses the factory in every network.

    The networks are those that have the factor. Raises ValueError for an unknown factor, and for a
    name that is already registered with another factory.
    """
    levels = LEVELS.get(factor)
    if levels is None:
        raise ValueError(f"unknown factor {factor!r}: choose one of {', '.join(LEVELS)}")
    if levels.setdefault(name, factory) != factory:
        raise ValueError(f"{factor}={name} already exists: choose another name")


@dataclass(frozen=True)
class LevelOf:
    """Marks an argument as a level of a factor: Annotated[str, LevelOf("nonlinearity")]."""

    factor: str

    def check(self, level: str) -> str:
        """Return the level. Raises ValueError that lists the levels if it is not one of them."""
        if level not in LEVELS[self.factor]:
            *others, last = LEVELS[self.factor]
            raise ValueError(f"choose {', '.join(others)} or {last}")
        return level

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(self.check, handler(source))


Nonlinearity = Annotated[str, LevelOf("nonlinearity")]
"""A level of model.nonlinearity (section 3.1)."""

Normalization = Annotated[str, LevelOf("normalization")]
"""A level of model.normalization (section 3.3)."""

Pooling = Annotated[str, LevelOf("pooling")]
"""A level of model.pooling (section 3.4)."""

Initialization = Literal["paper", "source_2012", "he"]
"""Initial weights: as printed (section 5), as in the 2012 program, or scaled to the fan-in."""

MiddleLayer = Literal["conv3", "conv4", "conv5"]
"""The convolutions that can be removed (section 7)."""

Stage = Literal["train", "val", "test", "ten_views"]
"""What a metric is measured on; ten_views: ten views of each test image (src/evaluate.py)."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric with the key stage/name, which runs record and an experiment can measure.

    `printed` is its name in reports. `factory` makes a torchmetrics.Metric that is updated with
    logits (N, classes) and labels (N,); None for the built-in metrics. A fraction is between 0 and
    1 and is printed in per cent.
    """

    key: str
    printed: str
    better: Literal["lower", "higher"] = "lower"
    is_fraction: bool = True
    factory: Factory | None = None

    @property
    def stage(self) -> str:
        """The part of the key before the slash: train, val, test or ten_views."""
        return self.key.partition("/")[0]


# Metrics are named stage/name. An error is a fraction between 0 and 1, counted over samples.
TRAIN_LOSS = "train/loss"
TRAIN_ERROR = "train/error"
VAL_LOSS = "val/loss"
VAL_ERROR = "val/error"
VAL_ERROR_TOP5 = "val/error_top5"
TEST_LOSS = "test/loss"
TEST_ERROR = "test/error"
TEST_ERROR_TOP5 = "test/error_top5"
TEN_VIEWS_ERROR = "ten_views/error"
TEN_VIEWS_ERROR_TOP5 = "ten_views/error_top5"

METRICS: dict[str, Metric] = {
    metric.key: metric
    for metric in (
        Metric(key=TRAIN_LOSS, printed="training loss", is_fraction=False),
        Metric(key=TRAIN_ERROR, printed="training error"),
        Metric(key=VAL_LOSS, printed="validation loss", is_fraction=False),
        Metric(key=VAL_ERROR, printed="validation error"),
        Metric(key=VAL_ERROR_TOP5, printed="top-5 validation error"),
        Metric(key=TEST_LOSS, printed="test loss", is_fraction=False),
        Metric(key=TEST_ERROR, printed="test error"),
        Metric(key=TEST_ERROR_TOP5, printed="top-5 test error"),
        Metric(key=TEN_VIEWS_ERROR, printed="ten-view test error"),
        Metric(key=TEN_VIEWS_ERROR_TOP5, printed="top-5 ten-view test error"),
    )
}
"""All metrics by key, in the order of the columns of metrics.csv."""


def add_metric(
    name: str,
    factory: Factory,
    *,
    printed: str,
    better: Literal["lower", "higher"] = "lower",
    is_fraction: bool = False,
) -> None:
    """Register a metric: val/<name> after every epoch, and test/<name> at the end.

    See Metric for the arguments. Raises ValueError for a name that is already registered with other
    arguments.
    """
    for stage, words in (("val", "validation"), ("test", "test")):
        metric = Metric(
            key=f"{stage}/{name}",
            printed=f"{words} {printed}",
            better=better,
            is_fraction=is_fraction,
            factory=factory,
        )
        if METRICS.setdefault(metric.key, metric) != metric:
            raise ValueError(f"the metric {metric.key} already exists: choose another name")
