"""Where this program lies: in a checkout, or installed. Standard library only."""

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parents[1]

PROJECT = _CHECKOUT if (_CHECKOUT / "conf" / "config.yaml").is_file() else None
"""The checkout that this is run from; None if the package is installed."""

CONF = PROJECT / "conf" if PROJECT else _PACKAGE / "conf"


def outputs_folder(name: str) -> Path:
    """`outputs`, below the checkout, or without one below the current folder."""
    return (PROJECT or Path.cwd()) / name


def python_path() -> str:
    """PYTHONPATH for a process that must be able to import this package, and all that we can."""
    folders = [str(_PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.pathsep.join(dict.fromkeys(os.pathsep.join(folders).split(os.pathsep)))
