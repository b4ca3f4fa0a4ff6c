"""A run as a process: how it reacts to signals, and how its end is recorded."""

import errno
import logging
import os
import signal
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from alexnet.config.schema import ConfigError
from alexnet.folders.ending import CANNOT_BE_BUILT, DAMAGED, Exit, Stopped
from alexnet.folders.files import DamagedFile
from alexnet.folders.liveness import process_state
from alexnet.folders.run import RunDir
from alexnet.run.child import end_with_parent
from alexnet.run.ranks import RankLost, Ranks
from alexnet.signals import handle

log = logging.getLogger(__name__)


def attempt(
    train: Callable[[Ranks], None], run: RunDir, *, rank: int = 0, command: Sequence[str]
) -> Exit:
    """Call `train` as the process of a run, or one of its processes, which `command` starts.

    status.json always says how the run ended, unless the process is killed by SIGKILL. The process
    ends with the one that started it.
    """
    end_with_parent()
    code, end = _try(train, run, rank, command)
    try:
        if rank == 0:
            run.write_status({**run.read_status(), **end, "updated": time.time()})
        elif code is not Exit.FINISHED:
            run.write_rank_end(rank, {**end, "time": time.monotonic()})
    except (OSError, DamagedFile) as error:  # in a read-only folder, the open log still works
        log.error("the end of the run cannot be recorded: %s", error)
    return code


def _try(
    train: Callable[[Ranks], None], run: RunDir, rank: int, command: Sequence[str]
) -> tuple[Exit, dict[str, Any]]:
    """Train, and return how it ended and the fields of status.json about the end."""

    def give_up(lost: BaseException) -> None:
        log.error("%s", lost)
        end = {"state": "failed", **explain(lost), "updated": time.time()}
        run.write_status({**run.read_status(), **end})
        os._exit(Exit.FAILED)

    try:
        handle(_stop)  # until training installs its own
        if rank == 0:
            started = {"pid": os.getpid(), "host": os.uname().nodename, "started": time.time()}
            if process := process_state(os.getpid()):
                started["ticks"] = process.ticks
            run.write_status({**started, "state": "running", "epoch": 0})
        with Ranks(run, rank, command, give_up) as ranks:
            train(ranks)
    except ConfigError as error:
        log.error("error: %s", error)
        return Exit.WRONG, {"state": "failed", "cause": CANNOT_BE_BUILT, "error": str(error)}
    except Stopped as error:
        log.info("%s", error)
        return Exit.STOPPED, {"state": "stopped", "cause": str(error)}
    except Exception as error:
        log.error("%s", error, exc_info=True)
        return Exit.FAILED, {"state": "failed", **explain(error)}
    return Exit.FINISHED, {"state": "finished"}


def explain(error: BaseException) -> dict[str, str]:
    """Describe a failure for status.json: cause, one line with a hint, and the traceback."""
    from alexnet.learning import Diverged

    lines = f"{type(error).__name__}: {error}".splitlines()
    # The worker of a data loader sends its whole traceback, which ends with the message.
    text = lines[-1 if "in DataLoader worker process" in lines[0] else 0]
    cause, hint = "exception", ""
    if isinstance(error, RankLost):
        text, cause = str(error), error.cause
    elif isinstance(error, Diverged):
        cause = "diverged"
    elif isinstance(error, DamagedFile):
        cause = DAMAGED
    elif isinstance(error, MemoryError) or "out of memory" in text.lower():
        cause, hint = "out of memory", "try a smaller data.batch_size, or fewer runs at once"
    elif isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        cause, hint = (
            "disk full",
            "the last checkpoint is whole; free some space and run the same command again",
        )
    elif "address already in use" in text.lower():
        cause, hint = "port in use", "run the same command again"
    return {
        "cause": cause,
        "error": f"{text} ({hint})" if hint else text,
        "traceback": "".join(traceback.format_exception(error)),
    }


def _stop(number: int, frame: Any) -> None:
    raise Stopped.by(signal.Signals(number).name)
