"""Train one run, or every arm and seed of an experiment: see --help."""

import sys

from alexnet.cli.train import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
