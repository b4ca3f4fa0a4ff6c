import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from alexnet.preparation.workers import WorkersDied, in_parallel


def repeat(number: int) -> bytes:
    return bytes([number]) * 1_000_000  # more than a pipe holds


def die_while_it_is_written(number: int) -> bytes:
    signal.setitimer(signal.ITIMER_REAL, 0.05)  # whose signal nothing here handles
    return bytes(300_000_000)


def fail(number: int) -> bytes:
    raise FileNotFoundError(f"no {number}")


def own_group(number: int) -> int:
    return os.getpgrp()


def test_results_come_in_the_order_of_the_tasks():
    assert list(in_parallel(repeat, range(20), 2)) == [(n, repeat(n)) for n in range(20)]


@pytest.mark.parametrize("workers", [1, 3])
def test_a_worker_that_dies_in_the_middle_of_its_answer_is_noticed(workers):
    with pytest.raises(WorkersDied, match=f"fewer than workers={workers}"):
        list(in_parallel(die_while_it_is_written, range(5), workers))


def test_what_the_work_raises_is_raised_here():
    with pytest.raises(FileNotFoundError, match="no 0"):
        list(in_parallel(fail, range(5), 2))


def test_more_workers_than_tasks_and_no_tasks():
    assert list(in_parallel(own_group, [0], 3)) == [(0, os.getpgrp())]
    assert list(in_parallel(own_group, [], 3)) == []


def test_given_up_in_the_middle_no_thread_stays():
    before = threading.active_count()
    results = in_parallel(repeat, range(100), 2)
    next(results)
    results.close()
    assert threading.active_count() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_group_is_handled_by_the_parent_alone(number, tmp_path):
    program = f"""
import os, signal, sys, time
sys.path.insert(0, {os.path.dirname(__file__)!r})
from alexnet.preparation.workers import in_parallel
from test_workers import repeat

def note(number, frame):
    noted.append(number)

if __name__ == "__main__":
    noted = []
    signal.signal({int(number)}, note)
    for done, _ in in_parallel(repeat, range(50), 2):
        if done == 10:
            os.killpg(0, {int(number)})
    print(done, [int(number) for number in noted])
"""
    (tmp_path / "program.py").write_text(program)
    ran = subprocess.run(
        [sys.executable, tmp_path / "program.py"],
        capture_output=True, text=True, timeout=60, start_new_session=True,
    )  # fmt: skip
    assert (ran.stdout, ran.stderr) == (f"49 [{int(number)}]\n", "")


def test_without_the_parent_no_worker_stays(tmp_path):
    program = f"""
import os, sys
sys.path.insert(0, {os.path.dirname(__file__)!r})
from alexnet.preparation.workers import in_parallel
from test_workers import repeat

if __name__ == "__main__":
    for done, _ in in_parallel(repeat, range(50), 2):
        if done == 10:
            os.kill(os.getpid(), 9)
"""
    (tmp_path / "program.py").write_text(program)
    ran = subprocess.Popen([sys.executable, tmp_path / "program.py"], start_new_session=True)
    ran.wait(60)
    deadline = time.monotonic() + 20
    while _group_is_alive(ran.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _group_is_alive(ran.pid)


def _group_is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
