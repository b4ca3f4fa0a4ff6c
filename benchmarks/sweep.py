"""What a sweep costs beyond its trainings, and what a checkpoint of AlexNet costs.

    python benchmarks/sweep.py [runs]

Compares the seconds per run of a sweep (the slope between two sweeps of different length, so that
composing and reporting, once per sweep, do not count) with the bare `python -m alexnet.run FOLDER`
of the same runs, both on this machine in one go; and the memory of the sweep's process.
"""

import itertools
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import lightning.pytorch as pl
import torch

from alexnet.data import Synthetic
from alexnet.folders.run import RunDir
from alexnet.folders.sweep import SweepDir
from alexnet.learning import ClassificationTask, RunRecorder
from alexnet.model import AlexNet
from alexnet.paths import PROJECT

TINY = ("data=synthetic", "data.num_images=32", "data.batch_size=8", "trainer.max_epochs=1")


def sweep(outputs: Path, runs: int) -> tuple[float, list[float], list[int]]:
    """Seconds in all, seconds between the ends of runs, and KiB of the sweep's process.

    Memory twice a second until the last run has ended: what follows is the report, with matplotlib.
    """
    command = ["src/train.py", *TINY, f"seed=range({runs})", f"outputs={outputs}"]
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *command], cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
    )
    memory: list[int] = []

    def results() -> list[Path]:
        return list(outputs.glob("*/*/*/result.json"))

    def watch() -> None:
        while process.poll() is None and len(results()) < runs:
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            memory.extend(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
            time.sleep(0.5)

    watcher = threading.Thread(target=watch)
    watcher.start()
    process.wait()
    seconds = time.perf_counter() - began
    watcher.join()
    ends = sorted(file.stat().st_mtime for file in results())
    assert len(ends) == runs
    return seconds, [b - a for a, b in itertools.pairwise(ends)], memory


def bare_run(finished: RunDir, folder: Path) -> float:
    """Seconds of the process of a run alone, started from a copy of a run's folder."""
    run = RunDir(folder / finished.path.parent.name / finished.name)
    shutil.copytree(finished.path / ".hydra", run.path / ".hydra")
    shutil.copy(finished.path.parent / "sweep.json", run.path.parent)
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "alexnet.run", str(run.path)],
        cwd=PROJECT, check=True, capture_output=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return time.perf_counter() - began


def checkpoint_seconds(folder: Path, repeats: int = 5) -> list[float]:
    """Seconds of a checkpoint of AlexNet with its velocities, 490 MB, written and flushed."""
    folder.mkdir()
    recorder = RunRecorder(RunDir(folder))
    seconds = []

    class Save(pl.Callback):
        def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            for _ in range(repeats):
                began = time.perf_counter()
                recorder.save(trainer, pl_module)
                seconds.append(time.perf_counter() - began)

    trainer = pl.Trainer(
        max_steps=1, logger=False, callbacks=[recorder, Save()],
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        accelerator="cpu",
    )  # fmt: skip
    data = Synthetic(num_images=4, batch_size=4, image_size=224)
    trainer.fit(ClassificationTask(AlexNet(), lr=0.01), datamodule=data)
    return seconds


def main() -> None:
    """Measure and print."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        short, _, _ = sweep(folder / "short", 2)
        [plan] = (folder / "short").glob("*/*/sweep.json")
        finished = next(SweepDir(plan.parent).runs())
        bare = [bare_run(finished, folder / f"bare{i}") for i in range(5)]
        long, gaps, memory = sweep(folder / "long", runs)
        bare += [bare_run(finished, folder / f"bare{i}") for i in range(5, 10)]
        per_run, alone = (long - short) / (runs - 2), statistics.median(bare)
        half = len(gaps) // 2
        print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {runs} runs")
        print(
            f"a run in the sweep {per_run:.2f} s, alone {alone:.2f} s (median of {len(bare)}, ",
            end="",
        )
        print(f"{min(bare):.2f} to {max(bare):.2f}): {100 * (per_run / alone - 1):+.1f} %")
        print(f"between ends of runs: first half {statistics.median(gaps[:half]):.2f} s, ", end="")
        print(f"second half {statistics.median(gaps[half:]):.2f} s (medians)")
        third = max(1, len(memory) // 3)
        print(
            f"memory of the sweep: {max(memory[:third]) / 1024:.0f} MiB in the first third, ",
            end="",
        )
        print(f"{max(memory[third:]) / 1024:.0f} MiB later, before the report")
        saves = checkpoint_seconds(folder / "alexnet")
        print(
            f"a checkpoint of AlexNet: {statistics.median(saves):.2f} s (median of {len(saves)}, ",
            end="",
        )
        print(f"{min(saves):.2f} to {max(saves):.2f})")


if __name__ == "__main__":
    main()
