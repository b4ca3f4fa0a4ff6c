"""Model a training step: `python src/timeline.py --help`, or `alexnet-lab timeline --help`."""

import sys

from alexnet.cli import script

if __name__ == "__main__":
    sys.exit(script("timeline"))
