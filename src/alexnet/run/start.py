"""Which weights a run starts from, if it has an init_from.

A path does not tell: the file may be replaced, or the run whose folder it is be trained on. So a
sweep is known by a fingerprint of what lies there. Without torch, because a sweep asks too.
"""

from pathlib import Path

from alexnet.config.schema import ConfigError
from alexnet.folders.sweep import find_checkpoint
from alexnet.sources.fingerprints import fingerprint_of_file

_DIGITS = 16


def fingerprint_of_start(init_from: str) -> str:
    """Of the checkpoint that a file or a run's folder is. Raises OSError if there is none."""
    checkpoint = find_checkpoint(Path(init_from))
    if not checkpoint.stat().st_size:
        raise OSError(f"{checkpoint} is damaged: it is empty. Get it again")
    return fingerprint_of_file(checkpoint)[:_DIGITS]


def check_start(init_from: str, planned: str | None) -> str:
    """The fingerprint of what lies there now, which must be the planned one, if that is known.

    Raises ConfigError otherwise: seeds of one arm must start from the same weights.
    """
    found = fingerprint_of_start(init_from)
    if planned not in (None, found):
        raise ConfigError(
            f"init_from={init_from} does not hold what it held when the sweep was planned: run the "
            "same command again, which trains from what it holds now in a folder of its own"
        )
    return found
