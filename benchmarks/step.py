"""A training step of AlexNet and of CifarNet: ours against common alternatives.

    python benchmarks/step.py [threads] [repeats]

Prints images per second (of processor time if there is one thread).

AlexNet, batch 32, forward, backward and update: our task and network against the same network in
plain PyTorch (groups, torch.nn.LocalResponseNorm, Dropout, SGD), ours without norms, and
torchvision's, which has no norms, no columns and fewer maps in conv1.

CifarNet, batch 128, from uint8 images in memory to the updated weights, with shifted and reflected
images: our data module and task under Lightning's Trainer, against a bare loop that augments whole
batches in the same way, and against Lightning with torchvision's transforms of each image.
"""

import logging
import sys
import warnings
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import torch
import torchvision
from timing import alternate, now, ratio, spread
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from alexnet.data import Synthetic
from alexnet.learning import ClassificationTask
from alexnet.model import AlexNet, CifarNet

CIFAR_STEPS, CIFAR_BATCH, ALEXNET_BATCH = 12, 128, 32


def main() -> None:
    """Measure both networks."""
    threads, repeats = (*map(int, sys.argv[1:]), *(torch.get_num_threads(), 5)[len(sys.argv) - 1 :])
    torch.set_num_threads(threads)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    print(f"torch {torch.__version__}, {threads} threads, n = {repeats}, images per second")
    _compare(
        f"AlexNet, batch {ALEXNET_BATCH}",
        {
            "ours": _step_of_task(AlexNet(init="he")),
            "plain PyTorch, LRN and groups": _step_of(faithful_alexnet()),
            "ours without norms": _step_of_task(AlexNet(init="he", normalization="none")),
            "torchvision's, no LRN": _step_of(torchvision.models.alexnet()),
        },
        repeats,
    )
    _compare(
        f"CifarNet, batch {CIFAR_BATCH}, with its data",
        {
            "ours, none": lambda: _ours("none"),
            "ours, lrn": lambda: _ours("lrn"),
            "bare loop, none": _bare_loop,
            "Lightning, each image apart, none": _image_by_image,
        },
        repeats,
    )


def _compare(title: str, ways: dict[str, Callable[[], float]], repeats: int) -> None:
    found = alternate(ways, repeats=repeats)
    first = next(iter(found))
    print(title)
    for name, rates in found.items():
        print(f"  {name:34} {spread(rates, 1):>24}, {first} is {ratio(found[first], rates)} times")


def faithful_alexnet() -> nn.Sequential:
    """Build the paper's network from torch's own layers."""

    def norm() -> nn.Module:
        return nn.LocalResponseNorm(5, alpha=5e-4, k=2.0)

    def pool() -> nn.Module:
        return nn.MaxPool2d(3, 2)

    return nn.Sequential(
        nn.Conv2d(3, 96, 11, 4, padding=2), nn.ReLU(), norm(), pool(),
        nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(), norm(), pool(),
        nn.Conv2d(256, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU(), pool(),
        nn.Flatten(), nn.Linear(9216, 4096), nn.ReLU(), nn.Dropout(),
        nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 1000),
    )  # fmt: skip


def _step_of(net: nn.Module) -> Callable[[], float]:
    images, labels = _photographs()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-5, momentum=0.9, weight_decay=5e-4)

    def step() -> None:
        optimizer.zero_grad()
        functional.cross_entropy(net(images), labels).backward()
        optimizer.step()

    return lambda: ALEXNET_BATCH / _seconds(step)


def _step_of_task(net: AlexNet) -> Callable[[], float]:
    """Make a step of our task without a Trainer, so that it can alternate with the others."""
    images, labels = _photographs()
    task = ClassificationTask(net, lr=1e-5, weight_decay=5e-4)
    images = images.contiguous(memory_format=torch.channels_last)
    optimizer = task.configure_optimizers()

    def step() -> None:
        optimizer.zero_grad()
        logits = task(images)
        loss = task.loss(logits, labels)
        task.train_loss.update(loss.detach(), len(labels))
        task.train_error.update(logits.detach(), labels)
        loss.backward()
        optimizer.step()

    return lambda: ALEXNET_BATCH / _seconds(step)


def _photographs() -> tuple[Tensor, Tensor]:
    return torch.randn(ALEXNET_BATCH, 3, 224, 224), torch.arange(ALEXNET_BATCH)


def _seconds(step: Callable[[], None]) -> float:
    began = now()
    step()
    return now() - began


class _Clock(pl.Callback):
    """Time from the end of the first step to the end of the last."""

    began = ended = 0.0

    def on_train_batch_end(self, *_: Any) -> None:
        """Note the time at the end of a step."""
        self.ended = now()
        self.began = self.began or self.ended

    def images_per_second(self) -> float:
        """Images per second over all steps except the first."""
        return (CIFAR_STEPS - 1) * CIFAR_BATCH / (self.ended - self.began)


def _ours(normalization: Any) -> float:
    data = Synthetic(
        num_images=CIFAR_STEPS * CIFAR_BATCH, batch_size=CIFAR_BATCH, augmentation="pad4"
    )
    return _fit(CifarNet(normalization=normalization), datamodule=data)


def _fit(net: nn.Module, **data: Any) -> float:
    clock = _Clock()
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=1, limit_val_batches=0, callbacks=[clock], logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(ClassificationTask(net, lr=1e-3), **data)
    return clock.images_per_second()


def _bare_loop() -> float:
    """Train with the shortest loop that does the same."""
    images, labels = _pixels()
    net, clock = CifarNet(normalization="none").to(memory_format=torch.channels_last), _Clock()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9)
    mean = images.float().mean(0)
    rows = torch.arange(32)
    for chosen in torch.randperm(len(labels)).split(CIFAR_BATCH):
        padded = functional.pad(images[chosen], (4, 4, 4, 4))
        top, left = torch.randint(9, (2, CIFAR_BATCH, 1))
        columns = rows.where(torch.rand(CIFAR_BATCH, 1) < 0.5, 31 - rows) + left
        each = torch.arange(CIFAR_BATCH)[:, None, None]
        views = padded.permute(0, 2, 3, 1)[each, (rows + top)[:, :, None], columns[:, None]]
        optimizer.zero_grad()
        logits = net(views.permute(0, 3, 1, 2).float() - mean)
        functional.cross_entropy(logits, labels[chosen]).backward()
        optimizer.step()
        clock.on_train_batch_end()
    return clock.images_per_second()


class _EachImage(Dataset[tuple[Tensor, int]]):
    """Images that are transformed one by one, as in tutorials."""

    def __init__(self) -> None:
        self.images, self.labels = _pixels()
        self.view = v2.Compose(
            [
                v2.RandomCrop(32, padding=4),
                v2.RandomHorizontalFlip(),
                v2.ToDtype(torch.float32),
                v2.Normalize([128.0] * 3, [1.0] * 3),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        return self.view(self.images[row]), int(self.labels[row])


def _image_by_image() -> float:
    loader = DataLoader(_EachImage(), batch_size=CIFAR_BATCH, shuffle=True)
    return _fit(CifarNet(normalization="none"), train_dataloaders=loader)


def _pixels() -> tuple[Tensor, Tensor]:
    count = CIFAR_STEPS * CIFAR_BATCH
    return torch.randint(256, (count, 3, 32, 32), dtype=torch.uint8), torch.arange(count) % 10


if __name__ == "__main__":
    main()
