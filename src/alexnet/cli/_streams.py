"""Standard input, output and error as a command finds them: closed, a pipe that ends, any locale.

Standard library only.
"""

import io
import locale
import os
import sys
from typing import TextIO


class _UntilClosed(io.TextIOWrapper):
    """Output of which nothing more is wanted once its reader has gone, as in `| head`.

    What a command does is not only what it prints: it goes on.
    """

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except BrokenPipeError:
            self._discard()
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except BrokenPipeError:
            self._discard()

    def _discard(self) -> None:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self.fileno())
        os.close(null)


def prepare_streams() -> None:
    """Let the process read and write UTF-8 files whatever the locale, and print without errors.

    In a locale of another encoding the process is started once more, in Python's UTF-8 mode, which
    the processes that it starts inherit.
    """
    encoding = locale.getpreferredencoding(False).lower().replace("-", "")
    if encoding != "utf8" and not sys.flags.utf8_mode:
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:  # closed; the next file that is opened would take its place
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is sys.__stdout__:  # and not what a caller in this process has put there
        sys.stdout = _printable(sys.__stdout__, 1)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _printable(sys.__stderr__, 2)


def _printable(stream: TextIO | None, descriptor: int) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper):  # None, if it was closed
        return open(descriptor, "w")
    encoding, is_line_buffered = stream.encoding, stream.line_buffering
    # Names of files need not be text: their other bytes are spelt out.
    return _UntilClosed(
        stream.detach(), encoding=encoding, errors="backslashreplace",
        line_buffering=is_line_buffered,
    )  # fmt: skip
