"""Send a sweep to W&B from its files: `python src/sync.py FOLDER`.

    python src/sync.py outputs/relu_vs_tanh/cifar10-0123abcd          after `wandb login`
    WANDB_MODE=offline python src/sync.py outputs                     into files; no account needed

FOLDER is a sweep (it contains sweep.json), or contains sweeps. Each run becomes one W&B run, and
the report of the sweep another one, whether or not the sweep was logged with logger=wandb. Only
data that W&B lacks are sent: the command can be repeated during training and afterwards.

Exit status: 0 all sent; 1 something could not be sent; 2 the command was wrong.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from alexnet.cli import folder_of
from alexnet.folders.sweep import SweepDir, find_sweeps
from alexnet.paths import install_command

if TYPE_CHECKING:
    from alexnet.run.wandb_runs import Destination


def main(arguments: Sequence[str]) -> int:
    """Send what W&B lacks, and print the result for each run."""
    parser = argparse.ArgumentParser(
        prog="sync.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=folder_of, metavar="FOLDER")
    parser.add_argument("--entity", help="W&B user or team (default: your account's)")
    parser.add_argument("--project", default="alexnet-lab", help="W&B project (%(default)s)")
    parser.add_argument(
        "--checkpoints", action="store_true", help="also send the checkpoints of runs that are sent"
    )
    parsed = parser.parse_args(arguments)
    if (mode := os.environ.get("WANDB_MODE", "online")) not in ("online", "offline"):
        parser.error(f"WANDB_MODE={mode} sends nothing: set it to online or offline")
    if find_spec("wandb") is None:
        parser.error(f"sync.py needs the package wandb: {install_command('wandb')}")
    folder: Path = parsed.folder
    sweeps = find_sweeps(folder)
    if not sweeps:
        what = "has no sweep in it" if folder.is_dir() else "is not a folder"
        parser.error(
            f"{folder} {what}: give a folder with sweep.json, such as "
            "outputs/relu_vs_tanh/cifar10-0123abcd, or a folder of such folders"
        )

    # Imported late, because pandas and wandb take seconds: a wrong command is refused at once.
    from alexnet.run.wandb_runs import Destination

    is_offline = mode == "offline"
    destination = Destination(
        mode="offline" if is_offline else "online", project=parsed.project, entity=parsed.entity
    )
    sent = [_sync(sweep, destination, checkpoints=parsed.checkpoints) for sweep in sweeps]
    if is_offline and any(sent):
        print("offline: `wandb sync FOLDER/wandb/offline-run-*` uploads what was written")
    return 0 if all(sent) else 1


def _sync(sweep: SweepDir, destination: "Destination", *, checkpoints: bool) -> bool:
    """Send one sweep, and return whether all of it could be sent."""
    from alexnet.results import write_report
    from alexnet.run.sync import sync

    is_complete = True
    try:
        report = write_report(sweep.path) if len(sweep.read_plan()["runs"]) > 1 else None
        for each in sync(sweep, destination, report=report, checkpoints=checkpoints):
            print(f"{each.name:<40} {each.state:<12} {each.outcome}", flush=True)
            is_complete &= each.is_complete
    except Exception as error:  # W&B's client raises many kinds
        print(f"{sweep.path}: {error}", file=sys.stderr)
        return False
    return is_complete
