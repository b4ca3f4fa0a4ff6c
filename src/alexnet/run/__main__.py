"""The process of a run: `python -m alexnet.run FOLDER`, which the launcher starts.

Rank 0 of a run with several processes starts the others in the same way, with `--rank K`.
"""

import argparse
import logging
import os
import sys
from pathlib import Path

from alexnet.config.check import load
from alexnet.config.trust import allowed, refuse_strangers
from alexnet.folders.ending import Exit
from alexnet.folders.run import RunDir
from alexnet.run.fork_server import RUN
from alexnet.run.process import attempt
from alexnet.run.ranks import Ranks, started_from_outside
from alexnet.run.train import train


def main() -> Exit:
    """Train the run of a folder, as one of its processes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rank", type=int, default=0)
    parser.add_argument("--config", type=Path, help="configuration, if not that of the folder")
    parser.add_argument("--warm-up", action="store_true", help="measure what the run would cost")
    given = parser.parse_args()
    # torch reads this at its first allocation, and then uses huge pages for large tensors. To
    # allocate small pages, the kernel needed a third of a step of two columns on a CPU; huge pages
    # take a third of that.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    outside = started_from_outside()
    rank = outside.rank if outside else given.rank
    run = RunDir(given.folder)
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.INFO)

    def train_it(ranks: Ranks) -> None:
        file = given.config or run.config
        may_build = allowed()
        config = load(file, allow=may_build)
        refuse_strangers(config.plain(), may_build, str(file))
        train(config, run, ranks, is_warm_up=given.warm_up)

    return attempt(train_it, run, rank=rank, command=[*RUN, str(run.path)])


if __name__ == "__main__":
    sys.exit(main())
