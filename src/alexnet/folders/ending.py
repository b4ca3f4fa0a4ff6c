from enum import IntEnum
from typing import Self

CANNOT_BE_BUILT = "cannot be built"
"""The cause of a failure in status.json that the person at the keyboard can mend: Exit.WRONG."""

DAMAGED = "damaged file"
"""The cause if a file of the run cannot be read, or lacks what the checkpoint counts."""


class Exit(IntEnum):
    """How a command ends, and how the process of a run does."""

    FINISHED = 0  # all of it; also when no run crossed a threshold
    FAILED = 1  # some run failed, or the folder is in use
    WRONG = 2  # the command was wrong or data are missing: nothing was trained
    STOPPED = 75  # by SIGTERM or SIGHUP; the same command goes on
    INTERRUPTED = 130  # by Ctrl-C; the same command goes on


class Stopped(BaseException):
    """The process was asked to stop by a signal; the same command goes on where it stopped.

    No Exception, which somebody's `except Exception` around an import would swallow.
    """

    @classmethod
    def by(cls, teller: str) -> Self:
        """What told it: the name of a signal, for example."""
        name = "Ctrl-C (SIGINT)" if teller == "SIGINT" else teller
        return cls(f"stopped by {name}; the same command goes on")
