"""Optimizers, schedulers and losses that are not the paper's."""

import inspect
import math
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn
from torch.nn import functional
from torch.optim import lr_scheduler

from alexnet.config.learning_rules import refused_settings
from alexnet.learning import ClassificationTask, cosine_with_warmup
from alexnet.learning.schedule import AtPosition
from alexnet.paths import CONF

from .small import EPOCH_END, Net, Plain, Watch, assert_same_run, fit, weights_of

ADAM = partial(torch.optim.Adam, betas=(0.8, 0.99))


def test_the_defaults_of_the_task_are_those_of_constant_yaml():
    shipped = yaml.safe_load((CONF / "learning" / "constant.yaml").read_text())
    del shipped["stop_at_train_error"]  # RunRecorder's

    parameters = inspect.signature(ClassificationTask).parameters
    defaults = {key: each.default for key, each in parameters.items() if key in shipped}

    assert defaults == shipped
    assert parameters.keys() - shipped.keys() == {"net", "about"}


def test_an_optimizer_gets_what_it_takes_and_its_own_defaults_for_null():
    task = ClassificationTask(
        Net(), lr=0.1, bias_lr_factor=2.0, momentum=None, weight_decay=None,
        bias_weight_decay=0.5, optimizer=ADAM,
    )  # fmt: skip

    optimizer = task.configure_optimizers()

    assert type(optimizer) is torch.optim.Adam
    weights, biases = optimizer.param_groups
    assert (weights["lr"], weights["weight_decay"], weights["betas"]) == (0.1, 0, (0.8, 0.99))
    assert (biases["lr"], biases["weight_decay"], biases["betas"]) == (0.2, 0.5, (0.8, 0.99))


def test_sgd_gets_momentum_and_its_own_keys():
    task = ClassificationTask(
        Net(), momentum=0.7, layer_weight_decay={"fc": 0.3},
        optimizer=partial(torch.optim.SGD, nesterov=True),
    )  # fmt: skip

    groups = {group["name"]: group for group in task.configure_optimizers().param_groups}

    assert all(group["momentum"] == 0.7 and group["nesterov"] for group in groups.values())
    assert groups["fc_weights"]["weight_decay"] == 0.3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"optimizer": torch.optim.Adam, "momentum": 0.9},
            r"learning\.momentum=0\.9 is not an argument of Adam: set learning\.momentum=null",
        ),
        (
            {"optimizer": torch.optim.Rprop, "momentum": None, "weight_decay": 0.1},
            r"learning\.weight_decay=0\.1 is not an argument of Rprop",
        ),
        (
            {"optimizer": torch.optim.Rprop, "momentum": None, "layer_weight_decay": {"fc": 0.1}},
            r"learning\.layer_weight_decay=.* is a weight_decay, not an argument of Rprop",
        ),
        (
            {"optimizer": partial(ADAM, lr=0.3), "momentum": None},
            r"learning\.optimizer\.lr=0\.3 contradicts learning\.lr=0\.01",
        ),
        (
            {"schedule": "plateau", "scheduler": partial(lr_scheduler.StepLR, step_size=1)},
            r"learning\.scheduler needs learning\.schedule=constant, but the schedule is plateau",
        ),
        (
            {"scheduler": lr_scheduler.ReduceLROnPlateau, "scheduler_interval": "step"},
            r"learning\.scheduler_interval=step is not possible with ReduceLROnPlateau",
        ),
        ({"loss": nn.PReLU()}, "the loss PReLU has parameters"),
        (
            {"scheduler": partial(cosine_with_warmup, total=3, warmup=3)},
            r"learning\.scheduler\.warmup=3 must be less than learning\.scheduler\.total=3",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused_by_name(settings: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        ClassificationTask(Net(), **settings)


def test_a_decay_of_zero_fits_an_optimizer_without_decay():
    optimizer = ClassificationTask(
        Net(), momentum=None, optimizer=torch.optim.Rprop
    ).configure_optimizers()

    assert "weight_decay" not in optimizer.param_groups[0]


def test_the_rule_is_known_without_torch_and_names_every_setting():
    settings = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.0, "bias_weight_decay": 0.1}
    check = (
        "import sys\n"
        "from alexnet.config.learning_rules import refused_settings\n"
        f"assert len(refused_settings({{'params', 'lr'}}, 'X', {settings!r})) == 2\n"
        "assert 'torch' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", check], check=True)

    assert refused_settings({"params", "**kwargs"}, "X", settings) == []


def test_the_cosine_rises_and_falls_as_its_equation_says():
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=2.0)
    scheduler = AtPosition(cosine_with_warmup(optimizer, total=10, warmup=2, final=0.1))

    rates = []
    for t in range(12):
        scheduler.move_to(t)
        rates.append(optimizer.param_groups[0]["lr"] / 2.0)

    falling = [0.1 + 0.9 * (1 + math.cos(math.pi * s / 8)) / 2 for s in range(8)]
    assert rates == pytest.approx([1 / 3, 2 / 3, *falling, 0.1, 0.1])


SCHEDULERS = {
    "StepLR": lambda o: lr_scheduler.StepLR(o, step_size=2),
    "MultiStepLR": lambda o: lr_scheduler.MultiStepLR(o, milestones=[2, 4]),
    "ExponentialLR": lambda o: lr_scheduler.ExponentialLR(o, gamma=0.9),
    "LinearLR": lambda o: lr_scheduler.LinearLR(o, total_iters=5),
    "PolynomialLR": lambda o: lr_scheduler.PolynomialLR(o, total_iters=8),
    "CosineAnnealingLR": lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=8),
    "CosineAnnealingWarmRestarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, T_0=3),
    "OneCycleLR": lambda o: lr_scheduler.OneCycleLR(o, max_lr=0.5, total_steps=10),
    "CyclicLR": lambda o: lr_scheduler.CyclicLR(o, base_lr=0.1, max_lr=0.5, step_size_up=3),
    "LambdaLR": lambda o: lr_scheduler.LambdaLR(o, lambda epoch: 0.8**epoch),
    "MultiplicativeLR": lambda o: lr_scheduler.MultiplicativeLR(o, lambda epoch: 0.8),
    "SequentialLR": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o), lr_scheduler.ExponentialLR(o, gamma=0.9)], milestones=[4]
    ),
    "ChainedScheduler": lambda o: lr_scheduler.ChainedScheduler(
        [lr_scheduler.LinearLR(o), lr_scheduler.ExponentialLR(o, gamma=0.9)]
    ),
    "cosine_with_warmup": partial(cosine_with_warmup, total=9, warmup=4),
}


@pytest.mark.filterwarnings("ignore:Detected call of")
@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("stop_at", [0, 1, 5])
def test_every_scheduler_goes_on_from_plain_data_as_if_it_had_never_stopped(
    tmp_path: Path, name: str, stop_at: int
):
    def started() -> tuple[torch.optim.Optimizer, AtPosition]:
        optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1, momentum=0.9)
        return optimizer, AtPosition(SCHEDULERS[name](optimizer))

    def rates(optimizer: torch.optim.Optimizer, at: AtPosition, positions: range) -> list[float]:
        found = []
        for position in positions:
            for _ in range(2):  # asked again, it stays
                at.move_to(position)
            found.append(optimizer.param_groups[0]["lr"])
        return found

    optimizer, scheduler = started()
    before = rates(optimizer, scheduler, range(stop_at + 1))
    torch.save([optimizer.state_dict(), scheduler.state_dict()], tmp_path / "state")
    states = torch.load(tmp_path / "state", weights_only=True)
    optimizer, scheduler = started()
    for each, state in zip((optimizer, scheduler), states, strict=True):
        each.load_state_dict(state)
    after = rates(optimizer, scheduler, range(stop_at + 1, 9))

    assert [*before, *after] == rates(*started(), range(9))


@pytest.mark.parametrize("stop_after", [(0, 1), (0, EPOCH_END), (1, 2), (1, EPOCH_END)])
@pytest.mark.parametrize(
    "learning",
    [
        {"scheduler": partial(cosine_with_warmup, total=3, warmup=1)},
        {"scheduler": SCHEDULERS["OneCycleLR"], "scheduler_interval": "step"},
        {"scheduler": partial(lr_scheduler.ReduceLROnPlateau, patience=0, threshold=0.5)},
        {"optimizer": ADAM, "momentum": None, "lr": 1e-3},
    ],
    ids=["cosine by epoch", "one cycle by step", "plateau", "adam"],
)
def test_a_run_that_goes_on_has_the_rates_and_weights_of_one_that_never_stopped(
    tmp_path: Path, learning: dict[str, Any], stop_after: tuple[int, int]
):
    whole, first, second = Watch(), Watch(stop_after), Watch()
    how = {"learning": learning, "max_steps": 10, "accumulate_grad_batches": 1}
    expected = fit(tmp_path / "whole", watch=whole, **how)

    for watch in (first, second):
        run = fit(tmp_path / "stopped", watch=watch, **how)

    assert {**first.rates, **second.rates} == whole.rates
    assert_same_run(run, expected)


def test_a_scheduler_by_steps_counts_steps_of_the_optimizer_and_not_batches(tmp_path: Path):
    watch = Watch()
    halve = partial(lr_scheduler.ExponentialLR, gamma=0.5)
    learning = {"lr": 1.0, "scheduler": halve, "scheduler_interval": "step"}

    fit(tmp_path, watch=watch, learning=learning, max_epochs=1, accumulate_grad_batches=2)

    assert [rates[0] for rates in watch.rates.values()] == [1, 1, 0.5, 0.5]


def test_the_loss_given_is_trained_with_and_validated_with_plain_cross_entropy(tmp_path: Path):
    def seven(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return 7.0 + 0 * logits.sum()

    run = fit(tmp_path, learning={"loss": seven}, data=Plain(), max_epochs=1)

    [row] = run.read_metrics()
    torch.manual_seed(0)
    net = Net()  # from which nothing was learned: the loss is flat
    images, labels = Plain()._images(16, seed=2).tensors
    assert row["train/loss"] == 7
    assert row["val/loss"] == pytest.approx(functional.cross_entropy(net(images), labels).item())


def test_a_loss_with_weights_of_classes_follows_the_precision_and_stays_out_of_checkpoints(
    tmp_path: Path,
):
    loss = nn.CrossEntropyLoss(weight=torch.ones(10), label_smoothing=0.1)

    run = fit(tmp_path, learning={"loss": loss}, max_epochs=1, precision="64-true")

    assert weights_of(run).keys() == {"net.fc.weight", "net.fc.bias"}
    assert loss.weight.dtype == torch.float64
