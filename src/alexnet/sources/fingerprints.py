"""Fingerprints of files: SHA-256 of their contents."""

import hashlib
from collections.abc import Iterable
from pathlib import Path


def fingerprint_of_file(file: Path) -> str:
    """Return the SHA-256 of the content of a file."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def fingerprint_of_files(root: Path, patterns: Iterable[str]) -> str:
    """Return the SHA-256 of the names and contents of the matching files below a folder.

    Raises FileNotFoundError if the root is not a folder, or if no file matches.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"data.root={root} is not a folder")
    patterns = list(patterns)
    files = sorted({file for each in patterns for file in root.glob(each) if file.is_file()})
    if not files:
        raise FileNotFoundError(f"data.root={root} contains no file {' or '.join(patterns)}")
    sha256 = hashlib.sha256()
    for file in files:
        name = file.relative_to(root).as_posix()
        sha256.update(f"{name} {fingerprint_of_file(file)}\n".encode())
    return sha256.hexdigest()
