"""Report what a sweep found: `python src/report.py --help`, or `alexnet-lab report --help`."""

import sys

from alexnet.cli.report import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
