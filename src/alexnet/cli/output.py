"""Where a command prints to: a terminal, a file, a pipe whose reader may leave, or nowhere."""

import io
import logging
import os
import sys
from collections.abc import Callable, Sequence
from functools import wraps

from alexnet.folders.ending import Exit

Command = Callable[[Sequence[str]], int]


def safe_output(main: Command) -> Command:
    """A command that does not fail because of what it prints.

    Names of files need not be Unicode, and Unicode need not be what the terminal can show: such
    characters are spelt out. A reader that leaves (`prepare --help | head`) costs the rest of the
    text, and not the work.
    """

    @wraps(main)
    def command(arguments: Sequence[str]) -> int:
        sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 (until the process ends)
        sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        tells, code = logging.raiseExceptions, int(Exit.FINISHED)
        logging.raiseExceptions = False  # a traceback for every line that cannot be written
        try:
            code = main(arguments)
            sys.stdout.flush()
        except BrokenPipeError:
            # Python would write what is left at its end, and complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        finally:
            logging.raiseExceptions = tells
        return code

    return command
