"""Prepare ImageNet: `python src/prepare.py --help`, or `alexnet-lab prepare --help`."""

import sys

from alexnet.cli.prepare import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
