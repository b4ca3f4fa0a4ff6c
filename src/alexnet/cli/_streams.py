"""Make standard input, output and error usable: closed, a broken pipe, or any locale.

Standard library only.
"""

import io
import locale
import os
import sys
from typing import TextIO


class _UntilClosed(io.TextIOWrapper):
    """Discard output once its reader has closed the pipe, as in `| head`.

    The command continues, because its output is not its only result.
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
    """Let the process read and write UTF-8 files in any locale, and print without errors.

    In a locale with another encoding the process restarts itself in Python's UTF-8 mode, which its
    child processes inherit.
    """
    encoding = locale.getpreferredencoding(False).lower().replace("-", "")
    if encoding != "utf8" and not sys.flags.utf8_mode:
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:  # closed: the next file to be opened would take its descriptor
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is sys.__stdout__:  # unless a caller in this process has replaced it
        sys.stdout = _printable(sys.__stdout__, 1)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _printable(sys.__stderr__, 2)


def _printable(stream: TextIO | None, descriptor: int) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper):  # None, if it was closed
        return open(descriptor, "w")
    encoding, is_line_buffered = stream.encoding, stream.line_buffering
    # File names may contain bytes that are not text: these are printed as escapes.
    return _UntilClosed(
        stream.detach(), encoding=encoding, errors="backslashreplace",
        line_buffering=is_line_buffered,
    )  # fmt: skip
