"""Write the report of a sweep: `python src/report.py --help`, or `alexnet-lab report --help`."""

import sys

from alexnet.cli import script

if __name__ == "__main__":
    sys.exit(script("report"))
