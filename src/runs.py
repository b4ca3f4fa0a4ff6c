"""List sweeps and their runs, or free disk space: see --help."""

import sys

from alexnet.cli import script

if __name__ == "__main__":
    sys.exit(script("runs"))
