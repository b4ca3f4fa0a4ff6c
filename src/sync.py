"""Send a sweep to W&B: `python src/sync.py --help`, or `alexnet-lab sync --help`."""

import sys

from alexnet.cli import script

if __name__ == "__main__":
    sys.exit(script("sync"))
