"""Train: one run, or every arm and seed of an experiment, and then the report.

    python src/train.py                             the default: CifarNet on MNIST5k
    python src/train.py +experiment=relu_vs_tanh    a claim of the paper
    python src/train.py --help                      experiments, groups and keys

Hydra takes most of a second to import and to compose a configuration: not for --help.
"""

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from alexnet.config.help import help_text
from alexnet.folders.ending import Exit


def main(arguments: Sequence[str]) -> int:
    """The command line; see the module's text."""
    if {"-h", "--help"} & set(arguments):
        parser = ArgumentParser(add_help=False)
        parser.add_argument("--config-dir", "-cd", type=Path)  # as Hydra spells it
        own = parser.parse_known_args(arguments)[0].config_dir
        print(help_text([own] if own and own.is_dir() else []))
        return Exit.FINISHED
    from alexnet.cli import _training

    return _training.main(arguments)
