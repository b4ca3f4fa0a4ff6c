"""Pictures of a network during and after training, for loggers that show pictures."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from alexnet.folders.run import RunDir

log = logging.getLogger(__name__)

SHOWN = 8
"""Number of test images in the picture of predictions, as in Figure 4."""


class Pictures(pl.Callback):
    """Draws PNG files into the run's folder `pictures`, and calls `show` with each.

    `show` receives a name, the file, and the number of updates. After every epoch, the kernels of
    the first convolution are drawn (as in Figure 3). They are taken from the checkpoint, where they
    are complete even if processes share them. After the test, `draw_test` draws test images with
    their most probable classes (Figure 4, left), and a confusion matrix.

    Pictures do not change the run, and a picture that cannot be drawn does not fail it.
    """

    def __init__(self, run: RunDir, show: Callable[[str, Path, int], None]) -> None:
        self._run = run
        self._show = show
        self._is_due = False
        self._counts: Tensor | None = None  # (classes, classes): true, predicted
        self._images: list[np.ndarray] = []
        self._labels: list[int] = []
        self._probabilities: list[np.ndarray] = []

    @override
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._is_due = True  # the recorder comes next, and writes a checkpoint

    @override
    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if not self._is_due:
            return
        self._is_due = False
        kernels = _first_kernels(checkpoint["state_dict"])
        if kernels is None or not trainer.is_global_zero:
            return
        with _only_warned("the kernels"):
            from alexnet.evaluation.figures import write_kernels

            file = self._run.pictures / f"kernels-{trainer.global_step:07d}.png"
            write_kernels(kernels.detach().float().cpu().numpy(), file)
            self._show("kernels", file, trainer.global_step)

    @override
    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        (images, labels), logits = batch, outputs
        classes = logits.shape[1]
        pairs = labels * classes + logits.argmax(1)
        counts = torch.bincount(pairs, minlength=classes**2).view(classes, classes)
        self._counts = counts if self._counts is None else self._counts + counts
        self._keep_some(trainer, images, labels, logits, batch_idx)

    def _keep_some(
        self, trainer: pl.Trainer, images: Tensor, labels: Tensor, logits: Tensor, batch_idx: int
    ) -> None:
        """Keep pixels, labels and probabilities of SHOWN images spread over the test."""
        batches = int(trainer.num_test_batches[0])
        data = trainer.datamodule  # type: ignore[attr-defined]
        if batch_idx % max(1, batches // SHOWN) or not hasattr(data, "to_input"):
            return
        most = min(SHOWN - len(self._images), -(-SHOWN // batches), len(labels))
        rows = np.linspace(0, len(labels) - 1, max(0, most) + 1).astype(int)[:-1]
        nothing = torch.zeros(1, 1, 1, 1, dtype=torch.uint8, device=images.device)
        subtracted = data.to_input(nothing)  # minus the mean, at the network's size
        pixels = (images[rows].float() - subtracted).round().clamp(0, 255).byte()
        self._images += list(pixels.cpu().numpy())
        self._labels += labels[rows].tolist()
        self._probabilities += list(logits[rows].float().softmax(1).cpu().numpy())

    @override
    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert self._counts is not None
        # All columns of a network have counted the same images.
        columns = getattr(trainer.strategy, "columns", 1)
        self._counts = trainer.strategy.reduce(self._counts, reduce_op="sum") // columns

    def draw_test(self, about: Mapping[str, Any], step: int) -> None:
        """Draw predictions and confusion of the test; `about` is the description of the network.

        Its `class_names` are used. `step` is the number of updates.
        """
        assert self._counts is not None
        names = about["class_names"]
        with _only_warned("the predictions"):
            if self._images:
                from alexnet.evaluation.figures import draw_predictions

                draw_predictions(
                    self._images,
                    labels=self._labels,
                    names=names,
                    probabilities=np.stack(self._probabilities),
                    folder=self._run.pictures,
                )
                self._show("figure_4_left", self._run.pictures / "figure_4_left.png", step)
        with _only_warned("the confusion matrix"):
            from alexnet.evaluation.figures import draw_confusion

            draw_confusion(self._counts.cpu().numpy(), names=names, folder=self._run.pictures)
            self._show("confusion", self._run.pictures / "confusion.png", step)


def _first_kernels(state: Mapping[str, Tensor]) -> Tensor | None:
    """Return the kernels of the first convolution on grey or RGB images, (K, C, h, w), or None."""
    return next(
        (each for each in state.values() if each.ndim == 4 and each.shape[1] in (1, 3)), None
    )


@contextmanager
def _only_warned(what: str) -> Iterator[None]:
    """Turn an error into a warning: a run of days must not fail because of a picture."""
    try:
        yield
    except Exception as error:
        log.warning("no picture of %s: %s: %s", what, type(error).__name__, error)
