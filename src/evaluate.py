"""Evaluate trained networks: `python src/evaluate.py --help`, or `alexnet-lab evaluate --help`."""

import sys

from alexnet.cli.evaluate import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
