"""A process that ends with the one that started it. Standard library only."""

import os
import signal
import stat
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


class Child(subprocess.Popen[bytes]):
    """A process in a session of its own: Ctrl-C reaches it only through this process.

    Its standard input is a pipe to which nothing is written. The pipe closes when this process is
    gone, however it ended; the child, which has called `end_with_parent`, then ends too.
    What it prints is appended to the file `log`.
    """

    def __init__(
        self, command: Sequence[str], *, log: Path, environment: Mapping[str, str]
    ) -> None:
        with log.open("ab") as output:
            super().__init__(
                command,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def when_ended(self, function: Callable[[int], object]) -> None:
        """Call the function with the return code, in a thread of its own."""
        threading.Thread(target=lambda: function(self.wait()), daemon=True).start()

    def end(self) -> int:
        """Wait for the end of the process, close its input, and return its code."""
        code = self.wait()
        assert self.stdin is not None
        self.stdin.close()
        return code


def end_with_parent() -> None:
    """End this process when its parent is gone, if its standard input is a pipe from the parent."""

    def wait() -> None:
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGKILL)

    if stat.S_ISFIFO(os.fstat(0).st_mode):
        threading.Thread(target=wait, daemon=True).start()


def what_ended(code: int) -> str:
    """Describe how a process ended that could not record it itself, by its return code."""
    if code >= 0:
        return f"exit status {code}"
    hint = " (out of memory, or killed by a user)" if code == -signal.SIGKILL else ""
    return f"signal {-code}{hint}"
