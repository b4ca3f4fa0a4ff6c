import os
import signal
import socket
import sys
import threading
from pathlib import Path

import pytest
from torch.distributed import TCPStore

from alexnet.folders.ending import Stopped
from alexnet.folders.run import RunDir
from alexnet.run.ranks import Outside, RankLost, Ranks, started_from_outside


def ranks(folder: Path, program: str, give_up=lambda lost: None) -> Ranks:
    """Rank 0 of a run whose other ranks run a line of Python instead of training."""
    return Ranks(RunDir(folder), 0, [sys.executable, "-c", program], give_up)


def fail(all_ranks: Ranks, error: BaseException) -> None:
    with all_ranks:
        all_ranks.start(2)
        raise error


def test_the_others_are_told_their_place_and_the_environment_is_restored(tmp_path: Path):
    tell = "import os; print(*map(os.environ.get, ['LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT']))"
    before = dict(os.environ)

    with ranks(tmp_path, tell) as all_ranks:
        all_ranks.start(3)
        port = os.environ["MASTER_PORT"]

    assert (tmp_path / "rank-1.log").read_text() == f"1 127.0.0.1 {port}\n"
    assert (tmp_path / "rank-2.log").read_text() == f"2 127.0.0.1 {port}\n"
    assert dict(os.environ) == before


def test_one_process_alone_needs_no_place(tmp_path: Path):
    before = dict(os.environ)

    with ranks(tmp_path, "") as all_ranks:
        all_ranks.start(1)

        assert dict(os.environ) == before
    assert list(tmp_path.iterdir()) == []


def test_a_port_is_held_for_the_job_and_only_for_it(tmp_path: Path):
    with ranks(tmp_path, "") as all_ranks:
        all_ranks.start(2)
        port = int(os.environ["MASTER_PORT"])
        others = [socket.create_server(("127.0.0.1", 0)) for _ in range(200)]

        store = TCPStore("127.0.0.1", port, 1, is_master=True)

        store.set("key", "value")
        assert port not in [other.getsockname()[1] for other in others]
        for other in others:
            other.close()


def test_what_ended_a_rank_is_the_cause_of_what_followed(tmp_path: Path):
    killed = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"

    with pytest.raises(RankLost, match=r"ended by signal 9 .* see rank-1\.log") as lost:
        fail(ranks(tmp_path, killed), RuntimeError("connection closed by peer"))

    assert lost.value.cause == "killed"


def test_the_first_error_is_the_cause(tmp_path: Path):
    late = f"""
import sys, time; sys.path.insert(0, "src")
from pathlib import Path; from alexnet.folders.run import RunDir
end = {{"error": "it came later", "cause": "exception", "time": time.monotonic() + 60}}
RunDir(Path({str(tmp_path)!r})).write_rank_end(1, end)
sys.exit(1)
"""
    with pytest.raises(ArithmeticError, match="the first"):
        fail(ranks(tmp_path, late), ArithmeticError("the first"))


def test_a_rank_that_was_told_to_stop_stops_the_run(tmp_path: Path):
    stops = f"""
import sys; sys.path.insert(0, "src")
from pathlib import Path; from alexnet.folders.run import RunDir
RunDir(Path({str(tmp_path)!r})).write_rank_end(1, {{"cause": "stopped by SIGTERM"}})
sys.exit(75)
"""
    with pytest.raises(Stopped, match="rank 1: stopped by SIGTERM"):
        fail(ranks(tmp_path, stops), RuntimeError("connection closed by peer"))


def test_rank_0_gives_up_waiting_for_a_rank_that_is_gone(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("alexnet.run.ranks.SECONDS_TO_FOLLOW", 0.1)
    gave_up = threading.Event()
    lost: list[Exception] = []

    def give_up(error: Exception) -> None:
        lost.append(error)
        gave_up.set()

    with ranks(tmp_path, "import sys; sys.exit(3)", give_up) as all_ranks:
        all_ranks.start(2)
        assert gave_up.wait(20)  # as if busy in a collective operation

    assert "rank 1 was ended by exit status 3" in str(lost[0])


def test_no_rank_outlives_rank_0s_error(tmp_path: Path):
    all_ranks = ranks(tmp_path, "input()")

    with pytest.raises(KeyboardInterrupt):
        fail(all_ranks, KeyboardInterrupt())

    assert all_ranks._others[1].returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({}, None),
        ({"LOCAL_RANK": "1", "WORLD_SIZE": "2"}, None),  # left behind by something else
        ({"TORCHELASTIC_RUN_ID": "none", "RANK": "3", "WORLD_SIZE": "4"}, Outside(3, 4)),
        ({"SLURM_STEP_ID": "0", "SLURM_NTASKS": "2", "SLURM_PROCID": "1"}, Outside(1, 2)),
        ({"SLURM_NTASKS": "2", "SLURM_PROCID": "0"}, None),  # a batch script without srun
        ({"SLURM_STEP_ID": "0", "SLURM_NTASKS": "1", "SLURM_PROCID": "0"}, None),
    ],
)
def test_who_starts_the_processes_is_read_off_the_environment(
    variables: dict[str, str], place: Outside | None, monkeypatch
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert started_from_outside() == place
