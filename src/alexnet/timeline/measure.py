"""Measurement of this machine: rates of short pieces, and the step that they should predict.

python -m alexnet.timeline.measure COLUMNS BATCH_SIZE ROUNDS      one of the processes
"""

import json
import logging
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import lightning.pytorch as pl
import torch
import torch.distributed as dist
from lightning.fabric.plugins.environments.lightning import find_free_network_port
from torch import Tensor, nn
from torch.utils.data import DataLoader
from typing_extensions import override

from alexnet.learning import ClassificationTask, ColumnParallelStrategy, PaperSGD
from alexnet.learning.columns.exchange import Exchange
from alexnet.model import AlexNet, keep_column
from alexnet.paths import python_path
from alexnet.timeline.costs import BYTES, Kind, Layer, layers_of
from alexnet.timeline.schedule import Machine

# One piece for each kind of work, from which the other layers of that kind are predicted.
PIECES: dict[Kind, str] = {
    "first convolution": "conv1",
    "convolution": "conv4",
    "product": "fc7",
    "norm": "norm2",
    "pooling": "pool2",
    "nonlinearity": "nonlinearity.conv2",
    "dropout": "dropout6",
}
_UPDATED = (2048, 4096)  # a matrix of weights
_EXCHANGED = (1, 256)  # numbers per image of a small and of a large exchange, x 64 places
_PLACES = 64
_REPEATS = 3
_WARM_UP, _STEPS = 1, 3


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Measurements with `columns` processes of one thread each: medians over the rounds.

    `rates`, `link` and `latency` are those of schedule.Machine, measured on pieces. `step` is the
    length in seconds of a real training step, and `steps` its length in each round.
    """

    columns: int
    images: int
    rates: dict[Kind, float]
    link: float
    latency: float
    step: float
    steps: list[float]

    @property
    def machine(self) -> Machine:
        """The model of this machine, without overlap, because gloo's exchanges block."""
        return Machine(name="this machine", rates=self.rates, link=self.link, latency=self.latency)


def measure(*, columns: int, images: int, rounds: int = 3) -> Measured:
    """Measure in new processes, which alternate between the pieces and the step.

    Raises RuntimeError with the last lines of a process that failed.
    """
    environment = {
        **os.environ,
        "PYTHONPATH": python_path(),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(find_free_network_port()),
        "OMP_NUM_THREADS": "1",
        "THP_MEM_ALLOC_ENABLE": "1",  # as our runs do
    }
    command = [sys.executable, "-m", __name__, *map(str, (columns, images, rounds))]
    ranks = [
        subprocess.Popen(
            command,
            env={**environment, "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(columns)
    ]
    ends = [rank.communicate() for rank in ranks]
    for rank, (_, errors) in zip(ranks, ends, strict=True):
        if rank.returncode:
            raise RuntimeError("\n".join(errors.splitlines()[-5:]))
    return Measured(**json.loads(ends[0][0].splitlines()[-1]))


def _as_rank(columns: int, images: int, rounds: int) -> Measured:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=int(os.environ["LOCAL_RANK"]), world_size=columns)
    layers = {layer.name: layer for layer in layers_of(AlexNet, columns)}
    rates: dict[Kind, list[float]] = defaultdict(list)
    exchanges: list[list[float]] = [[], []]
    steps = []
    for _ in range(rounds):
        for kind, rate in _rates(layers, columns, images).items():
            rates[kind].append(rate)
        for seconds, numbers in zip(exchanges, _EXCHANGED, strict=True):
            seconds.append(_exchange(numbers, columns, images) if columns > 1 else 0.0)
        steps.append(_step(columns, images))
    small, large = map(statistics.median, exchanges)
    more = BYTES * images * _PLACES * (_EXCHANGED[1] - _EXCHANGED[0])
    link = more / (large - small) if large > small else float("inf")
    return Measured(
        columns=columns,
        images=images,
        rates={kind: statistics.median(found) for kind, found in rates.items()},
        link=link,
        latency=max(0.0, small - BYTES * images * _PLACES * _EXCHANGED[0] / link),
        step=statistics.median(steps),
        steps=steps,
    )


def _rates(layers: dict[str, Layer], columns: int, images: int) -> dict[Kind, float]:
    """Measure FLOP or bytes per second of each piece, forward and backward, for this column."""
    net = AlexNet(init="he").train()
    keep_column(net, 0, columns)
    rates: dict[Kind, float] = {}
    for kind, name in PIECES.items():
        layer, module = layers[name], net.get_submodule(name)
        x = torch.randn(images, *layer.shape)
        if x.dim() == 4:
            x = x.contiguous(memory_format=torch.channels_last)
            module = module.to(memory_format=torch.channels_last)
        x.requires_grad_(kind != "first convolution")
        work = images * (layer.forward + layer.backward)
        rates[kind] = work / _seconds(partial(_pass, module, x))
    weight = nn.Parameter(torch.randn(_UPDATED))
    weight.grad = torch.randn(_UPDATED)
    optimizer = PaperSGD([weight], lr=1e-4)
    rates["update"] = 5 * BYTES * weight.numel() / _seconds(optimizer.step)
    return rates


def _pass(module: nn.Module, x: Tensor) -> None:
    module.zero_grad()
    x.grad = None
    y = module(x)
    y.backward(torch.ones_like(y))


def _exchange(numbers: int, columns: int, images: int) -> float:
    """Measure the seconds of one exchange: the mean of joining activities and gradients."""
    assert dist.group.WORLD is not None
    exchange = Exchange(dist.group.WORLD, columns, dist.get_rank())
    side = int(_PLACES**0.5)
    mine = torch.randn(images, numbers, side, side).contiguous(memory_format=torch.channels_last)

    def both_ways() -> None:
        exchange.reduce_scatter(exchange.all_gather(mine))

    return _seconds(both_ways) / 2


def _seconds(work: Callable[[], Any]) -> float:
    """Measure the median time of some work, which all processes do at the same time."""
    work()
    found = []
    for _ in range(_REPEATS):
        dist.barrier()
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return statistics.median(found)


class _Clock(pl.Callback):
    def __init__(self) -> None:
        self.seconds: list[float] = []

    @override
    def on_train_batch_start(self, *_: Any) -> None:
        self.began = time.perf_counter()

    @override
    def on_train_batch_end(self, *_: Any) -> None:
        self.seconds.append(time.perf_counter() - self.began)


def _step(columns: int, images: int) -> float:
    """Measure the seconds of a step with Lightning's Trainer, as in our runs."""
    torch.manual_seed(0)
    net = AlexNet(init="he").to(memory_format=torch.channels_last)
    pixels = 60 * torch.randn(images, 3, net.image_size, net.image_size)
    batch = pixels.contiguous(memory_format=torch.channels_last), torch.arange(images)
    clock = _Clock()
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=columns,
        strategy=ColumnParallelStrategy(columns) if columns > 1 else "auto",
        max_steps=_WARM_UP + _STEPS,
        callbacks=[clock],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    trainer.fit(
        ClassificationTask(net, lr=1e-4),
        DataLoader([batch] * (_WARM_UP + _STEPS), batch_size=None),  # type: ignore[arg-type]
    )
    return statistics.median(clock.seconds[_WARM_UP:])


if __name__ == "__main__":
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    print(json.dumps(asdict(_as_rank(*map(int, sys.argv[1:])))))
