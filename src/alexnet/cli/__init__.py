"""What the commands do: `alexnet-lab train ...` and `python src/train.py ...` are the same."""

import sys
from importlib import import_module

COMMANDS = ("train", "report", "runs", "evaluate", "prepare")


def main() -> int:
    """`alexnet-lab COMMAND ...`."""
    name = next(iter(sys.argv[1:]), "")
    if name not in COMMANDS:
        print(f"usage: alexnet-lab {{{','.join(COMMANDS)}}} ...", file=sys.stderr)
        print("`alexnet-lab COMMAND --help` says what a command does", file=sys.stderr)
        return 0 if name in ("-h", "--help") else 2
    sys.argv[:2] = [f"{sys.argv[0]} {name}"]
    code: int = import_module(f"{__name__}.{name}").main(sys.argv[1:])
    return code
