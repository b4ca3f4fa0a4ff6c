"""The files of CIFAR-10 and their fingerprint. Without torch, because a sweep needs them, too."""

import hashlib
from pathlib import Path

DEFAULT_ROOT = Path("~/.cache/alexnet-lab")
FOLDER = "cifar-10-batches-py"
ARCHIVE = "cifar-10-python.tar.gz"  # as published
FILES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")


def find_folder(root: Path) -> Path:
    """Return the folder of the batches: in the root, or the root itself.

    Raises FileNotFoundError if the root is not a folder.
    """
    if not root.is_dir():
        raise FileNotFoundError(
            f"data.root={root} is not a folder: set data.root to the folder that holds {FOLDER}, "
            "or leave it out to download CIFAR-10"
        )
    is_folder_itself = any((root / name).exists() for name in FILES)
    return root if is_folder_itself else root / FOLDER


def fingerprint(root: Path) -> str:
    """Return the SHA-256 of the files' contents. Raises OSError if a file is missing."""
    folder, sha256 = find_folder(root), hashlib.sha256()
    for name in FILES:
        with (folder / name).open("rb") as file:
            sha256.update(hashlib.file_digest(file, "sha256").digest())
    return sha256.hexdigest()
