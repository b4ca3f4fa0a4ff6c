import csv
import fcntl
import json
import math
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from alexnet.files import replacing

Row = dict[str, float]
Kind = Callable[[Any], bool]


_REMEDY = "Restore it, or remove the folder of the run to train it again"


class FolderInUse(RuntimeError):
    """Another process is writing there."""


class DamagedFile(ValueError):
    """A file of a run or a sweep cannot be read: somebody else has written there."""


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Replace the file; a reader sees the old content or the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        json.dump(content, file, indent=2)
        file.write("\n")


def is_whole(checkpoint: Path) -> bool:
    """Whether every part of the file has its CRC-32: torch writes a zip archive."""
    try:
        with zipfile.ZipFile(checkpoint) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError):
        return False


def read_json(path: Path, kinds: Mapping[str, Kind] | None = None) -> dict[str, Any]:
    """Content of a file, {} if there is none.

    `kinds` say of keys what values they may have. Raises DamagedFile if the file is not a JSON
    object, or one of its values is of another kind.
    """
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError, IsADirectoryError) as error:
        raise DamagedFile(f"{path} is damaged ({error})") from error
    if not isinstance(content, dict):
        raise DamagedFile(f"{path} is not what a run has written")
    for key, is_possible in (kinds or {}).items():
        if key in content and not is_possible(content[key]):
            raise DamagedFile(f"{path} is damaged: {key} is {str(content[key])[:60]}")
    return content


def is_number(value: Any) -> bool:
    """Whether a value of a JSON file is one; infinity and NaN are, too."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_count(value: Any) -> bool:
    """Whether it is a whole number from 0 that a machine can hold."""
    return is_number(value) and isinstance(value, int) and 0 <= value < 2**63


def is_text(value: Any) -> bool:
    """Whether it is a text."""
    return isinstance(value, str)


def is_mapping(value: Any) -> bool:
    """Whether it is a JSON object."""
    return isinstance(value, dict)


def append_row(path: Path, columns: Sequence[str], row: Mapping[str, float]) -> None:
    """Add a row to a CSV file, below a header; what the row does not have is left blank.

    A file that exists keeps its columns. Those that the row has and the file does not are added to
    it first, blank in all rows before: the file is replaced at once.
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
        if not there:  # new, or a run that goes on has taken all rows back
            writer.writeheader()
        writer.writerow(row)


def flush_to_disk(path: Path) -> None:
    """Wait until the file would outlive a power failure, if there is one."""
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
    """Remove the rows from the first on whose column exceeds `most`, or that is cut short.

    The last of the others must have reached it: raises DamagedFile if rows are missing, and leaves
    the file as it is then.
    """
    # Until 0.1 long numbers were written with seven digits, perhaps rounded up.
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
            f"{path} has lost rows: the checkpoint counts {column} {most:g}, the file goes up to "
            f"{reached:g}. {_REMEDY}"
        )
    if lines:
        os.truncate(path, kept)


def read_rows(path: Path) -> list[Row]:
    """Those that are whole: the file may be appended to meanwhile. Raises DamagedFile."""
    try:
        whole = path.read_text().rpartition("\n")[0]
        return [
            {key: float(value) if value else math.nan for key, value in row.items()}
            for row in csv.DictReader(whole.splitlines())
        ]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, csv.Error, IsADirectoryError) as error:
        raise DamagedFile(f"{path} is damaged ({error})") from error


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Keep the folder for this process alone, until the block ends or the process dies.

    Raises FolderInUse if another process has it, OSError if its `.lock` is a link.
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
