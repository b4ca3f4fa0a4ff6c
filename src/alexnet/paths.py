"""Where this program lies: in a checkout, or installed. Standard library only."""

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
# Only an installed package holds its own conf/. Looking above the package instead could find a
# folder of the user's: conf/config.yaml is where every Hydra program keeps its configuration.
_IS_INSTALLED = (_PACKAGE / "conf").is_dir()

PROJECT = None if _IS_INSTALLED else _PACKAGE.parents[1]
"""The checkout that this is run from; None if the package is installed."""

CONF = PROJECT / "conf" if PROJECT else _PACKAGE / "conf"


def outputs_folder(name: str) -> Path:
    """`outputs`, below the checkout, or without one below the current folder; ~ is one's home."""
    return (PROJECT or Path.cwd()) / Path(name).expanduser()


def python_path() -> str:
    """PYTHONPATH for a process that must be able to import this package, and all that we can.

    An installed package is found without it, and PYTHONPATH precedes the standard library: adding
    site-packages there would let any package replace a standard module.
    """
    folders = [str(_PACKAGE.parent)] if PROJECT else []
    folders += filter(None, [os.environ.get("PYTHONPATH")])
    return os.pathsep.join(dict.fromkeys(os.pathsep.join(folders).split(os.pathsep)))


def install_command(extra: str) -> str:
    """What to type in order to install one of the optional dependencies."""
    return f"pip install -e '.[{extra}]'" if PROJECT else f"pip install 'alexnet-lab[{extra}]'"
