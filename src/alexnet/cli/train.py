"""Train one run, or every arm and seed of an experiment, and write the report.

    python src/train.py                             the default: CifarNet on MNIST5k
    python src/train.py +experiment=relu_vs_tanh    a claim of the paper
    python src/train.py --help                      experiments, groups and keys

--help does not import Hydra, which takes most of a second.
"""

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from alexnet.config.help import help_text
from alexnet.folders.ending import Exit


def main(arguments: Sequence[str]) -> int:
    """Run the command; conf/hydra/lab.yaml holds its help."""
    if {"-h", "--help"} & set(arguments):
        parser = ArgumentParser(add_help=False)
        parser.add_argument("--config-dir", "-cd", type=Path)  # as Hydra spells it
        own = parser.parse_known_args(arguments)[0].config_dir
        print(help_text([own] if own and own.is_dir() else []))
        return Exit.FINISHED
    from alexnet.cli import _training

    return _training.main(arguments)
