import csv
import fcntl
import json
import math
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import zip_longest
from pathlib import Path
from typing import Any

from alexnet.files import replacing

Row = dict[str, float]
Kind = Callable[[Any], bool]


_REMEDY = "Restore it, or remove the folder of the run to train it again"


class FolderInUse(RuntimeError):
    """Another process is using the folder."""


class DamagedFile(ValueError):
    """A file of a run or a sweep is not as this program wrote it."""


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file; a reader sees the old content or the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        json.dump(content, file, indent=2)
        file.write("\n")


def is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint is complete: torch writes a zip archive, whose CRC-32 are checked."""
    try:
        with zipfile.ZipFile(checkpoint) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError):
        return False


def link(file: Path, name: Path) -> bool:
    """Make `name` a hard link to a file; False if the file system refuses.

    An existing `name` is replaced atomically. The temporary name has the suffix .partial.
    """
    partial = name.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    try:
        os.link(file, partial)
    except OSError:
        return False
    os.replace(partial, name)
    partial.unlink(missing_ok=True)  # a rename does nothing if both are links to one file
    return True


def read_json(path: Path, kinds: Mapping[str, Kind] | None = None) -> dict[str, Any]:
    """Read a JSON object; {} if the file does not exist.

    `kinds` maps keys to checks of their values. Raises DamagedFile if the file is not a JSON
    object, or if a value does not pass its check.
    """
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError, IsADirectoryError) as error:
        raise DamagedFile(f"{path} is damaged ({error})") from error
    if not isinstance(content, dict):
        raise DamagedFile(f"{path} is damaged: it is not a JSON object")
    for key, is_possible in (kinds or {}).items():
        if key in content and not is_possible(content[key]):
            raise DamagedFile(f"{path} is damaged: {key} is {str(content[key])[:60]}")
    return content


def is_number(value: Any) -> bool:
    """Whether a JSON value is a number, including infinity and NaN."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_count(value: Any) -> bool:
    """Whether a JSON value is a whole number from 0 below 2**63."""
    return is_number(value) and isinstance(value, int) and 0 <= value < 2**63


def is_text(value: Any) -> bool:
    """Whether a JSON value is a text."""
    return isinstance(value, str)


def is_mapping(value: Any) -> bool:
    """Whether a JSON value is an object."""
    return isinstance(value, dict)


def append_row(path: Path, columns: Sequence[str], row: Mapping[str, float]) -> None:
    """Append a row to a CSV file with a header; missing values are left blank.

    An existing file keeps its columns. If the row has further columns, the file is first replaced
    by one that has these columns, blank in all earlier rows.
    """
    there = _header(path)
    known = [
        *there,
        *(each for each in columns if each not in there and (each in row or not there)),
    ]
    if there and known != there:
        _widen(path, known)
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, known, lineterminator="\n")
        if not there:  # a new file, or one from which all rows were removed on resume
            writer.writeheader()
        writer.writerow(row)


def flush_to_disk(path: Path) -> None:
    """Wait until a file is on the disk, if it exists, so that it survives a power failure."""
    with suppress(FileNotFoundError), path.open("rb") as file:
        os.fsync(file.fileno())


def _header(path: Path) -> list[str]:
    try:
        with path.open(newline="") as file:
            return next(csv.reader(file), [])
    except FileNotFoundError:
        return []


def _widen(path: Path, columns: Sequence[str]) -> None:
    with path.open(newline="") as old, replacing(path, newline="") as new:
        writer = csv.DictWriter(new, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(csv.DictReader(old))


def keep_rows(path: Path, column: str, most: float) -> None:
    """Remove all rows from the first whose column exceeds `most`, or that is incomplete.

    The last row that is kept must have reached `most`. Raises DamagedFile if it has not, because
    rows are missing, and leaves the file unchanged.
    """
    # Version 0.1 wrote long numbers with seven digits, perhaps rounded up.
    most, reached, kept = max(most, float(f"{most:.7g}")), 0.0, 0
    try:
        place = header.index(column) if (header := _header(path)) else 0
        lines = path.read_bytes().splitlines(keepends=True)
        for line in lines:
            cells = line.decode().rstrip("\n").split(",")
            is_header = kept == 0
            if not line.endswith(b"\n") or len(cells) <= place:
                break
            value = 0.0 if is_header else float(cells[place])
            if value > most:
                break
            reached = max(reached, value)
            kept += len(line)
    except FileNotFoundError:
        lines = []
    except (ValueError, IndexError, csv.Error, IsADirectoryError) as error:
        raise DamagedFile(f"{path} is damaged ({error}): {_REMEDY}") from error
    if float(f"{reached:.7g}") != float(f"{most:.7g}"):
        raise DamagedFile(
            f"{path} has lost rows: the checkpoint is at {column} {most:g}, but the file ends at "
            f"{reached:g}. {_REMEDY}"
        )
    if lines:
        os.truncate(path, kept)


def read_rows(path: Path) -> list[Row]:
    """Read the complete rows; another process may be appending. Raises DamagedFile."""
    try:
        whole = path.read_text().rpartition("\n")[0]
        head, *rows = csv.reader(whole.splitlines()) if whole else [[]]
        if max(map(len, rows), default=0) > len(head):
            raise ValueError("a row has more cells than the head")
        return [
            {key: float(value) if value else math.nan for key, value in zip_longest(head, row)}
            for row in rows
            if row
        ]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, csv.Error, IsADirectoryError) as error:
        raise DamagedFile(f"{path} is damaged ({error})") from error


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Lock the folder for this process, until the block ends or the process dies.

    Raises FolderInUse if another process has the lock, OSError if `.lock` is a link.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ".lock"
    if path.is_symlink():
        raise OSError(f"{path} is a link to another file: remove it")
    with open(path, "a+", opener=_not_through_a_link) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise FolderInUse(f"{folder} is in use by process {lock.read() or 'unknown'}") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _not_through_a_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)
