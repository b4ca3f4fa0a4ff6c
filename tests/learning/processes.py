"""Functions run in several processes at once, as the ranks of one job."""

import multiprocessing
import os
import pickle
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch
import torch.distributed as dist
from lightning.fabric.plugins.environments.lightning import find_free_network_port

# The server imports torch and Lightning once; its forks start at once.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["alexnet.learning", "alexnet.data", "tests.learning.processes"])


def run_in_processes(number: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What `function(*arguments)` returns as each rank, in the environment that Lightning reads.

    Raises the first error.
    """
    port = str(find_free_network_port())
    ranks = []
    for rank in range(number):
        ours, theirs = PROCESSES.Pipe()
        process = PROCESSES.Process(
            target=_run, args=(theirs, rank, port, function, arguments), daemon=True
        )
        process.start()
        theirs.close()
        ranks.append((process, ours))
    answers = []
    for process, pipe in ranks:
        assert pipe.poll(120), "a process does not answer"
        answers.append(pickle.loads(pipe.recv_bytes()))
        process.join(30)
    for answer in answers:
        if isinstance(answer, _Failure):
            raise answer.error from RuntimeError(answer.text)
    return answers


class _Failure:
    def __init__(self, error: Exception) -> None:
        self.error, self.text = error, traceback.format_exc()


def _run(
    pipe: Connection, rank: int, port: str, function: Callable[..., Any], arguments: Any
) -> None:
    torch.set_num_threads(1)
    os.environ |= {"LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    try:
        answer = function(*arguments)
    except Exception as error:
        answer = _Failure(error)
    pipe.send_bytes(pickle.dumps(answer))
    if dist.is_initialized():
        dist.destroy_process_group()
