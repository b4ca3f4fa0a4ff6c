"""Prepare ImageNet: `python src/prepare.py --help`, or `alexnet-lab prepare --help`."""

import sys

from alexnet.cli import script

if __name__ == "__main__":
    sys.exit(script("prepare"))
