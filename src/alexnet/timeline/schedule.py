"""The schedule of a training step: when each column computes, waits and sends."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from alexnet.timeline.costs import ARITHMETIC, KINDS, Kind, Layer, logits_sent, sent

Phase = Literal["forward", "backward", "exchange", "update"]

SECONDS_PER_DAY = 86_400


@dataclass(frozen=True, kw_only=True)
class Machine:
    """How fast one column's device works and how fast the columns exchange.

    `rates` are FLOP per second for the kinds of arithmetic and bytes per second for the others.
    `link` is the number of bytes that each column sends per second while it receives as many;
    `latency` is the time of an empty exchange, in seconds. If `overlaps`, a column computes with
    its own half of a layer's input while the other half is transferred; otherwise it waits.
    """

    name: str
    rates: Mapping[Kind, float]
    link: float = float("inf")
    latency: float = 0.0
    overlaps: bool = False

    @classmethod
    def card(
        cls,
        name: str,
        *,
        peak: float,
        bandwidth: float,
        link: float,
        latency: float,
        efficiency: float,
        overlaps: bool = False,
    ) -> "Machine":
        """Describe a device by its data sheet.

        Arithmetic runs at `efficiency` times `peak` (FLOP/s), everything else at `bandwidth`
        (bytes/s).
        """
        rates: dict[Kind, float] = {
            kind: peak * efficiency if kind in ARITHMETIC else bandwidth for kind in KINDS
        }
        return cls(name=name, rates=rates, link=link, latency=latency, overlaps=overlaps)


GTX_580: Mapping[str, float] = {
    "peak": 1.581e12,  # 512 cores x 1.544 GHz x 2
    "bandwidth": 192.4e9,
    # PCI Express 2.0 x16 has 8 GB/s in each direction; copies between cards reached 5 to 6.
    "link": 5e9,
    "latency": 10e-6,
}
"""Data sheet of the card that the paper used two of; link and latency are our assumptions."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """What a column (and, in an exchange, the link) does from `start` to `end`, in seconds."""

    layer: str
    phase: Phase
    start: float
    end: float


def timeline(
    layers: Sequence[Layer], machine: Machine, *, columns: int, images: int, classes: int = 1000
) -> list[Event]:
    """Return the events of a step of one column: forward, backward, update of its parameters.

    All columns do the same. `images` is the size of the batch, all of which every column sees.
    Events of the phase "exchange" overlap those of computation if `machine.overlaps`. The loss is
    left out, because its work is below 0.01 %.
    """
    events: list[Event] = []
    now = 0.0

    def computing(layer: Layer, phase: Phase, seconds: float) -> None:
        nonlocal now
        events.append(Event(layer=layer.name, phase=phase, start=now, end=now + seconds))
        now += seconds

    def exchanging(name: str, number: int) -> float:
        """Add an exchange that begins now, and return the time of its end."""
        end = now + machine.latency + images * number / machine.link
        events.append(Event(layer=name, phase="exchange", start=now, end=end))
        return end

    for layer in layers:
        seconds = images * layer.forward / machine.rates[layer.kind]
        if layer.joined and columns > 1:
            arrives = exchanging(layer.name, sent(layer, columns))
            own = 1 / columns if machine.overlaps else 0.0
            if own:
                computing(layer, "forward", own * seconds)
            now = max(now, arrives)
            computing(layer, "forward", (1 - own) * seconds)
        else:
            computing(layer, "forward", seconds)
    if columns > 1:
        now = exchanging("logits", logits_sent(classes, columns))
    for layer in reversed(layers):
        seconds = images * layer.backward / machine.rates[layer.kind]
        if layer.joined and columns > 1:
            # Half of the work is the gradient of the input, and the other columns' part goes first.
            first = (columns - 1) / columns / 2 if machine.overlaps else 1.0
            computing(layer, "backward", first * seconds)
            arrives = exchanging(layer.name, sent(layer, columns))
            if first < 1:
                computing(layer, "backward", (1 - first) * seconds)
            now = max(now, arrives)
        else:
            computing(layer, "backward", seconds)
    for layer in layers:
        if layer.parameters:
            computing(layer, "update", layer.update / machine.rates["update"])
    return events


def seconds_of(events: Sequence[Event]) -> float:
    """Return the length of a step in seconds."""
    return max(event.end for event in events)


def days(step: float, *, images: int, epochs: float, training_images: int) -> float:
    """Return the length of a training in days, given the seconds of a step of `images` images."""
    return step * epochs * training_images / images / SECONDS_PER_DAY


def efficiency_of(predict: Callable[[float], float], seconds: float) -> float:
    """Return the share of its peak at which a card's step takes this number of seconds.

    `predict` returns the length of the step for a share. Raises ValueError if the step takes longer
    even at the card's peak.
    """
    low, high = 1e-6, 1.0
    if predict(high) > seconds:
        raise ValueError(f"even at its peak, the card's step takes longer than {seconds:g} s")
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if predict(middle) > seconds else (low, middle)
    return high
