"""The processes of one run, if it has several: rank 0 starts the others and watches them.

Standard library only, so that the others start while torch is still being imported.
"""

import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from types import TracebackType
from typing import NamedTuple

from typing_extensions import override

from alexnet.folders.ending import Exit, Stopped
from alexnet.folders.run import RunDir
from alexnet.run.child import Child, what_ended
from alexnet.run.fork_server import ForkedChild, start_child

# Variables in which the ranks of a job find their place, and those that Lightning adds. They are
# restored after the run.
VARIABLES = (
    "LOCAL_RANK",
    "NODE_RANK",
    "WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
    "PL_GLOBAL_SEED",
    "PL_SEED_WORKERS",
)

SECONDS_TO_FOLLOW = 10.0
"""How long a rank may take to notice the end of another; lost connections are noticed at once."""


class RankLost(RuntimeError):
    """Another process of the run ended first. `cause` is that of status.json."""

    def __init__(self, text: str, cause: str) -> None:
        super().__init__(text)
        self.cause = cause


class Outside(NamedTuple):
    """A job whose processes torchrun or srun has started, each with our command line."""

    rank: int
    world_size: int


def started_from_outside() -> Outside | None:
    """Return this process's place in a job of torchrun or srun; None if it is not part of one."""
    env = os.environ
    if "TORCHELASTIC_RUN_ID" in env:
        return Outside(int(env["RANK"]), int(env["WORLD_SIZE"]))
    # A batch script without srun has SLURM_NTASKS too, but is one process.
    if "SLURM_STEP_ID" in env and int(env.get("SLURM_NTASKS", 1)) > 1:
        return Outside(int(env["SLURM_PROCID"]), int(env["SLURM_NTASKS"]))
    return None


class Ranks(AbstractContextManager["Ranks"]):
    """All ranks of a run, seen from one of them.

    Rank 0 calls `start` when it has checked that the run is possible. The others run `command` with
    `--rank K` added, write what they print into rank-K.log and the error with which they end into
    rank-K.json, and end when their standard input closes, because rank 0 has ended.

    The block ends with RankLost if another rank failed before this one, and with Stopped if that
    rank was told to stop. If rank 0 is still busy some seconds after another rank has failed (it
    may wait for it forever), `give_up` is called with the error, and must end the process.

    `start` sets the environment that Lightning reads; the end of the block restores it.
    """

    def __init__(
        self,
        run: RunDir,
        rank: int,
        command: Sequence[str],
        give_up: Callable[[BaseException], None],
    ) -> None:
        self.run = run
        self.rank = rank
        self.command = list(command)
        self.give_up = give_up
        self.are_ours = False  # started by us, not by torchrun or srun
        self._others: dict[int, Child | ForkedChild] = {}
        self._is_over = threading.Event()

    @override
    def __enter__(self) -> "Ranks":
        self._before = {name: os.environ.get(name) for name in VARIABLES}
        return self

    def start(self, number: int) -> None:
        """Start ranks 1 to `number` - 1 from rank 0, unless torchrun or srun has started them."""
        self.are_ours = started_from_outside() is None
        if not self.are_ours or self.rank > 0 or number == 1:
            return
        # Bound but not listening until the run is over: no other process gets this port, and the
        # store of the process group can still listen on it.
        self._port = socket.socket()
        self._port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._port.bind(("127.0.0.1", 0))
        os.environ |= {
            "LOCAL_RANK": "0",
            "NODE_RANK": "0",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(self._port.getsockname()[1]),
        }
        for rank in range(1, number):
            self.run.rank_end(rank).unlink(missing_ok=True)
            self.run.rank_log(rank).unlink(missing_ok=True)
            self._others[rank] = start_child(
                [*self.command, "--rank", str(rank)],
                log=self.run.rank_log(rank),
                environment={**os.environ, "LOCAL_RANK": str(rank)},
            )
            self._others[rank].when_ended(partial(self._watch, rank))

    @override
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        failed_at = time.monotonic()  # a clock that all processes of a machine share
        lost = None
        try:
            if isinstance(error, Exception):
                lost = self._first_lost(failed_at)
            elif error is None:
                for process in self._others.values():
                    process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            pass  # its part of the run is done
        finally:
            self._is_over.set()
            self._end()
        if lost is not None:
            raise lost from error

    def _end(self) -> None:
        for process in self._others.values():
            process.kill()
            process.end()
        if self._others:
            self._port.close()
        for name, value in self._before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value

    def _watch(self, rank: int, code: int) -> None:
        if code and not self._is_over.wait(SECONDS_TO_FOLLOW):
            self.give_up(self._lost(rank))

    def _first_lost(self, before: float) -> BaseException | None:
        """Return the error of a rank that failed before that time; None if there is none.

        `before` is when this rank failed. It may see the connection break before the other process
        is gone.
        """
        deadline = time.monotonic() + 3
        while self._others and time.monotonic() < deadline:
            for rank, process in self._others.items():
                if process.poll():
                    ended = self.run.read_rank_end(rank).get("time", 0.0)
                    return self._lost(rank) if ended <= before else None
            time.sleep(0.05)
        return None

    def _lost(self, rank: int) -> BaseException:
        code, end = self._others[rank].wait(), self.run.read_rank_end(rank)
        if code == Exit.STOPPED:
            return Stopped(f"rank {rank}: {end['cause']}")
        if "error" in end:
            return RankLost(f"rank {rank}: {end['error']}", end["cause"])
        log = self.run.rank_log(rank).name
        return RankLost(f"rank {rank} was ended by {what_ended(code)}: see {log}", "killed")
