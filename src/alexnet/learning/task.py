import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from alexnet import vocabulary
from alexnet.config.learning_rules import refused_settings
from alexnet.learning.metrics import Evaluation, MeanLoss, TopError
from alexnet.learning.optimizer import PaperSGD, arguments_of, parameter_groups
from alexnet.learning.schedule import AtPosition, ByEpoch, changes, plateau, rates_of
from alexnet.model import seed_dropout
from alexnet.vocabulary import Above0, Count, Positive, Probability, Rate

log = logging.getLogger(__name__)

Batch = tuple[Tensor, Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]


class ClassificationTask(pl.LightningModule):
    """A network that learns to classify: loss, optimizer, schedule and errors (section 5).

    `optimizer` makes the optimizer from parameter groups (None: PaperSGD). lr, momentum and
    weight_decay are passed to it if they are not None and it has such arguments; for None it uses
    its own defaults. A setting that is not None and not among its arguments is refused, except a
    decay of 0. `scheduler` makes a scheduler of torch.optim.lr_scheduler from the optimizer; it is
    stepped after every completed epoch or step of the optimizer (`scheduler_interval`).
    ReduceLROnPlateau is stepped after every completed epoch, with the validation error.

    `loss` (None: cross-entropy) takes logits (N, classes) and labels (N,). The network is trained
    with it, and train/loss is its mean. val/loss and test/loss are always plain cross-entropy, so
    that arms trained with different losses can be compared. A loss must not have parameters.

    The task writes no files and prints nothing. Callbacks read `train_loss` and `train_error`,
    which accumulate until the callback resets them, and the validation and test metrics that
    Lightning collects. Checkpoints contain the weights under `net.` and the plain data in `about`,
    so that they can be used without the configuration.

    Raises ValueError for settings that the optimizer does not have, for a scheduler with a schedule
    other than constant, and if `drops` or `layer_weight_decay` name groups or layers that the
    network does not have.
    """

    loss: Loss

    def __init__(
        self,
        net: nn.Module,
        *,
        lr: Above0 = 0.01,
        bias_lr_factor: Rate = 2.0,
        momentum: Probability | None = 0.9,
        weight_decay: Rate | None = 0.0,
        bias_weight_decay: Rate | None = 0.0,
        layer_weight_decay: Mapping[str, Rate] | None = None,
        optimizer: Callable[..., Optimizer] | None = None,
        schedule: Literal["constant", "plateau", "by_epoch"] = "constant",
        patience: Positive = 3,
        drops: Mapping[str, Mapping[Count, Rate]] | None = None,
        scheduler: Callable[[Optimizer], LRScheduler] | None = None,
        scheduler_interval: Literal["epoch", "step"] = "epoch",
        loss: nn.Module | Callable[[Tensor, Tensor], Tensor] | None = None,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        # Another order of the weights in memory, which is faster: benchmarks/memory_format.py.
        self.net = net.to(memory_format=torch.channels_last)
        self.lr = lr
        self.bias_lr_factor = bias_lr_factor
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.bias_weight_decay = bias_weight_decay
        self.layer_weight_decay = layer_weight_decay
        self.optimizer = optimizer or PaperSGD
        self.schedule = schedule
        self.patience = patience
        self.drops = drops or {}
        self.scheduler = scheduler
        self.scheduler_interval = scheduler_interval
        # Not a submodule, so that a checkpoint's state_dict is that of the network.
        object.__setattr__(self, "loss", loss or functional.cross_entropy)
        self.about = dict(about or {})
        self._plateau: ReduceLROnPlateau | None = None
        self._scheduler: AtPosition | None = None
        self._saved_schedule: dict[str, Any] = {}
        self._by_epoch: ByEpoch | None = None
        self._refuse_what_cannot_be()
        # From the generator of the initial weights: the same number in every process of a run.
        self.dropout_seed = int(torch.randint(2**32, (), device="cpu"))
        self.train_loss, self.train_error = MeanLoss(), TopError(1)
        self.val, self.test = Evaluation("val"), Evaluation("test")

    def _refuse_what_cannot_be(self) -> None:
        """Raise ValueError for invalid settings, before training begins."""
        name, parameters = arguments_of(self.optimizer)
        settings = (
            "lr", "momentum", "weight_decay", "bias_weight_decay", "layer_weight_decay",
            "schedule", "scheduler",
        )  # fmt: skip
        asked = {key: getattr(self, key) for key in settings}
        problems = refused_settings(parameters, name, asked)
        own = self.optimizer.keywords if isinstance(self.optimizer, partial) else {}
        problems += [
            f"learning.optimizer.{key}={own[key]} contradicts learning.{key}={asked[key]}: "
            f"set only learning.{key}"
            for key in ("lr", "momentum", "weight_decay")
            if key in own and asked[key] is not None
        ]
        if isinstance(self.loss, nn.Module) and any(True for _ in self.loss.parameters()):
            problems.append(
                f"the loss {type(self.loss).__name__} has parameters, which would not be learned: "
                "choose a loss without parameters"
            )
        if problems:
            raise ValueError("\n".join(problems))
        self.configure_optimizers()
        is_of_steps = self.scheduler is not None and self.scheduler_interval == "step"
        if self._plateau is not None and is_of_steps:
            raise ValueError(
                "learning.scheduler_interval=step is not possible with ReduceLROnPlateau, which "
                "needs a validation error: set learning.scheduler_interval=epoch"
            )

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, (N, classes)."""
        return self.net(images)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Set the rates of the epoch or step at every batch: a run may resume within an epoch."""
        if self._by_epoch is not None:
            with self._changes_told(self.current_epoch):
                self._by_epoch.set_rates(self.current_epoch)
        if self._scheduler is not None:
            is_by_epoch = self.scheduler_interval == "epoch"
            self._scheduler.move_to(self.current_epoch if is_by_epoch else self.global_step)

    def on_train_start(self) -> None:
        """Warn of drops that come after the end of the run."""
        if isinstance(self.loss, nn.Module):
            # Moves buffers, such as weights of classes.
            self.loss.to(self.device, next(self.net.parameters()).dtype)
        if self._by_epoch is None or not self.trainer.is_global_zero:
            return
        batches = self.trainer.num_training_batches / self.trainer.accumulate_grad_batches
        by_steps = self.trainer.max_steps / math.ceil(batches)
        ends = (self.trainer.max_epochs or -1, by_steps)
        epochs = min((each for each in ends if each >= 0), default=math.inf)  # -1: no end
        if late := self._by_epoch.not_before(epochs):
            log.warning(
                "the run ends after %.3g epochs, before these of learning.drops: %s", epochs, late
            )

    @contextmanager
    def _changes_told(self, epoch: int) -> Iterator[None]:
        """Log the rates that the block has changed for this epoch, counted from 0."""
        [optimizer] = self.trainer.optimizers
        before = rates_of(optimizer)
        yield
        changed = changes(before, rates_of(optimizer))
        if changed and self.trainer.is_global_zero:
            log.info("from epoch %d on: %s", epoch + 1, changed)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the mean loss of the batch."""
        images, labels = batch
        # The number of batches, not of optimizer steps: with accumulated gradients, the batches of
        # a step drop different units.
        seed_dropout(self.net, seed=self.dropout_seed, step=self.trainer.fit_loop.total_batch_idx)
        logits = self.net(images)
        loss = self.loss(logits, labels)
        self.train_loss.update(loss.detach(), len(labels))
        self.train_error.update(logits.detach(), labels)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to the validation metrics."""
        images, labels = batch
        self.val.update(self.net(images), labels)

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Add a batch to the test metrics. Callbacks receive the logits."""
        images, labels = batch
        logits: Tensor = self.net(images)
        self.test.update(logits, labels)
        return logits

    def on_validation_epoch_end(self) -> None:
        """Pass the validation metrics to Lightning; after an epoch, apply the plateau rule."""
        results = self.val.results()
        self.log_dict(results, logger=False)
        # Stepped here, because Lightning loses the step if a run resumes from the checkpoint at the
        # end of this epoch. (trainer.training is False while fit validates.)
        is_fitting = self.trainer.state.fn == TrainerFn.FITTING
        if self._plateau is not None and is_fitting and self.trainer.is_last_batch:
            with self._changes_told(self.current_epoch + 1):
                self._plateau.step(results[vocabulary.VAL_ERROR].item())

    def on_test_epoch_end(self) -> None:
        """Pass the test metrics to Lightning."""
        self.log_dict(self.test.results(), logger=False)

    def configure_optimizers(self) -> Any:
        """Make the optimizer of weights, biases, and groups with their own rate or decay."""
        _, parameters = arguments_of(self.optimizer)
        takes_all = any(each.startswith("**") for each in parameters)
        asked = {"lr": self.lr, "momentum": self.momentum, "weight_decay": self.weight_decay}
        given = {
            key: value
            for key, value in asked.items()
            if value is not None and (takes_all or key in parameters)
        }
        decays = takes_all or "weight_decay" in parameters
        groups = parameter_groups(
            self.net,
            lr=self.lr,
            bias_lr_factor=self.bias_lr_factor,
            weight_decay=self.weight_decay if decays else None,
            bias_weight_decay=self.bias_weight_decay if decays else None,
            apart=self.drops,
            layer_weight_decay=self.layer_weight_decay if decays else None,
        )
        optimizer = self.optimizer(groups, **given)
        self._configure_schedule(optimizer)
        return optimizer

    def _configure_schedule(self, optimizer: Optimizer) -> None:
        if self.schedule == "by_epoch":
            self._by_epoch = ByEpoch(optimizer, self.drops)
        if self.schedule == "plateau":
            self._plateau = plateau(optimizer, patience=self.patience)
        if self.scheduler is not None:
            made = self.scheduler(optimizer)
            if isinstance(made, ReduceLROnPlateau):
                self._plateau = made
            else:
                self._scheduler = AtPosition(made)
        # From a checkpoint, if the run is resumed.
        if self._plateau is not None and (state := self._saved_schedule.get("plateau")):
            self._plateau.load_state_dict(state)
        if self._scheduler is not None and (state := self._saved_schedule.get("scheduler")):
            self._scheduler.load_state_dict(state)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add `about`, which a reader of the weights needs, and the state of the schedule."""
        checkpoint.update(self.about)
        checkpoint["plateau"] = self._plateau.state_dict() if self._plateau else None
        checkpoint["scheduler"] = self._scheduler.state_dict() if self._scheduler else None

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the state of the schedule until the optimizer exists."""
        self._saved_schedule = {key: checkpoint.get(key) for key in ("plateau", "scheduler")}
