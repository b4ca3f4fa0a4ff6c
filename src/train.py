"""Train a network or an experiment: `python src/train.py --help`, or `alexnet-lab train --help`."""

import sys

from alexnet.cli import script

if __name__ == "__main__":
    sys.exit(script("train"))
