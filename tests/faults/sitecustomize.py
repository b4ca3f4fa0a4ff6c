"""On PYTHONPATH: lets chosen ranks of chosen runs fail in their second backward pass.

FAULTS="seed-3:1:kill,seed-4:0:raise" names run, rank and what happens; the file fault-RANK in the
run's folder tells when.
CLOCK="-86400" sets the clock, as all our processes see it, so many seconds forward.
"""

import os
import signal
import sys
import time
from pathlib import Path

# The process of a run, or the one from which runs are forked.
IS_OF_RUNS = {"alexnet.run", "alexnet.run.fork_server"} & {*sys.orig_argv}


def _arm() -> None:
    import torch

    backward, calls = torch.Tensor.backward, []

    def faulty(self: torch.Tensor, *arguments: object, **settings: object) -> None:
        calls.append(1)
        folder = sys.argv[1]
        for fault in filter(None, os.environ.get("FAULTS", "").split(",")):
            run, rank, action = fault.split(":")
            if run in folder and rank == os.environ.get("LOCAL_RANK") and len(calls) == 2:
                Path(folder, f"fault-{rank}").touch()
                if action == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                raise ArithmeticError(f"made to fail on rank {rank}")
        backward(self, *arguments, **settings)

    torch.Tensor.backward = faulty  # type: ignore[method-assign]


def _set_clock(forward: float) -> None:
    true_time = time.time
    time.time = lambda: true_time() + forward


if IS_OF_RUNS:
    _arm()
if "CLOCK" in os.environ:
    _set_clock(float(os.environ["CLOCK"]))
