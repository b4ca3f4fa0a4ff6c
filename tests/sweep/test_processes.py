import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from alexnet.folders.ending import Exit
from alexnet.folders.run import RunDir
from alexnet.sweep.devices import Devices
from alexnet.sweep.processes import Interrupted, Job, _told_to_stop, run_jobs


@pytest.fixture(autouse=True)
def _sighup_is_not_ignored() -> Iterator[None]:
    """Give SIGHUP its default handler, also if the tests run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_a_ctrl_c_kills_runs_that_were_told_to_stop_whatever_told_them(first: signal.Signals):
    exits = []
    try:
        with _told_to_stop() as told:
            os.kill(os.getpid(), first)
            assert not told.to_kill
            os.kill(os.getpid(), signal.SIGINT)
            assert told.to_kill
    except Interrupted as error:
        exits.append(error.exit)

    assert exits == [Exit.INTERRUPTED if first == signal.SIGINT else Exit.STOPPED]


def test_a_second_sigterm_kills_nothing():
    with suppress(Interrupted), _told_to_stop() as told:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)

    assert told.to_stop == "SIGTERM"
    assert not told.to_kill


def test_a_folder_in_the_place_of_a_status_costs_one_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    run = RunDir(tmp_path / "seed-0")
    run.status.mkdir(parents=True)

    ends = run_jobs([Job(run=run, devices=0, max_epochs=1)], Devices(gpus=(), places=1))

    assert ends == {"seed-0": Exit.FAILED}
    assert "seed-0 cannot be started: [Errno 21] Is a directory" in caplog.text
