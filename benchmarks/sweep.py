"""What a sweep costs beyond its trainings, and what a checkpoint of AlexNet costs.

    python benchmarks/sweep.py [runs]

Measures the time of a run of a sweep beyond its training (from the end of the previous run to its
own end, less the `seconds` in its result), and compares it with `python -m alexnet.run FOLDER`,
which imports torch and Lightning, and with these imports alone. Also measures the memory of the
sweep's process.
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


def sweep(outputs: Path, runs: int) -> tuple[list[float], list[int]]:
    """Seconds of each run but the first beyond its training, and KiB of the sweep's process.

    Memory is read twice a second until the last run has ended, before the report loads matplotlib.
    """
    command = ["src/train.py", *TINY, f"seed=range({runs})", f"outputs={outputs}"]
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
    watcher.join()
    ended = sorted(results(), key=lambda file: file.stat().st_mtime)
    assert len(ended) == runs
    beyond = [
        after.stat().st_mtime - before.stat().st_mtime - training_seconds(RunDir(after.parent))
        for before, after in itertools.pairwise(ended)
    ]
    return beyond, memory


def training_seconds(run: RunDir) -> float:
    """Seconds that training, validation and test of a run have taken."""
    return run.read_result()["seconds"]


def bare_run(finished: RunDir, folder: Path) -> float:
    """Seconds of the process of a run alone beyond its training, from a copy of a run's folder."""
    run = RunDir(folder / finished.path.parent.name / finished.name)
    shutil.copytree(finished.path / ".hydra", run.path / ".hydra")
    shutil.copy(finished.path.parent / "sweep.json", run.path.parent)
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "alexnet.run", str(run.path)],
        cwd=PROJECT, check=True, capture_output=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return time.perf_counter() - began - training_seconds(run)


def imports() -> float:
    """Seconds of a process that imports torch and Lightning."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import torch, lightning.pytorch"], check=True)
    return time.perf_counter() - began


def in_words(seconds: list[float]) -> str:
    """Median and range as text."""
    low, high = min(seconds), max(seconds)
    return f"{statistics.median(seconds):.2f} s ({low:.2f} to {high:.2f}, n = {len(seconds)})"


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
        beyond, memory = sweep(folder / "sweep", runs)
        [plan] = (folder / "sweep").glob("*/*/sweep.json")
        finished = next(SweepDir(plan.parent).runs())
        alone = [bare_run(finished, folder / f"bare{i}") for i in range(5)]
        imported = [imports() for _ in range(5)]
        half = len(beyond) // 2
        print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {runs} runs")
        print(f"a run after the first, beyond its training: {in_words(beyond)}")
        print(f"  first half of the sweep: {in_words(beyond[:half])}")
        print(f"  second half: {in_words(beyond[half:])}")
        print(f"the process of a run alone, beyond its training: {in_words(alone)}")
        print(f"importing torch and Lightning alone: {in_words(imported)}")
        third = max(1, len(memory) // 3)
        print(
            f"memory of the sweep: {max(memory[:third]) / 1024:.0f} MiB in the first third, ",
            end="",
        )
        print(f"{max(memory[third:]) / 1024:.0f} MiB later, before the report")
        saves = checkpoint_seconds(folder / "alexnet")
        print(f"a checkpoint of AlexNet: {in_words(saves)}")


if __name__ == "__main__":
    main()
