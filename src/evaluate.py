"""Evaluate trained networks: `python src/evaluate.py --help`, or `alexnet-lab evaluate --help`."""

import sys

from alexnet.cli import script

if __name__ == "__main__":
    sys.exit(script("evaluate"))
