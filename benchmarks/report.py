"""Processor seconds and bytes of a sweep's report, from generated run files.

    python benchmarks/report.py [repeats]

48 runs of 100 epochs and 200 runs of 100 epochs, every metric of metrics.csv, 4 rows per epoch in
progress.csv. Each report is written by a new process, imports included, as after a sweep; the first
one, which compiles the modules, is not counted.
"""

import json
import math
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from timing import seconds_of_children, spread

from alexnet.folders.run import PROGRESS_COLUMNS, metrics_columns

EPOCHS = 100
EXPERIMENT = {
    "name": "benchmark",
    "factor": ["model.nonlinearity"],
    "measure": {"kind": "epochs_to_error", "metric": "train/error", "threshold": 0.25},
    "effect": "ratio",
    "claims": [{"by": "us", "text": "The first level is faster."}],
}


def write_sweep(folder: Path, arms: int, seeds: int) -> Path:
    """Write a sweep of arms x seeds runs whose errors fall, each at its own rate."""
    runs = {
        f"level{arm}_seed-{seed}": {"arm": {"model.nonlinearity": f"level{arm}"}, "seed": seed}
        for arm in range(arms)
        for seed in range(seeds)
    }
    plan = {
        "experiment": EXPERIMENT,
        "command": "python src/train.py +experiment=benchmark",
        "swept": ["model.nonlinearity", "seed"],
        "runs": runs,
    }
    folder.mkdir(parents=True)
    (folder / "sweep.json").write_text(json.dumps(plan))
    for name, run in runs.items():
        _write_run(folder / name, run, random.Random(name))
    return folder


def _write_run(folder: Path, run: dict, chance: random.Random) -> None:
    folder.mkdir()
    rate = chance.uniform(0.05, 0.2)

    def row(columns: Sequence[str], epoch: float) -> str:
        error = 0.9 * math.exp(-rate * epoch) + chance.uniform(0.0, 0.02)
        known = {"epoch": epoch, "images": 45000 * epoch, "lr": 0.01, "seconds": 12.5 + error}
        return ",".join(f"{known.get(column, error):.8g}" for column in columns)

    for file, columns, per_epoch in (
        ("metrics.csv", metrics_columns(), 1),
        ("progress.csv", PROGRESS_COLUMNS, 4),
    ):
        epochs = [step / per_epoch for step in range(1, per_epoch * EPOCHS + 1)]
        lines = [",".join(columns), *(row(columns, epoch) for epoch in epochs)]
        (folder / file).write_text("\n".join(lines) + "\n")
    config = {"model": run["arm"], "trainer": {"max_epochs": EPOCHS}, "seed": run["seed"]}
    (folder / ".hydra").mkdir()
    (folder / ".hydra" / "config.yaml").write_text(json.dumps(config))
    result = {"metrics": {"test/error": 0.2}, "epochs": EPOCHS, "seconds": 1250.0, **run}
    (folder / "status.json").write_text(json.dumps({"state": "finished", "epoch": EPOCHS}))
    (folder / "result.json").write_text(json.dumps({**result, "images_per_second": 3600.0}))
    (folder / "provenance.json").write_text(json.dumps({"commit": "0123abc", "dirty": False}))


def main() -> None:
    """Print a line for each size."""
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    program = "import sys; from alexnet.results import write_report; write_report(sys.argv[1])"
    with tempfile.TemporaryDirectory() as temporary:
        compiled = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": temporary}
        first = write_sweep(Path(temporary) / "first" / "made-0123abcd", 2, 2)
        subprocess.run([sys.executable, "-c", program, str(first)], check=True, env=compiled)
        for arms, seeds in ((2, 3), (8, 6), (20, 10)):
            sweep = write_sweep(Path(temporary) / f"{arms}x{seeds}" / "made-0123abcd", arms, seeds)
            seconds = []
            for _ in range(repeats):
                began = seconds_of_children()
                command = [sys.executable, "-c", program, str(sweep)]
                subprocess.run(command, check=True, env=compiled)
                seconds.append(seconds_of_children() - began)
            page = sweep / "report" / "index.html"
            size = page.stat().st_size / 1000 if page.exists() else 0.0
            print(
                f"{arms * seeds:4} runs x {EPOCHS} epochs: {spread(seconds, 2)} s, n = {repeats}; "
                f"index.html {size:.0f} kB"
            )


if __name__ == "__main__":
    main()
