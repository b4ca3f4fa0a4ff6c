import os
import signal
from collections.abc import Iterator

import pytest

from alexnet.signals import SIGNALS_TO_STOP, handle, handling


@pytest.fixture(autouse=True)
def _handlers_are_left_as_they_were() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS_TO_STOP}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_signals_are_handled_in_the_block_and_as_before_after_it():
    received, before = [], []
    signal.signal(signal.SIGHUP, lambda number, frame: before.append(number))
    signal.signal(signal.SIGTERM, lambda number, frame: before.append(number))

    with handling(lambda number, frame: received.append(number)):
        for number in SIGNALS_TO_STOP:
            os.kill(os.getpid(), number)
    os.kill(os.getpid(), signal.SIGHUP)
    os.kill(os.getpid(), signal.SIGTERM)

    assert received == list(SIGNALS_TO_STOP)
    assert before == [signal.SIGHUP, signal.SIGTERM]


def test_an_ignored_sighup_stays_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    received = []

    before = handle(lambda number, frame: received.append(number))
    os.kill(os.getpid(), signal.SIGHUP)

    assert received == []
    assert set(before) == set(SIGNALS_TO_STOP) - {signal.SIGHUP}
