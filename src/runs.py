"""List sweeps and their runs, or make room: see --help."""

import sys

from alexnet.cli.runs import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
