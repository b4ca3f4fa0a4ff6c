"""Where the files of CIFAR-10 lie, and which they are. Without torch, so that a sweep can ask."""

import hashlib
from pathlib import Path

DEFAULT_ROOT = Path("~/.cache/alexnet-lab")
FOLDER = "cifar-10-batches-py"
ARCHIVE = "cifar-10-python.tar.gz"  # as it is published
FILES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")


def find_folder(root: Path) -> Path:
    """The folder of the batches: in the root, or the root itself.

    Raises FileNotFoundError if the root is no folder.
    """
    if not root.is_dir():
        raise FileNotFoundError(
            f"data.root={root} is not a folder: set data.root to the folder that holds {FOLDER}, "
            "or leave it out to download CIFAR-10"
        )
    is_folder_itself = any((root / name).exists() for name in FILES)
    return root if is_folder_itself else root / FOLDER


def fingerprint(root: Path) -> str:
    """SHA-256 of what is in the files. Raises OSError if one is missing."""
    folder, sha256 = find_folder(root), hashlib.sha256()
    for name in FILES:
        with (folder / name).open("rb") as file:
            sha256.update(hashlib.file_digest(file, "sha256").digest())
    return sha256.hexdigest()
