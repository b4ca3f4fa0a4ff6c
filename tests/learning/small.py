"""Runs of a moment, stopped wherever a test likes, that go on when they are run again."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from typing_extensions import override

from alexnet.data import Synthetic
from alexnet.folders.ending import Stopped
from alexnet.folders.run import RunDir
from alexnet.learning import ClassificationTask, RunRecorder

EPOCH_END = -1
BATCHES = 4  # of an epoch: 32 images in batches of 8


class Net(nn.Module):
    """One layer behind torch's dropout, whose masks come from the global generator."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(3 * 8 * 8, 10)

    @override
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(self.dropout(images.flatten(1) / 100))


class Plain(pl.LightningDataModule):
    """A data module as people write them: it shuffles by the global generator, no start_at."""

    num_classes = 10

    @override
    def train_dataloader(self) -> Any:
        return DataLoader(self._images(32, seed=1), batch_size=8, shuffle=True)

    @override
    def val_dataloader(self) -> Any:
        return DataLoader(self._images(16, seed=2), batch_size=8)

    def _images(self, number: int, seed: int) -> TensorDataset:
        generator = torch.Generator().manual_seed(seed)
        images = 100 * torch.randn(number, 3, 8, 8, generator=generator)
        return TensorDataset(images, torch.arange(number) % 10)


class Watch(Checkpoint):
    """Keeps what each batch was and the rates, and kills the run where it is told to."""

    def __init__(self, stop_after: tuple[int, int] | None = None) -> None:
        self.rates: dict[tuple[int, int], list[float]] = {}
        self.batches: dict[tuple[int, int], float] = {}
        self.stop_after = stop_after

    @override
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        at = trainer.current_epoch, batch_idx
        self.rates[at] = [group["lr"] for group in trainer.optimizers[0].param_groups]
        self.batches[at] = float(batch[0].sum())
        if at == self.stop_after:
            [recorder] = [each for each in trainer.callbacks if isinstance(each, RunRecorder)]
            if recorder.can_save_after(trainer, batch_idx):
                recorder.save(trainer, pl_module)
            raise Stopped

    @override
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if (trainer.current_epoch, EPOCH_END) == self.stop_after:
            raise Stopped


def fit(
    folder: Path,
    *,
    watch: Watch | None = None,
    make_net: Callable[[], nn.Module] = Net,
    data: pl.LightningDataModule | None = None,
    learning: dict[str, Any] | None = None,
    callbacks: list[Callback] | None = None,
    stop_at: float | None = None,
    **trainer: Any,
) -> RunDir:
    """Train, from the run's last checkpoint if there is one."""
    folder.mkdir(exist_ok=True, parents=True)
    run = RunDir(folder)
    torch.manual_seed(0)
    task = ClassificationTask(make_net(), **(learning or {}))
    others = {"size": 8, "image_size": 8, "num_classes": 10}
    lightning = pl.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        num_sanity_val_steps=0, use_distributed_sampler=False,
        callbacks=[
            *(callbacks or []), RunRecorder(run, stop_at_train_error=stop_at), watch or Watch()
        ],
        **{"max_epochs": 3, **trainer},
    )  # fmt: skip
    with suppress(Stopped):
        lightning.fit(
            task,
            datamodule=data or Synthetic(num_images=32, batch_size=8, **others),
            ckpt_path=run.whole_checkpoint(),
            weights_only=True,
        )
    return run


def weights_of(run: RunDir) -> dict[str, torch.Tensor]:
    return torch.load(run.last_checkpoint, weights_only=True)["state_dict"]


def rows_without_times(run: RunDir) -> list[dict[str, float]]:
    times = ("seconds", "images_per_second")
    rows = [*run.read_metrics(), *run.read_progress()]
    return [{key: value for key, value in row.items() if key not in times} for row in rows]


def assert_same_run(one: RunDir, other: RunDir) -> None:
    """Bit for bit."""
    assert rows_without_times(one) == rows_without_times(other)
    theirs = weights_of(other)
    for name, weight in weights_of(one).items():
        assert torch.equal(weight, theirs[name]), name
