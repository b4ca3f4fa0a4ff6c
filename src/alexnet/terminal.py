"""What a stream of text can show. Standard library only."""

import os
from typing import TextIO


def columns_of(stream: TextIO) -> int | None:
    """Characters in a line of a terminal; None for a pipe or a file, whose lines have no end."""
    if not stream.isatty():
        return None
    try:
        # Not shutil's: it asks sys.__stdout__, of which alexnet.cli has taken the buffer.
        return os.get_terminal_size(stream.fileno()).columns or 80  # 0, where nobody has set it
    except (OSError, ValueError):
        return 80


def can_redraw(stream: TextIO) -> bool:
    """Whether lines that were written can be written over: on a terminal, but no dumb one."""
    return stream.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")


def can_show(text: str, stream: TextIO) -> bool:
    """Whether the encoding of the stream has these characters."""
    try:
        text.encode(stream.encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return False
    return True
