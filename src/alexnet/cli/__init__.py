"""The commands: `alexnet-lab train ...` and `python src/train.py ...` do the same."""

import sys
from importlib import import_module
from pathlib import Path

from alexnet import __version__
from alexnet.cli._streams import prepare_streams
from alexnet.config.suggest import did_you_mean
from alexnet.folders.ending import Exit

COMMANDS = {
    "train": "train a network, or all arms of an experiment, and report",
    "evaluate": "errors, predictions and figures of trained networks",
    "export": "write trained networks for other programs, as a model card or a live page",
    "prepare": "convert raw ImageNet images once, before training on them",
    "report": "write the reports of finished sweeps again",
    "runs": "list sweeps and runs, or remove checkpoints",
    "dashboard": "build the W&B workspace and report page of an experiment",
    "sync": "send what W&B lacks of a sweep, from its files",
    "timeline": "model how long a training step takes, in 2012, here, or on another card",
}
"""Commands and their descriptions; each command is `main` in the module of the same name."""

_USAGE = """\
usage: alexnet-lab COMMAND [arguments]

Experiments of "ImageNet Classification with Deep Convolutional Neural Networks" (2012).

{commands}

  alexnet-lab COMMAND --help    arguments of a command
  alexnet-lab --version         version of this program"""


def main() -> int:
    """Run `alexnet-lab COMMAND ...` and return the exit status."""
    prepare_streams()
    name = next(iter(sys.argv[1:]), "")
    if name in ("-h", "--help"):
        print(_usage())
        return Exit.FINISHED
    if name == "--version":
        print(f"alexnet-lab {__version__}")
        return Exit.FINISHED
    if not name:
        print(_usage(), file=sys.stderr)
        return Exit.WRONG
    if name not in COMMANDS:
        hint = did_you_mean(name, COMMANDS)
        print(f"error: unknown command {name}: {hint}", file=sys.stderr)
        print("See alexnet-lab --help", file=sys.stderr)
        return Exit.WRONG
    # Hydra reads the arguments from sys.argv and shows the program's name in its messages.
    sys.argv[:2] = [f"alexnet-lab {name}"]
    return _run(name)


def script(name: str) -> int:
    """Run `python src/NAME.py ...`, one of COMMANDS, and return the exit status."""
    prepare_streams()
    return _run(name)


def folder_of(word: str) -> Path:
    """Return the folder in an argument: FOLDER, or outputs=FOLDER as train.py spells it."""
    return Path(word.removeprefix("outputs="))


def _run(name: str) -> int:
    code: int = import_module(f"{__name__}.{name}").main(sys.argv[1:])
    return code


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = (f"  {name:<{width}}  {text}" for name, text in COMMANDS.items())
    return _USAGE.format(commands="\n".join(lines))
