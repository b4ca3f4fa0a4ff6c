"""A cost model of the machine of 2012 (sections 3.2 and 5): the length of a training step."""

from alexnet.timeline.costs import KINDS, Layer, layers_of
from alexnet.timeline.figure import Row, draw
from alexnet.timeline.measure import Measured, measure
from alexnet.timeline.schedule import (
    GTX_580,
    Event,
    Machine,
    days,
    efficiency_of,
    seconds_of,
    timeline,
)

__all__ = [
    "GTX_580",
    "KINDS",
    "Event",
    "Layer",
    "Machine",
    "Measured",
    "Row",
    "days",
    "draw",
    "efficiency_of",
    "layers_of",
    "measure",
    "seconds_of",
    "timeline",
]
