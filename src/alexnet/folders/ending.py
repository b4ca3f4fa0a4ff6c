from enum import IntEnum
from typing import Self

CANNOT_BE_BUILT = "cannot be built"
"""The cause in status.json of a failure that the user can correct: Exit.WRONG."""

BEATEN = "beaten: its trial could no longer be the best of its arm"
"""The cause of a stop by the search that the run belongs to: nothing is left to do."""

DAMAGED = "damaged file"
"""The cause if a file of the run cannot be read, or lacks rows that the checkpoint counts."""


class Exit(IntEnum):
    """Exit status of a command, and of the process of a run."""

    FINISHED = 0  # all of it; also when no run crossed a threshold
    FAILED = 1  # some run failed, or the folder is in use
    WRONG = 2  # the command was wrong or data are missing: nothing was trained
    STOPPED = 75  # by SIGTERM or SIGHUP; the same command continues
    INTERRUPTED = 130  # by Ctrl-C; the same command continues


class Stopped(BaseException):
    """The process was asked to stop by a signal; the same command continues where it stopped.

    Not a subclass of Exception, so that an `except Exception` around an import cannot swallow it.
    """

    @classmethod
    def by(cls, teller: str) -> Self:
        """Make the exception for what asked the process to stop, such as the name of a signal."""
        name = "Ctrl-C (SIGINT)" if teller == "SIGINT" else teller
        return cls(f"stopped by {name}; the same command continues")
