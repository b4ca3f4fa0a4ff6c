"""Signals that ask a process to stop, and handlers for them. Standard library only."""

import os
import signal
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

SIGNALS_TO_STOP = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGHUP,  # the terminal was closed
)

Handler = Callable[[int, FrameType | None], Any] | int | signal.Handlers | None


def handle(
    handler: Handler, signals: Iterable[signal.Signals] = SIGNALS_TO_STOP
) -> dict[signal.Signals, Handler]:
    """Install the handler for each signal, and return the handlers that were there.

    An ignored SIGHUP stays ignored: that is how nohup keeps a command running when its terminal is
    closed. Before a handler of SIGHUP is called, output to a closed terminal is discarded.
    """
    before: dict[signal.Signals, Handler] = {}
    for number in signals:
        if number == signal.SIGHUP:
            if signal.getsignal(number) is signal.SIG_IGN:
                continue
            before[number] = signal.signal(number, _after_hangup(handler))
        else:
            before[number] = signal.signal(number, handler)
    return before


@contextmanager
def handling(
    handler: Handler, signals: Iterable[signal.Signals] = SIGNALS_TO_STOP
) -> Iterator[dict[signal.Signals, Handler]]:
    """Install the handler during the block, which receives the handlers that were there before."""
    before = handle(handler, signals)
    try:
        yield before
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def _after_hangup(handler: Handler) -> Handler:
    if not callable(handler):
        return handler

    def discard_output_and_handle(number: int, frame: FrameType | None) -> None:
        for descriptor in (1, 2):
            with suppress(OSError):  # it may be closed
                is_device = stat.S_ISCHR(os.fstat(descriptor).st_mode)
                if is_device and not os.isatty(descriptor):
                    # A closed terminal, or /dev/null already. Writing to a closed terminal raises
                    # OSError, which would end the process before its runs have stopped.
                    null = os.open(os.devnull, os.O_WRONLY)
                    os.dup2(null, descriptor)
                    os.close(null)
        handler(number, frame)

    return discard_output_and_handle
