import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from omegaconf import OmegaConf
from torch import nn
from typing_extensions import override

from alexnet.config.check import check
from alexnet.config.schema import ConfigError, Learning
from alexnet.data import Synthetic
from alexnet.folders.ending import Stopped
from alexnet.folders.run import RunDir
from alexnet.learning import ClassificationTask, ColumnParallelStrategy, PaperSGD, RunRecorder
from alexnet.learning.schedule import ByEpoch, changes
from alexnet.model import AlexNet, CifarNet
from tests.conftest import plan
from tests.learning import small
from tests.learning.processes import run_in_processes
from tests.learning.small import EPOCH_END, weights_of
from tests.learning.test_column_strategy import TINY

# As logged at the foot of each net's file of parameters in the 2012 program: the epochs of the
# drops of conv1's weights and of the other weights, and the rate that all biases but conv1's have
# at the end.
LOGGED = {
    "source_2012": ({23: 1e-3, 51: 1e-4, 68: 1e-5, 72: 0}, {23: 1e-3, 51: 1e-4, 78: 1e-5}, 0.002),
    "net_145_2010": ({23: 1e-3, 51: 1e-4, 68: 1e-5, 72: 0}, {23: 1e-3, 51: 1e-4, 78: 1e-5}, 0.002),
    "net_145_2012": ({25: 1e-3, 51: 1e-4, 67: 1e-5, 72: 0}, {25: 1e-3, 51: 1e-4, 79: 1e-5}, 0.02),
    "net_145_half": ({20: 1e-3, 48: 1e-4, 66: 1e-5, 72: 0}, {20: 1e-3, 48: 1e-4, 79: 1e-5}, 0.02),
    "net_147": ({23: 1e-3, 51: 1e-4, 79: 0}, {23: 1e-3, 51: 1e-4, 79: 1e-5}, 0.002),
    "net_148": ({22: 1e-3, 44: 1e-4, 69: 1e-5, 73: 0}, {22: 1e-3, 44: 1e-4, 86: 1e-5}, 0.02),
    "net_150": ({25: 1e-3, 49: 1e-4, 66: 1e-5, 72: 0}, {25: 1e-3, 49: 1e-4, 79: 1e-5}, 0.02),
}


def tiny_alexnet() -> AlexNet:
    return AlexNet(**TINY)


def optimizer_of(learning: str) -> tuple[PaperSGD, Learning]:
    [run] = plan(f"learning={learning}", "model=alexnet")
    settings = run.config.learning.model_dump(exclude={"stop_at_train_error"})
    optimizer = ClassificationTask(tiny_alexnet(), **settings).configure_optimizers()
    return optimizer, run.config.learning


def rate_in_a_loop(first: float, drops: Mapping[int, float], epoch: int) -> float:
    rate = first
    for each, dropped in drops.items():
        if epoch >= each:
            rate = dropped
    return rate


@pytest.mark.parametrize("learning", LOGGED)
def test_weights_have_the_logged_rate_in_every_epoch(learning: str):
    conv1, others, last_biases = LOGGED[learning]
    optimizer, settings = optimizer_of(learning)
    assert settings.drops is not None
    schedule = ByEpoch(optimizer, settings.drops)

    for epoch in range(100):
        schedule.set_rates(epoch)
        rates = {group["name"]: group["lr"] for group in optimizer.param_groups}
        assert rates["weights"] == pytest.approx(rate_in_a_loop(0.01, others, epoch)), epoch
        assert rates["conv1_weights"] == pytest.approx(rate_in_a_loop(0.01, conv1, epoch)), epoch
        assert (rates["conv1_biases"] == 0) == (rates["conv1_weights"] == 0)
        if epoch < min(others):
            assert {name: rate for name, rate in rates.items() if "biases" in name} == (
                dict.fromkeys((name for name in rates if "biases" in name), 0.02)
            )
    assert rates["biases"] == pytest.approx(last_biases)


@pytest.mark.parametrize("learning", LOGGED)
def test_the_2012_nets_decay_their_weights_and_not_their_biases(learning: str):
    optimizer, settings = optimizer_of(learning)

    assert settings.momentum == 0.9
    for group in optimizer.param_groups:
        is_of_weights = group["name"].endswith("weights")
        assert group["weight_decay"] == (5e-4 if is_of_weights else 0)
        assert all((weight.dim() > 1) == is_of_weights for weight in group["params"])
    weights = [id(weight) for group in optimizer.param_groups for weight in group["params"]]
    assert len(set(weights)) == len(weights) == 16


def test_a_layer_named_in_drops_is_a_group_of_its_own():
    optimizer, _ = optimizer_of("source_2012")

    names = {group["name"]: len(group["params"]) for group in optimizer.param_groups}

    assert names == {"weights": 7, "biases": 7, "conv1_weights": 1, "conv1_biases": 1}
    assert optimizer.param_groups[0]["name"] == "weights"  # whose rate is the lr of metrics.csv


class LocalNet(nn.Module):
    """The layers of the 11 % net by name."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 2, 1), nn.Conv2d(2, 2, 1)
        self.local3, self.local4, self.fc5 = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)


def test_the_11_percent_net_decays_from_local3_on_and_lowers_the_weights_alone():
    # layer-params-conv-local-11pct.cfg of March 2012: wc 0, 0, 0.004, 0.004, 0.004
    [run] = plan("learning=cifar_11pct")
    settings = run.config.learning.model_dump(exclude={"stop_at_train_error"})
    net = LocalNet()
    optimizer = ClassificationTask(net, **settings).configure_optimizers()
    schedule = ByEpoch(optimizer, settings["drops"])
    named = {id(weight): name for name, weight in net.named_parameters()}

    for epoch, rate in {0: 1e-3, 499: 1e-3, 500: 1e-4, 509: 1e-4, 510: 1e-5, 519: 1e-5}.items():
        schedule.set_rates(epoch)
        for group in optimizer.param_groups:
            for weight in group["params"]:
                layer, kind = named[id(weight)].split(".")
                is_decayed = kind == "weight" and not layer.startswith("conv")
                assert group["lr"] == pytest.approx(rate if kind == "weight" else 0.002)
                assert group["weight_decay"] == (0.004 if is_decayed else 0)


def test_a_layers_own_drops_replace_those_of_its_kind_wholly():
    drops = {"weights": {1: 0.1, 3: 0.01}, "conv1_weights": {2: 0.5}}
    task = ClassificationTask(CifarNet(), lr=1.0, bias_lr_factor=1.0, drops=drops)
    optimizer = task.configure_optimizers()
    schedule = ByEpoch(optimizer, drops)

    rates = []
    for epoch in range(4):
        schedule.set_rates(epoch)
        rates.append([group["lr"] for group in optimizer.param_groups])

    assert rates == [[1, 1, 1], [0.1, 1, 1], [0.1, 1, 0.5], [0.01, 1, 0.5]]


@pytest.mark.parametrize(
    "wrong",
    [
        {"drops": {"conv9_weights": {1: 0.1}}},
        {"drops": {"wieghts": {1: 0.1}}},
        {"layer_weight_decay": {"local3": 0.004}},
    ],
)
def test_a_group_that_the_network_does_not_have_is_refused_with_its_layers(wrong: dict[str, Any]):
    with pytest.raises(ValueError, match=r"names \w+, but .* layers conv1, conv2, conv3, fc4"):
        ClassificationTask(CifarNet(), lr=0.1, schedule="by_epoch", **wrong)


@pytest.mark.parametrize(
    ("learning", "message"),
    [
        ({"schedule": "by_epoch"}, "by_epoch needs learning.drops"),
        ({"drops": {"weights": {3: 0.1}}}, "the schedule is constant: set learning.drops=null"),
        ({"drops": {"weights": {-3: 0.1}}}, "learning.drops.weights.-3=-3 is not possible"),
        ({"drops": {"weights": {3: -0.1}}}, "learning.drops.weights.3=-0.1 is not possible"),
        ({"drops": {"weights": {}}}, "give one epoch or more"),
        ({"layer_weight_decay": {"conv1": -1.0}}, "learning.layer_weight_decay.conv1=-1.0 is not"),
    ],
)
def test_drops_that_make_no_sense_are_refused_before_anything_starts(
    learning: dict[str, Any], message: str
):
    [run] = plan()
    config = OmegaConf.create(run.config.plain())
    config.learning.update(learning)

    with pytest.raises(ConfigError) as error:
        check(config)

    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_drops_that_one_file_adds_to_anothers_are_put_in_order():
    [run] = plan("learning=net_145_2010", "+learning.drops.biases.5=0.5")

    assert list(run.config.learning.drops["biases"].items()) == [(5, 0.5), (23, 0.1)]


# From here on in training.

DROPS = {"weights": {1: 0.1, 3: 0.01}, "conv1_weights": {2: 0.0}, "conv1_biases": {2: 0.0}}


class Watch(small.Watch):
    """Keeps conv1 after every batch, too, by (epoch, batch)."""

    def __init__(self, stop_after: tuple[int, int] | None = None) -> None:
        super().__init__(stop_after)
        self.conv1: dict[tuple[int, int], tuple[torch.Tensor, ...]] = {}

    @override
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        conv1 = pl_module.net.conv1
        at = trainer.current_epoch, batch_idx
        self.conv1[at] = conv1.weight.detach().clone(), conv1.bias.detach().clone()
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)


def fit(
    folder: Path,
    watch: Watch,
    *,
    net: nn.Module | None = None,
    learning: dict[str, Any] | None = None,
    **trainer: Any,
) -> RunDir:
    folder.mkdir(exist_ok=True)
    run = RunDir(folder)
    torch.manual_seed(0)
    net = net or CifarNet(init="he", normalization="none", image_size=8)
    data = Synthetic(
        num_images=32,
        num_classes=10,
        batch_size=8,
        size=8,
        image_size=net.image_size,
        color_noise=0.1,
        color_noise_epochs=3,
    )
    learning = learning or {"schedule": "by_epoch", "drops": DROPS}
    rates = {"lr": 0.01, "bias_lr_factor": 1.0, "weight_decay": 5e-4}
    task = ClassificationTask(net, **{**rates, **learning})
    lightning = pl.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, use_distributed_sampler=False,
        callbacks=[RunRecorder(run), watch], **{"max_epochs": 4, **trainer},
    )  # fmt: skip
    with suppress(Stopped):
        lightning.fit(task, datamodule=data, ckpt_path=run.whole_checkpoint(), weights_only=True)
    return run


def test_rates_drop_with_the_first_batch_of_an_epoch_and_a_frozen_layer_stays_bit_for_bit(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    watch = Watch()
    with caplog.at_level(logging.INFO, "alexnet"):
        fit(tmp_path, watch)

    expected = [[1e-2, 1e-2, 1e-2, 1e-2], [1e-3, 1e-2, 1e-2, 1e-2]]
    expected += [[1e-3, 1e-2, 0, 0], [1e-4, 1e-2, 0, 0]]
    assert len(watch.rates) == 16
    for (epoch, _), rates in watch.rates.items():
        assert rates == pytest.approx(expected[epoch])
    before, after = watch.conv1[1, 3], watch.conv1[3, 3]
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))
    assert not torch.equal(watch.conv1[1, 2][0], before[0])
    assert [row["lr"] for row in RunDir(tmp_path).read_metrics()] == [1e-2, 1e-3, 1e-3, 1e-4]
    assert [text for text in caplog.messages if "rate " in text or "frozen" in text] == [
        "from epoch 2 on: weights' rate 0.01 -> 0.001",
        "from epoch 3 on: conv1 frozen",
        "from epoch 4 on: weights' rate 0.001 -> 0.0001",
    ]
    assert not [each for each in caplog.records if each.levelname == "WARNING"]


def told_while_fitting(
    caplog: pytest.LogCaptureFixture, folder: Path, learning: dict[str, Any], **trainer: Any
) -> list[str]:
    with caplog.at_level(logging.INFO, "alexnet.learning"):
        fit(folder, Watch(), learning=learning, **trainer)
    ours = [each.getMessage() for each in caplog.records if each.name.startswith("alexnet")]
    return [text for text in ours if "training error" not in text]


PLATEAU = {"schedule": "plateau", "patience": 1, "lr": 1e-5}  # so low that nothing is learned


def test_the_plateau_rule_tells_when_it_has_divided_the_rates(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    learning = {**PLATEAU, "bias_lr_factor": 2.0}

    told = told_while_fitting(caplog, tmp_path, learning, max_epochs=2)

    assert told == ["from epoch 3 on: weights' rate 1e-05 -> 1e-06; biases' rate 2e-05 -> 2e-06"]


@pytest.mark.parametrize("stop_after", [(0, EPOCH_END), (1, 2), (1, EPOCH_END), (3, 1)])
def test_the_plateau_rule_lowers_the_rate_of_a_run_that_goes_on_when_it_would_have_anyway(
    tmp_path: Path, stop_after: tuple[int, int]
):
    whole, first, second = Watch(), Watch(stop_after), Watch()
    metrics = fit(tmp_path / "whole", whole, learning=PLATEAU).read_metrics()

    for watch in (first, second):
        run = fit(tmp_path / "stopped", watch, learning=PLATEAU)

    assert [row["lr"] for row in metrics] == pytest.approx([1e-5, 1e-5, 1e-6, 1e-7])
    assert {**first.rates, **second.rates} == whole.rates
    assert [row["lr"] for row in run.read_metrics()] == [row["lr"] for row in metrics]


def test_constant_rates_are_not_told_but_the_end_of_colour_noise_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    told = told_while_fitting(caplog, tmp_path, {"schedule": "constant"})

    assert told == ["no colour noise from epoch 4 on"]


@pytest.mark.parametrize(
    ("after", "words"),
    [
        ({"conv1_weights": 0.0}, "conv1 weights frozen"),
        ({"conv1_weights": 0.0, "conv1_biases": 0.0}, "conv1 frozen"),
        ({"weights": 0.0, "conv1_biases": 0.5}, "conv1 biases' rate 2 -> 0.5; weights frozen"),
        ({}, ""),
    ],
)
def test_changes_of_rates_are_told_in_words(after: dict[str, float], words: str):
    before = {"weights": 1.0, "biases": 2.0, "conv1_weights": 1.0, "conv1_biases": 2.0}

    assert changes(before, before | after) == words


@pytest.mark.parametrize(
    ("end", "told"),
    [
        ({"max_epochs": 2}, "after 2 epochs, {}: weights 3; conv1 weights 2; conv1 biases 2"),
        ({"max_epochs": 4, "max_steps": 10}, "after 2.5 epochs, {}: weights 3"),
    ],
)
def test_drops_that_never_come_are_told_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, end: dict[str, int], told: str
):
    fit(tmp_path, Watch(), **end)

    [warning] = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert warning.endswith(told.format("before these of learning.drops"))


@pytest.mark.parametrize(
    "stop_after", [(0, 2), (0, EPOCH_END), (1, 2), (1, EPOCH_END), (2, 0), (3, 1)]
)
def test_a_run_that_goes_on_inside_an_epoch_has_the_rates_and_weights_of_one_that_never_stopped(
    tmp_path: Path, stop_after: tuple[int, int]
):
    whole, first, second = Watch(), Watch(stop_after), Watch()
    expected = weights_of(fit(tmp_path / "whole", whole))

    fit(tmp_path / "stopped", first)
    resumed = weights_of(fit(tmp_path / "stopped", second))

    assert first.rates.keys().isdisjoint(second.rates)
    assert {**first.rates, **second.rates} == whole.rates
    for name, weight in expected.items():
        assert torch.equal(weight, resumed[name]), name


def test_a_layer_that_thaws_starts_from_rest():
    weight = nn.Parameter(torch.ones(2, dtype=torch.float64))
    optimizer = PaperSGD([weight], lr=0.1, weight_decay=0.0)
    for rate in (0.1, 0.0, 0.1):
        before = weight.detach().clone()
        optimizer.param_groups[0]["lr"] = rate
        weight.grad = torch.ones_like(weight)
        optimizer.step()

    torch.testing.assert_close(weight.detach(), before - 0.1, rtol=1e-14, atol=0)


def fit_in_my_process(folder: Path, columns: int) -> dict[tuple[int, int], list[float]]:
    torch.manual_seed(0)
    net, watch = AlexNet(**TINY | {"num_classes": 10}), Watch()
    fit(
        folder, watch, net=net.double(), precision="64-true", devices=2,
        strategy=ColumnParallelStrategy(columns),
    )  # fmt: skip
    frozen = zip(watch.conv1[1, 3], watch.conv1[3, 3], strict=True)
    assert all(torch.equal(*pair) for pair in frozen)
    return watch.rates


@pytest.mark.parametrize("columns", [2, 1])
def test_two_columns_or_two_replicas_drop_and_freeze_as_one_process_does(
    tmp_path: Path, columns: int
):
    torch.manual_seed(0)
    net, watch = AlexNet(**TINY | {"num_classes": 10}).double(), Watch()
    alone = fit(tmp_path / "alone", watch, net=net, precision="64-true")

    both = run_in_processes(2, fit_in_my_process, tmp_path / "both", columns)

    assert both == [watch.rates, watch.rates]
    together = weights_of(RunDir(tmp_path / "both"))
    for name, weight in weights_of(alone).items():
        torch.testing.assert_close(weight, together[name], rtol=1e-9, atol=1e-12)
