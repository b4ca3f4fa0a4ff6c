"""Export trained networks: `python src/export.py --help`, or `alexnet-lab export --help`."""

import sys

from alexnet.cli import script

if __name__ == "__main__":
    sys.exit(script("export"))
