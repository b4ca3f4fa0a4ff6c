import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torchmetrics import Metric

from alexnet import vocabulary
from alexnet.learning.optimizer import PaperSGD, parameter_groups
from alexnet.learning.schedule import ByEpoch, Drops, changes, plateau, rates_of
from alexnet.model import seed_dropout

log = logging.getLogger(__name__)

Batch = tuple[Tensor, Tensor]


class TopError(Metric):
    """Fraction of samples whose true class is not among the `k` highest logits (section 2).

    With fewer classes than `k` it is 0. Counts are summed over batches and processes, then divided.
    """

    full_state_update = False
    wrong: Tensor
    total: Tensor

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k
        self.add_state("wrong", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("total", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Count a batch: logits (N, classes), labels (N,)."""
        best = logits.topk(min(self.k, logits.shape[1]), dim=1).indices
        self.wrong += (best != labels[:, None]).all(dim=1).sum()
        self.total += len(labels)

    def compute(self) -> Tensor:
        """The error so far, between 0 and 1."""
        return self.wrong / self.total


class MeanLoss(Metric):
    """Mean loss over samples, whatever the sizes of batches and of processes' shares.

    torchmetrics' MeanMetric(nan_strategy="disable") ignores its weights (1.9.0), and its other
    strategies drop the very losses that tell of a divergence.
    """

    full_state_update = False
    sum: Tensor
    total: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("sum", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("total", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, loss: Tensor, count: int) -> None:
        """Add the mean loss of `count` samples."""
        self.sum += loss * count
        self.total += count

    def compute(self) -> Tensor:
        """The mean so far."""
        return self.sum / self.total


class Evaluation(nn.Module):
    """Mean loss, top-1 and top-5 error over a stage, each sample counted once."""

    def __init__(self, stage: str) -> None:
        super().__init__()
        self.stage = stage
        self.loss = MeanLoss()
        self.error, self.error_top5 = TopError(1), TopError(5)

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Count a batch: logits (N, classes), labels (N,)."""
        self.loss.update(functional.cross_entropy(logits, labels), len(labels))
        self.error.update(logits, labels)
        self.error_top5.update(logits, labels)

    def results(self) -> dict[str, Tensor]:
        """The metrics as stage/name; the counts begin anew."""
        metrics = {"loss": self.loss, "error": self.error, "error_top5": self.error_top5}
        results = {f"{self.stage}/{name}": metric.compute() for name, metric in metrics.items()}
        for metric in metrics.values():
            metric.reset()
        return results


class ClassificationTask(pl.LightningModule):
    """A network that learns to classify: cross-entropy, PaperSGD, errors by counting (section 5).

    Knows neither files nor screens; callbacks read `train_loss` and `train_error`, which run from
    one reading to the next, and the validation and test metrics that Lightning collects.
    Checkpoints hold, beside the weights under `net.`, whatever plain data `about` names, so that
    they can be used without the configuration.

    Raises ValueError if `drops` or `layer_weight_decay` name what the network does not have.
    """

    def __init__(
        self,
        net: nn.Module,
        *,
        lr: float,
        bias_lr_factor: float = 1.0,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
        bias_weight_decay: float = 0.0,
        layer_weight_decay: Mapping[str, float] | None = None,
        schedule: Literal["constant", "plateau", "by_epoch"] = "constant",
        patience: int = 3,
        drops: Drops | None = None,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        # The same weights in another order in memory, faster: benchmarks/memory_format.py.
        self.net = net.to(memory_format=torch.channels_last)
        self.lr = lr
        self.bias_lr_factor = bias_lr_factor
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.bias_weight_decay = bias_weight_decay
        self.layer_weight_decay = layer_weight_decay
        self.schedule = schedule
        self.patience = patience
        self.drops = drops or {}
        self.about = dict(about or {})
        self._plateau: ReduceLROnPlateau | None = None
        self._plateau_state: dict[str, Any] | None = None
        self._by_epoch: ByEpoch | None = None
        self._parameter_groups()  # whose names are wrong must not be found out in the middle of fit
        # From the generator that the initial weights came from: the same in every process of a run.
        self.dropout_seed = int(torch.randint(2**32, (), device="cpu"))
        self.train_loss, self.train_error = MeanLoss(), TopError(1)
        self.val, self.test = Evaluation("val"), Evaluation("test")

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (N, classes)."""
        return self.net(images)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """The rates of the epoch: at every batch, for a run may go on in the middle of one."""
        if self._by_epoch is not None:
            with self._changes_told(self.current_epoch):
                self._by_epoch.set_rates(self.current_epoch)

    def on_train_start(self) -> None:
        """Warn of what the run ends too early for."""
        if self._by_epoch is None or not self.trainer.is_global_zero:
            return
        by_steps = self.trainer.max_steps / int(self.trainer.num_training_batches)
        ends = (self.trainer.max_epochs or -1, by_steps)
        epochs = min((each for each in ends if each >= 0), default=math.inf)  # -1: no end
        if late := self._by_epoch.not_before(epochs):
            log.warning(
                "the run ends after %.3g epochs, before these of learning.drops: %s", epochs, late
            )

    @contextmanager
    def _changes_told(self, epoch: int) -> Iterator[None]:
        """A line of the log if the rates have become others for this epoch, counted from 0."""
        [optimizer] = self.trainer.optimizers
        before = rates_of(optimizer)
        yield
        changed = changes(before, rates_of(optimizer))
        if changed and self.trainer.is_global_zero:
            log.info("from epoch %d on: %s", epoch + 1, changed)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Mean cross-entropy of the batch."""
        images, labels = batch
        seed_dropout(self.net, seed=self.dropout_seed, step=self.global_step)
        logits = self.net(images)
        loss = functional.cross_entropy(logits, labels)
        self.train_loss.update(loss.detach(), len(labels))
        self.train_error.update(logits.detach(), labels)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Count."""
        images, labels = batch
        self.val.update(self.net(images), labels)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Count."""
        images, labels = batch
        self.test.update(self.net(images), labels)

    def on_validation_epoch_end(self) -> None:
        """Hand the validation errors to Lightning; after a whole epoch, the plateau rule."""
        results = self.val.results()
        self.log_dict(results, logger=False)
        # Stepped here and not by Lightning, which forgets the step if a run goes on from the
        # checkpoint at the end of this epoch. (trainer.training is False while fit validates.)
        is_fitting = self.trainer.state.fn == TrainerFn.FITTING
        if self._plateau is not None and is_fitting and self.trainer.is_last_batch:
            with self._changes_told(self.current_epoch + 1):
                self._plateau.step(results[vocabulary.VAL_ERROR].item())

    def on_test_epoch_end(self) -> None:
        """Hand the test errors to Lightning."""
        self.log_dict(self.test.results(), logger=False)

    def configure_optimizers(self) -> Any:
        """PaperSGD over weights, biases, and what has a rate or a decay of its own."""
        optimizer = PaperSGD(self._parameter_groups(), lr=self.lr, momentum=self.momentum)
        if self.schedule == "by_epoch":
            self._by_epoch = ByEpoch(optimizer, self.drops)
        if self.schedule == "plateau":
            self._plateau = plateau(optimizer, patience=self.patience)
            self._plateau.load_state_dict(self._plateau_state or self._plateau.state_dict())
        return optimizer

    def _parameter_groups(self) -> list[dict[str, Any]]:
        return parameter_groups(
            self.net,
            lr=self.lr,
            bias_lr_factor=self.bias_lr_factor,
            weight_decay=self.weight_decay,
            bias_weight_decay=self.bias_weight_decay,
            apart=self.drops,
            layer_weight_decay=self.layer_weight_decay,
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what a reader needs to use the weights, and where the plateau rule stands."""
        checkpoint.update(self.about)
        checkpoint["plateau"] = self._plateau.state_dict() if self._plateau else None

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep where the plateau rule stood until there is an optimizer."""
        self._plateau_state = checkpoint["plateau"]
