"""Files that are complete or absent. Standard library only."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

PARTIAL = ".partial"
"""Added to the name of a file that is still being written."""


def cell(value: Any) -> Any:
    """Return a value for a CSV file; text that looks like a formula gets a leading apostrophe.

    Names come from command lines and archives, and =HYPERLINK(...) would be executed by the
    reader's spreadsheet.
    """
    if not isinstance(value, str) or not value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return value
    with suppress(ValueError):
        float(value)
        return value
    return f"'{value}"


@contextmanager
def replacing(path: Path, mode: str = "w", **settings: Any) -> Iterator[IO[Any]]:
    """Open a new file for the block; when the block ends, the file replaces `path`.

    It is written under another name (PATH.partial), flushed to the disk and renamed. A reader finds
    the old file or the new one, even after a power failure. If the block raises, the old one stays.

    `mode` is "w" or "wb"; `settings` go to open().
    """
    partial = path.with_name(path.name + PARTIAL)
    # May be left by a process that was killed, or be a link to another file: "x" opens neither.
    partial.unlink(missing_ok=True)
    opened = partial.open(mode.replace("w", "x"), **settings)
    try:
        with opened as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):  # the first error is the one to report
            partial.unlink(missing_ok=True)
        raise
