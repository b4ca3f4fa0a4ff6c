"""Paths of this program, in a checkout or installed. Standard library only."""

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
# Only an installed package contains its own conf/. A search above the package could find a user's
# folder instead, because conf/config.yaml is the usual place in every Hydra program.
_IS_INSTALLED = (_PACKAGE / "conf").is_dir()

PROJECT = None if _IS_INSTALLED else _PACKAGE.parents[1]
"""The checkout that the program runs from; None if the package is installed."""

CONF = PROJECT / "conf" if PROJECT else _PACKAGE / "conf"


def outputs_folder(name: str) -> Path:
    """Return the folder for `outputs`, relative to the checkout, or else the current folder."""
    return (PROJECT or Path.cwd()) / Path(name).expanduser()


def python_path() -> str:
    """Return PYTHONPATH for a child process, which must import this package and all that we can.

    An installed package is found without it. site-packages is never added, because PYTHONPATH
    precedes the standard library, and any package there could replace a standard module.
    """
    folders = [str(_PACKAGE.parent)] if PROJECT else []
    folders += filter(None, [os.environ.get("PYTHONPATH")])
    return os.pathsep.join(dict.fromkeys(os.pathsep.join(folders).split(os.pathsep)))


def install_command(extra: str) -> str:
    """Return the command that installs an optional dependency."""
    return f"pip install -e '.[{extra}]'" if PROJECT else f"pip install 'alexnet-lab[{extra}]'"
