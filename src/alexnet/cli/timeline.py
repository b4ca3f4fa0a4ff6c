"""How long a training step of the two-column network takes: a cost model of section 3.2.

    python src/timeline.py [key=value ...]

Without keys: the paper's two GTX 580, one column on each, compared with one. With peak, bandwidth
and link: the same for another card, from its data sheet. With measure=true: this machine's
processors. Their rates are measured on short pieces, and the step predicted from these is compared
with the measured step of one and of two processes (about two minutes; other work on the machine
disturbs the measurement).

peak        arithmetic of one card in TFLOP/s (GTX 580: 1.581)
bandwidth   bandwidth of its memory in GB/s (GTX 580: 192.4)
link        bandwidth between two cards in GB/s, in each direction (assumed for the GTX 580: 5)
latency     latency of an exchange in microseconds (default: 10)
efficiency  the share of the peak that arithmetic reaches, such as 0.4 (default: the share at which
            two GTX 580 take the paper's 5 to 6 days)
name        name of the card, for the table and the figure
batch_size  images per step, all of which every column sees (default: 128, as in section 5; 32 with
            measure=true)
epochs      length of a training (default: 90)
images      training images per epoch (default: 1200000)
measure     true: measure this machine, and nothing else
rounds      with measure=true, rounds in which pieces and steps take turns (default: 3)
out         folder for timeline.svg and timeline.png (default: outputs/timeline)

The model, and what it leaves out: docs/machine_of_2012.md.

Exit status: 0 done; 1 a measurement failed; 2 the command was wrong.
"""

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alexnet.cli._arguments import WrongCommand, values_of
from alexnet.folders.ending import Exit
from alexnet.paths import outputs_folder

if TYPE_CHECKING:
    from alexnet.timeline import Event, Layer, Machine, Measured

CONTROL = (48, 128, 192, 192, 256)  # maps of the one-GPU network of section 3.2 (2012's #145-half)
PAPER_DAYS = (5.0, 6.0)  # section 5
_SHEET = ("peak", "bandwidth", "link")


@dataclass(frozen=True, kw_only=True)
class Request:
    """The values of the keys; None for a key that was not given and has no fixed default."""

    peak: float | None = None
    bandwidth: float | None = None
    link: float | None = None
    latency: float = 10.0
    efficiency: float | None = None
    name: str = "the card"
    batch_size: int | None = None
    epochs: float = 90.0
    images: int = 1_200_000
    measure: bool = False
    rounds: int = 3
    out: Path | None = None


def main(arguments: Sequence[str]) -> int:
    """Run the command; the module's docstring is its help."""
    if {"--help", "-h", "help"} & set(arguments):
        print((__doc__ or "").strip())
        return Exit.FINISHED
    try:
        request = _parse(arguments)
        report = _measured if request.measure else _modelled
        for line in report(request):
            print(line, flush=True)
    except WrongCommand as error:
        print(f"error: {error}\nSee python src/timeline.py --help", file=sys.stderr)
        return Exit.WRONG
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return Exit.FAILED
    return Exit.FINISHED


def _parse(arguments: Sequence[str]) -> Request:
    readers: dict[str, Callable[[str], Any]] = {
        **dict.fromkeys((*_SHEET, "epochs"), _above_0),
        "latency": _at_least_0,
        "efficiency": _share,
        "name": str,
        **dict.fromkeys(("batch_size", "images", "rounds"), _count),
        "measure": _truth,
        "out": Path,
    }
    given = values_of(arguments, readers, refusal="{key} must be {error}, but is {value}")
    missing = [key for key in _SHEET if key not in given]
    of_card = {"name", "latency", "efficiency", *_SHEET} & set(given)
    if 0 < len(missing) < len(_SHEET) or (given.keys() & {"name"} and missing):
        raise WrongCommand(f"another card needs {', '.join(_SHEET)}: add {' and '.join(missing)}")
    if given.get("measure") and of_card:
        raise WrongCommand(
            f"measure=true measures this machine and cannot be combined with "
            f"{', '.join(sorted(of_card))}: run the command twice"
        )
    return Request(**given)


def _modelled(request: Request) -> Iterator[str]:
    """Model the cards of 2012, and another card if one is given; yield lines to print."""
    from alexnet.timeline import GTX_580, Machine, Row, days, efficiency_of, seconds_of

    batch_size = request.batch_size or 128
    networks = _networks()
    in_days = partial(
        days, images=batch_size, epochs=request.epochs, training_images=request.images
    )

    def card_2012(share: float, **settings: Any) -> "Machine":
        return Machine.card("GTX 580", efficiency=share, **{**GTX_580, **settings})

    def seconds(setup: str, machine: "Machine") -> float:
        return seconds_of(_events(networks[setup], machine, batch_size))

    def share_for(paper_days: float) -> float:
        # Always the paper's own 90 epochs of 1.2 million images.
        step = paper_days / days(1.0, images=batch_size, epochs=90, training_images=1_200_000)
        return efficiency_of(lambda share: seconds("two cards", card_2012(share)), step)

    share = share_for(sum(PAPER_DAYS) / 2)
    rows = []

    def table(machines: Sequence["Machine"]) -> Iterator[str]:
        yield f"  {'':58} {'step':>9} {'days':>7} {'card-days':>9} {'link busy':>9}"
        for setup, network in networks.items():
            for machine in machines if network.columns > 1 else machines[:1]:
                events = _events(network, machine, batch_size)
                step = seconds_of(events)
                sending = sum(e.end - e.start for e in events if e.phase == "exchange")
                length = in_days(step)
                overlap = ", overlapping" if machine.overlaps else ""
                yield (
                    f"  {f'{setup}{overlap}: {network.what}':58} {1e3 * step:6.1f} ms"
                    f" {length:7.3g} {network.columns * length:9.3g} {sending / step:9.1%}"
                )
                if not machine.overlaps and setup != _WHOLE:
                    name = f"{setup.replace('cards', machine.name).replace('card', machine.name)}"
                    rows.append(Row(name=name, events=events, columns=network.columns))

    low, high = (share_for(each) for each in reversed(PAPER_DAYS))
    used = request.efficiency if request.efficiency and request.peak is None else share
    how = (
        "given" if used != share else f"fitted to the paper's 5 to 6 days ({low:.0%} to {high:.0%})"
    )
    yield f"GTX 580, batch {batch_size}: arithmetic at {used:.0%} of 1.58 TFLOP/s, {how}"
    card = card_2012(used)
    yield from table([card, card_2012(used, overlaps=True)])
    ratio = seconds("two cards", card) / seconds(_ONE, card)
    ratios = [
        seconds("two cards", each) / seconds(_ONE, each)
        for each in (
            card_2012(other, link=link, overlaps=overlaps)
            for other in (0.2, 0.6)
            for link in (2e9, 8e9)
            for overlaps in (False, True)
        )
    ]
    yield (
        f"  two against one: {ratio:.2f} of its time (section 3.2: slightly less). At 20 to 60 % "
        f"of the peak, links of 2 to 8 GB/s: {min(ratios):.2f} to {max(ratios):.2f}"
    )
    note = (
        f"Modelled, not measured. GTX 580: arithmetic at {used:.0%} of its peak, memory at 192.4 "
        "GB/s, link 5 GB/s. Both columns of two cards do the same at the same time; one is shown."
    )
    if request.peak is not None:
        assert request.bandwidth is not None
        assert request.link is not None
        other: dict[str, Any] = {
            "peak": request.peak * 1e12,
            "bandwidth": request.bandwidth * 1e9,
            "link": request.link * 1e9,
            "latency": request.latency * 1e-6,
            "efficiency": request.efficiency or share,
        }
        machine = Machine.card(request.name, **other)
        reason = "given" if request.efficiency else "as the two GTX 580"
        yield (
            f"\n{request.name}, batch {batch_size}: arithmetic at {other['efficiency']:.0%} of "
            f"{request.peak:g} TFLOP/s, {reason}"
        )
        rows.clear()  # of another scale
        yield from table([machine, Machine.card(request.name, **other, overlaps=True)])
        note = (
            f"Modelled, not measured. {request.name}: arithmetic at {other['efficiency']:.0%} of "
            f"{request.peak:g} TFLOP/s, memory at {request.bandwidth:g} GB/s, link "
            f"{request.link:g} GB/s. Both columns of two cards do the same at the same time."
        )
    yield _save(rows, note, request)


def _measured(request: Request) -> Iterator[str]:
    """Measure pieces on this machine, predict the step and measure it; yield lines to print."""
    from alexnet.timeline import Row, measure, seconds_of
    from alexnet.timeline.costs import ARITHMETIC

    batch_size = request.batch_size or 32
    networks = _networks()
    rows, found = [], {}
    for setup, columns in (("1 process", 1), ("2 processes", 2)):
        yield f"measuring {setup} ..."
        measured: Measured = measure(columns=columns, images=batch_size, rounds=request.rounds)
        network = networks[_WHOLE if columns == 1 else "two cards"]
        events = _events(network, measured.machine, batch_size)
        for kind, rate in measured.rates.items():
            unit = "GFLOP/s" if kind in ARITHMETIC else "GB/s"
            yield f"  {kind:18} {rate / 1e9:7.2f} {unit}"
        if columns > 1:
            yield (
                f"  {'exchange':18} {measured.link / 1e9:7.2f} GB/s, latency "
                f"{1e3 * measured.latency:.2f} ms"
            )
        predicted = seconds_of(events)
        found[columns] = (predicted, measured.step)
        steps = sorted(measured.steps)
        yield (
            f"  a step of {batch_size} images: modelled {predicted:.3f} s, measured "
            f"{measured.step:.3f} s ({steps[0]:.3f} to {steps[-1]:.3f}, n = {len(steps)}): "
            f"{predicted / measured.step - 1:+.1%}"
        )
        rows.append(Row(name=setup, events=events, columns=columns, measured=measured.step))
    modelled, real = (found[1][i] / found[2][i] for i in (0, 1))
    yield f"two processes are {real:.2f} times as fast as one; modelled {modelled:.2f}"
    note = (
        f"This machine, batch {batch_size}, one thread for each process. Bars: modelled from the "
        "rates of short pieces. Black line: the measured step."
    )
    yield _save(rows, note, request)


_ONE, _WHOLE = "one card", "one card, whole network"


@dataclass(frozen=True, kw_only=True)
class _Network:
    what: str
    layers: "list[Layer]"
    columns: int


def _networks() -> Mapping[str, _Network]:
    """Return what is compared: two columns, section 3.2's control, the whole network on a card."""
    from alexnet.model import AlexNet
    from alexnet.timeline import layers_of

    control = layers_of(partial(AlexNet, channels=CONTROL, columns=1))
    return {
        "two cards": _Network(what="a column each", layers=layers_of(AlexNet, 2), columns=2),
        _ONE: _Network(what="the control of section 3.2", layers=control, columns=1),
        _WHOLE: _Network(what="both columns", layers=layers_of(AlexNet), columns=1),
    }


def _events(network: _Network, machine: "Machine", images: int) -> "list[Event]":
    from alexnet.timeline import timeline

    return timeline(network.layers, machine, columns=network.columns, images=images)


def _save(rows: Sequence[Any], note: str, request: Request) -> str:
    from alexnet import plotting
    from alexnet.timeline import draw

    folder = request.out or outputs_folder("outputs") / "timeline"
    try:
        files = plotting.save({"timeline": draw(rows, note=note)}, folder)
    except OSError as error:
        raise WrongCommand(f"out={folder} cannot be written: {error.strerror}") from error
    return f"\n{files[0]}"


def _above_0(text: str) -> float:
    if not 0 < (number := _number(text)) < math.inf:
        raise ValueError("a number above 0")
    return number


def _at_least_0(text: str) -> float:
    if not 0 <= (number := _number(text)) < math.inf:
        raise ValueError("a number of at least 0")
    return number


def _share(text: str) -> float:
    if not 0 < (number := _number(text)) <= 1:
        raise ValueError("a number above 0 and up to 1")
    return number


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _count(text: str) -> int:
    if (number := _number(text)) != int(number if math.isfinite(number) else 0) or number < 1:
        raise ValueError("a positive integer")
    return int(number)


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("true or false")
    return text.lower() == "true"
