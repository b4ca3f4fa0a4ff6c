"""Build the W&B workspace of an experiment: see --help."""

import sys

from alexnet.cli import script

if __name__ == "__main__":
    sys.exit(script("dashboard"))
