"""AlexNet in two columns: two processes of one thread against one process of one and of two.

    python benchmarks/columns.py [batch size] [repeats]

Trains full AlexNet through ClassificationTask, PaperSGD and Lightning's Trainer on random images,
with the layouts in turn. Prints for each layout: the median images per second of the global batch,
the CPU seconds of a step in one process (without other work on the machine), the peak memory of a
process beyond its imports, and the numbers of parameters and optimizer state entries that a process
stores. All layouts use huge pages, as runs do. "bare" is the same work without strategy, task and
Trainer: a loop in two processes that exchange through torch.distributed.nn. The strategy should not
be slower than this.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

import lightning.pytorch as pl
import torch
import torch.distributed as dist
from lightning.fabric.plugins.environments.lightning import find_free_network_port
from torch import Tensor
from torch.distributed.nn.functional import all_gather
from torch.nn import functional
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from alexnet.learning import ClassificationTask, ColumnParallelStrategy
from alexnet.model import AlexNet, keep_column

LAYOUTS = {  # how, processes, threads of each
    "1 process x 1 thread": ("lightning", 1, 1),
    "1 process x 2 threads": ("lightning", 1, 2),
    "2 processes x 1 thread": ("lightning", 2, 1),
    "2 bare processes": ("bare", 2, 1),
}
WARM_UP, STEPS = 1, 4


def peak_megabytes() -> float:
    """Peak memory of this process since its start, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Clock(pl.Callback):
    """Wall-clock and processor seconds of every step; other programs hardly affect the latter."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.cpu: list[float] = []

    def on_train_batch_start(self, *_: Any) -> None:
        """Note the start of a step."""
        self._began = time.perf_counter(), time.process_time()

    def on_train_batch_end(self, *_: Any) -> None:
        """Note the end of a step."""
        wall, cpu = self._began
        self.wall.append(time.perf_counter() - wall)
        self.cpu.append(time.process_time() - cpu)


def measure(how: str, processes: int, threads: int, batch_size: int) -> dict[str, float]:
    """Train a few steps in one of the processes."""
    torch.set_num_threads(threads)
    imported = peak_megabytes()
    torch.manual_seed(0)
    net = AlexNet(init="he").to(memory_format=torch.channels_last)
    images = 60 * torch.randn(batch_size, 3, 224, 224)
    batch = images.contiguous(memory_format=torch.channels_last), torch.arange(batch_size)
    train = train_bare if how == "bare" else train_with_lightning
    clock = Clock()
    optimizer = train(net, batch, processes, clock)
    return {
        "seconds": statistics.median(clock.wall[WARM_UP:]),
        "cpu": statistics.median(clock.cpu[WARM_UP:]),
        "megabytes": peak_megabytes() - imported,
        "parameters": sum(weight.numel() for weight in net.parameters()),
        "velocity": sum(v.numel() for each in optimizer.state.values() for v in each.values()),
    }


def train_bare(
    net: AlexNet, batch: tuple[Tensor, Tensor], processes: int, clock: Clock
) -> Optimizer:
    """The shortest loop with the same sums, except that the logits' gradient is doubled."""
    dist.init_process_group("gloo", rank=int(os.environ["LOCAL_RANK"]), world_size=processes)
    keep_column(net, dist.get_rank(), processes)
    for name in net.crossings:
        net.get_submodule(name).register_forward_pre_hook(lambda _, x: torch.cat(all_gather(*x), 1))
    net.register_forward_hook(lambda _, __, logits: torch.cat(all_gather(logits.contiguous()), 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-4, momentum=0.9, weight_decay=5e-4)
    images, labels = batch
    for _ in range(WARM_UP + STEPS):
        clock.on_train_batch_start()
        optimizer.zero_grad()
        functional.cross_entropy(net(images), labels).backward()
        optimizer.step()
        clock.on_train_batch_end()
    return optimizer


def train_with_lightning(
    net: AlexNet, batch: tuple[Tensor, Tensor], processes: int, clock: Clock
) -> Optimizer:
    """Train as runs do."""
    task = ClassificationTask(net, lr=1e-4)
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=processes,
        strategy=ColumnParallelStrategy(processes) if processes > 1 else "auto",
        max_steps=WARM_UP + STEPS,
        callbacks=[clock],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    trainer.fit(task, DataLoader([batch] * (WARM_UP + STEPS), batch_size=None))
    return trainer.optimizers[0]


def measure_apart(how: str, processes: int, threads: int, batch_size: int) -> dict[str, float]:
    """Measure in new processes, each with its own peak memory; return the results of rank 0."""
    numbers = map(str, (processes, threads, batch_size))
    command = [sys.executable, __file__, "--as-rank", how, *numbers]
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(find_free_network_port())}
    place["THP_MEM_ALLOC_ENABLE"] = "1"
    ranks = [
        subprocess.Popen(
            command,
            env={**os.environ, **place, "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": str(threads)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for rank in range(processes)
    ]
    first, *_ = [rank.communicate()[0] for rank in ranks]
    return json.loads(first.splitlines()[-1])


def main() -> None:
    """Measure all layouts in turn, several times."""
    if sys.argv[1:2] == ["--as-rank"]:
        print(json.dumps(measure(sys.argv[2], *map(int, sys.argv[3:]))))
        return
    batch_size, repeats = (*map(int, sys.argv[1:]), *(64, 3)[len(sys.argv) - 1 :])
    print(f"torch {torch.__version__}, AlexNet, batch {batch_size}, {repeats} x {STEPS} steps")
    found: dict[str, list[dict[str, float]]] = {name: [] for name in LAYOUTS}
    for _ in range(repeats):
        for name, layout in LAYOUTS.items():
            found[name].append(measure_apart(*layout, batch_size))

    def median(name: str, key: str) -> float:
        return statistics.median(each[key] for each in found[name])

    single = next(iter(LAYOUTS))
    for name in LAYOUTS:
        rates = sorted(batch_size / each["seconds"] for each in found[name])
        rate, memory = statistics.median(rates), median(name, "megabytes")
        print(
            f"{name:24} {rate:5.1f} images/s ({rates[0]:.1f} to {rates[-1]:.1f}), "
            f"{rate / batch_size * median(single, 'seconds'):.2f} times; "
            f"{median(name, 'cpu'):.2f} s of CPU per step and process; "
            f"{memory:5.0f} MB, {memory / median(single, 'megabytes'):.2f} times; "
            f"{median(name, 'parameters'):,.0f} parameters, "
            f"{median(name, 'velocity'):,.0f} velocities"
        )


if __name__ == "__main__":
    main()
