"""List sweeps and runs: `python src/runs.py --help`, or `alexnet-lab runs --help`."""

import sys

from alexnet.cli import script

if __name__ == "__main__":
    sys.exit(script("runs"))
