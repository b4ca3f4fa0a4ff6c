"""Build W&B pages: `python src/dashboard.py --help`, or `alexnet-lab dashboard --help`."""

import sys

from alexnet.cli import script

if __name__ == "__main__":
    sys.exit(script("dashboard"))
