"""Send what W&B lacks of a sweep: see --help."""

import sys

from alexnet.cli import script

if __name__ == "__main__":
    sys.exit(script("sync"))
