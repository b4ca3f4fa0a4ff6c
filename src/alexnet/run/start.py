"""The identity of the weights from which a run starts, if it has an init_from.

A path does not identify them, because the file may be replaced, or its run may be trained further.
Therefore sweeps use a fingerprint of the checkpoint. This module does not import torch, because
sweeps use it, too.
"""

from pathlib import Path

from alexnet.config.schema import ConfigError
from alexnet.folders.sweep import find_checkpoint
from alexnet.sources.fingerprints import fingerprint_of_file

_DIGITS = 16


def fingerprint_of_start(init_from: str) -> str:
    """Return the fingerprint of a checkpoint, given as a file or as a run folder.

    Raises OSError if there is none, or if it is empty.
    """
    checkpoint = find_checkpoint(Path(init_from))
    if not checkpoint.stat().st_size:
        raise OSError(f"{checkpoint} is damaged: it is empty. Get it again")
    return fingerprint_of_file(checkpoint)[:_DIGITS]


def check_start(init_from: str, planned: str | None) -> str:
    """Return the fingerprint of the present checkpoint, and compare it with the planned one.

    Raises ConfigError if they differ, because seeds of one arm must start from the same weights.
    `planned` is None if it is not known.
    """
    found = fingerprint_of_start(init_from)
    if planned not in (None, found):
        raise ConfigError(
            f"init_from={init_from} has changed since the sweep was planned: run the same command "
            "again, which trains from the present checkpoint in a folder of its own"
        )
    return found
