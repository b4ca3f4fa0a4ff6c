import itertools
import logging
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.strategies import StrategyRegistry
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn
from torch.nn import functional

from alexnet.data import Synthetic
from alexnet.learning import ClassificationTask, ColumnParallelStrategy
from alexnet.learning.columns.layout import Layout
from alexnet.model import AlexNet, CifarNet, rows_of
from tests.conftest import plan
from tests.learning.processes import run_in_processes

TINY: dict[str, Any] = {
    "channels": (8, 16, 16, 16, 8),
    "hidden": (16, 16),
    "image_size": 67,
    "init": "he",
    "num_classes": 7,  # 4 + 3: columns of unequal size
}
FACTORS = [
    {"nonlinearity": nonlinearity, "normalization": normalization, "pooling": pooling}
    for nonlinearity, normalization, pooling in itertools.product(
        ("relu", "tanh", "sigmoid"), ("lrn", "none"), ("overlapping", "non_overlapping")
    )
]
NETWORKS: dict[str, dict[str, Any]] = {
    "as run in 2012": {
        "norm1_before_nonlinearity": True,
        "same_map_norm": True,
        "lrn_alpha_is_divided_by_size": True,
        "dropout_is_inverted": True,
    },
    "batch normalization": {"normalization": "batch"},
    "no crossing": {"columns_cross": False, "hidden": (32, 16)},
    "without conv3": {"removed": ("conv3",)},
    "without any": {"removed": ("conv3", "conv4", "conv5")},
    "six": {"sixth_convolution": True, "removed": ("conv4",)},
    # tanh: in so small a column all ReLUs of a layer may be 0.
    "six, no crossing": {
        "sixth_convolution": True,
        "columns_cross": False,
        "nonlinearity": "tanh",
    },
}
NETWORKS["all of these"] = {
    **NETWORKS["as run in 2012"],
    **NETWORKS["six, no crossing"],
    "removed": ("conv3",),
    "hidden": (32, 16),
}
LEARNING = {"lr": 0.01, "bias_lr_factor": 2.0, "momentum": 0.9, "weight_decay": 5e-3}


class Gradients(pl.Callback):
    """Keeps the gradients of every step."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Tensor]] = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        gradients = ((name, weight.grad) for name, weight in pl_module.net.named_parameters())
        self.steps.append({name: gradient.cpu().clone() for name, gradient in gradients})


def fit(
    *,
    columns: int,
    replicas: int = 1,
    folder: Path | None = None,
    net: dict[str, Any] | None = None,
    learning: dict[str, Any] = LEARNING,
    views: dict[str, Any] | None = None,
    precision: str = "64-true",
    steps: int = 3,
    batch_size: int = 6,
    resume: Path | None = None,
    accelerator: str = "cpu",
    trainer_settings: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Train a tiny AlexNet; everything one would like to compare.

    `columns=1` means one process with the whole network, `replicas` of it.
    """
    torch.manual_seed(0)
    settings = {**TINY, "columns": max(columns, 2), **(net or {})}
    task = ClassificationTask(AlexNet(**settings), **learning)
    data = Synthetic(
        num_images=21,
        num_classes=settings["num_classes"],
        batch_size=batch_size,
        image_size=settings["image_size"],
        seed=0,
        **(views or {"size": 67}),
    )
    devices = columns * replicas
    strategy: Any = ColumnParallelStrategy(columns=columns) if devices > 1 else "auto"
    gradients = Gradients()
    trainer = make_trainer(
        strategy, devices, accelerator, precision=precision, max_steps=steps, callbacks=[gradients],
        **(trainer_settings or {}),
    )  # fmt: skip
    trainer.fit(task, datamodule=data, ckpt_path=resume)
    buffers = dict(task.net.named_buffers())
    answer = {
        "statistics": {n: b.cpu().clone() for n, b in buffers.items() if b.dim() > 0},
        "metrics": {name: value.item() for name, value in trainer.callback_metrics.items()},
        "gradients": gradients.steps,
        "parts": {n: p.detach().cpu().clone() for n, p in task.net.named_parameters()},
        "velocity": sum(
            value.numel() for s in trainer.optimizers[0].state.values() for value in s.values()
        ),
        "measured": strategy.measured() if devices > 1 else None,
    }
    if folder:
        trainer.save_checkpoint(folder / "last.ckpt")
    trainer.test(task, datamodule=data, verbose=False)
    answer["tested"] = {name: value.item() for name, value in trainer.callback_metrics.items()}
    answer["images"] = int(task.train_error.total)
    return answer


def make_trainer(
    strategy: Any, devices: int, accelerator: str = "cpu", **settings: Any
) -> pl.Trainer:
    return pl.Trainer(
        accelerator=accelerator,
        devices=devices,
        strategy=strategy,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        **settings,
    )


@pytest.fixture(autouse=True)
def _one_thread():
    # As the processes have: several threads add in another order, which float32 shows.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def logits_and_gradients(
    columns: int, dtype: torch.dtype, all_settings: list[dict[str, Any]], batch_size: int = 4
) -> list[dict[str, Tensor]]:
    """Of one backward pass without dropout, for each of the settings."""
    answers = []
    for settings in all_settings:
        torch.manual_seed(0)
        net = AlexNet(**settings, dropout=0.0)
        task = ClassificationTask(net, lr=0.1)
        if columns > 1:
            strategy = ColumnParallelStrategy(columns)
            trainer = make_trainer(strategy, columns)
            strategy.connect(task)
            strategy.setup_environment()
            strategy.setup(trainer)
        task.to(dtype).train()
        generator = torch.Generator().manual_seed(1)
        images = 60 * torch.randn(
            batch_size, 3, net.image_size, net.image_size, generator=generator, dtype=dtype
        )
        logits = task(images)
        functional.cross_entropy(logits, torch.arange(batch_size) % 7).backward()
        answers.append({"logits": logits.detach()} | {n: p.grad for n, p in net.named_parameters()})
    return answers


def assert_near(part: Tensor, whole: Tensor, *, within: float, of: str = "") -> None:
    """Relative to the largest entry: float32 sums differ by their order."""
    distance, largest = (part - whole).abs().max(), whole.abs().max()
    assert distance <= within * largest, f"{of} differs by {distance:.1e} of {largest:.1e}"


def assert_columns_are(
    parts: list[dict[str, Tensor]], whole: dict[str, Tensor], within: float
) -> None:
    for name, tensor in whole.items():
        for column, each in enumerate(parts):
            rows = slice(None) if name == "logits" else rows_of(column, len(parts), len(tensor))
            assert each[name].shape == tensor[rows].shape
            if tensor[rows].numel():
                assert_near(each[name], tensor[rows], within=within, of=name)


@pytest.mark.parametrize(
    ("dtype", "within"), [(torch.float64, 1e-10), (torch.float32, 1e-5)], ids=str
)
def test_two_columns_have_the_logits_and_gradients_of_one_process_for_all_networks(dtype, within):
    settings = [TINY | options for options in (*FACTORS, *NETWORKS.values())]

    columns = run_in_processes(2, logits_and_gradients, 2, dtype, settings)

    for whole, *parts in zip(logits_and_gradients(1, dtype, settings), *columns, strict=True):
        assert_columns_are(parts, whole, within)
        assert all(part[name].abs().max() > 0 for part in parts for name in whole)


@pytest.mark.parametrize("num_classes", [7, 5])  # 2 + 2 + 2 + 1; 2 + 2 + 1 + 0
def test_four_columns_have_the_logits_and_gradients_of_one_process(num_classes: int):
    four = TINY | {"columns": 4, "num_classes": num_classes}
    settings = [four, four | NETWORKS["six, no crossing"]]

    columns = run_in_processes(4, logits_and_gradients, 4, torch.float64, settings, 5)

    wholes = logits_and_gradients(1, torch.float64, settings, 5)
    for whole, *parts in zip(wholes, *columns, strict=True):
        assert_columns_are(parts, whole, 1e-10)


@pytest.mark.slow
def test_two_columns_of_the_full_alexnet_have_the_logits_and_gradients_of_one_process():
    settings = [{"num_classes": 1000, "init": "he"}]

    columns = run_in_processes(2, logits_and_gradients, 2, torch.float32, settings, 2)

    [whole] = logits_and_gradients(1, torch.float32, settings, 2)
    assert_columns_are([part for [part] in columns], whole, 1e-5)


def assert_same_training(whole: dict[str, Any], ranks: list[dict[str, Any]], columns: int) -> None:
    for first in range(0, len(ranks), columns):  # each replica
        parts = ranks[first : first + columns]
        assert_columns_are([part["parts"] for part in parts], whole["parts"], 1e-10)
        assert_columns_are([part["statistics"] for part in parts], whole["statistics"], 1e-10)
        for number, step in enumerate(whole["gradients"]):
            assert_columns_are([part["gradients"][number] for part in parts], step, 1e-10)
    for rank in ranks:
        assert rank["metrics"] == pytest.approx(whole["metrics"], rel=1e-6)
        assert rank["tested"] == pytest.approx(whole["tested"], rel=1e-6)


@pytest.mark.parametrize(("columns", "replicas"), [(2, 1), (1, 2), (2, 2), (1, 3), (4, 1)], ids=str)
def test_training_with_dropout_is_that_of_one_process(columns: int, replicas: int, tmp_path: Path):
    # 6 + 6 + 6 + 3 images an epoch: two replicas have 1 and 2 of the last batch.
    net = {"columns": 4} if columns == 4 else {}
    job = dict(columns=columns, replicas=replicas, net=net, folder=tmp_path, steps=5)

    ranks = run_in_processes(columns * replicas, _fit, job)

    whole = fit(columns=1, net=net, steps=5)
    assert_same_training(whole, ranks, columns)


@pytest.mark.parametrize(("columns", "replicas"), [(2, 1), (1, 2), (2, 2), (1, 3)], ids=str)
def test_batch_normalization_sees_the_global_batch(columns: int, replicas: int):
    # The last batch has 3 images: two replicas have 1 and 2 of them.
    job = dict(columns=columns, replicas=replicas, net=NETWORKS["batch normalization"], steps=5)

    ranks = run_in_processes(columns * replicas, _fit, job)

    whole = fit(columns=1, net=NETWORKS["batch normalization"], steps=5)
    assert set(whole["statistics"]) == {
        f"{layer}.{kind}"
        for layer in ("norm1", "norm2")
        for kind in ("running_mean", "running_var")
    }
    assert_same_training(whole, ranks, columns)
    for rank in ranks:
        if columns > 1:  # nothing but activities crosses, and running statistics are no parameters
            measured = rank["measured"]
            assert measured["bytes_sent_per_column"] == measured["bytes_sent_in_theory"]


def test_torchs_batch_normalization_is_warned_of_where_replicas_divide_the_batch():
    messages = run_in_processes(2, _warnings_of_torchs_batch_norm)

    assert [len(each) for each in messages] == [1, 0]
    assert "statistics of BatchNorm2d" in messages[0][0]
    assert "use alexnet.model.BatchNorm" in messages[0][0]


def _warnings_of_torchs_batch_norm() -> list[str]:
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("alexnet.learning.columns.strategy").addHandler(handler)
    net = CifarNet(7, normalization="none", image_size=67)
    net.norm1 = nn.BatchNorm2d(32)
    train_one_step(net, 1)
    return messages


CLIPPED, ACCUMULATED = {"gradient_clip_val": 0.1}, {"accumulate_grad_batches": 3}


@pytest.mark.parametrize("settings", [CLIPPED, ACCUMULATED, CLIPPED | ACCUMULATED], ids=str)
def test_two_replicas_clip_and_accumulate_gradients_as_one_process_does(settings: dict[str, Any]):
    # Of 4 batches an epoch, 3 make a step and the last one, shared as 1 + 2 images, another.
    job = {"columns": 1, "steps": 4, "trainer_settings": settings}

    ranks = run_in_processes(2, _fit, {**job, "replicas": 2})

    whole = fit(**job)
    assert_same_training(whole, ranks, columns=1)
    plain = fit(columns=1, steps=4)["parts"]
    assert not torch.allclose(plain["conv1.weight"], whole["parts"]["conv1.weight"], atol=1e-9)


def test_two_columns_accumulate_gradients_as_one_process_does():
    job = {"steps": 3, "trainer_settings": ACCUMULATED}

    ranks = run_in_processes(2, _fit, {"columns": 2, **job})

    assert_same_training(fit(columns=1, **job), ranks, columns=2)


@pytest.mark.parametrize(
    "network", ["as run in 2012", "six, no crossing", "without conv3", "all of these"]
)
def test_other_networks_train_in_two_columns_as_in_one_process(network: str):
    net = NETWORKS[network]

    ranks = run_in_processes(2, _fit, {"columns": 2, "net": net})

    assert_same_training(fit(columns=1, net=net), ranks, columns=2)
    for rank in ranks:
        assert rank["measured"]["bytes_sent_per_column"] == rank["measured"]["bytes_sent_in_theory"]


@pytest.mark.parametrize("preset", ["alexnet_paper", "alexnet_2012", "sixth_convolution"])
def test_the_presets_train_in_two_columns_as_in_one_process(preset: str):
    config = plan(f"+experiment={preset}", "trainer=two_columns")[0].config
    assert config.model.sixth_convolution == (preset == "sixth_convolution")
    net, data = config.model.plain(), config.data.plain()
    views = {key: data[key] for key in data if key.startswith(("augmentation", "crop_", "color_"))}
    job = {
        "net": {key: net[key] for key in net.keys() - {"_target_", *TINY}},  # but tiny
        "learning": config.learning.model_dump(exclude={"stop_at_train_error"}),
        "views": {"size": 256, **views},
    }

    ranks = run_in_processes(2, _fit, {"columns": 2, **job})

    assert_same_training(fit(columns=1, **job), ranks, columns=2)


def test_columns_that_do_not_cross_send_what_fc8_and_the_softmax_see():
    [rank, _] = run_in_processes(2, _fit, {"columns": 2, "net": NETWORKS["no crossing"]})

    # 8 of the 16 neurons before fc8, forward and backward; 4 logits. 6 + 6 + 6 images, 8 bytes.
    assert rank["measured"]["bytes_sent_per_column"] == 18 * (2 * 8 + 4) * 8


def _fit(settings: dict[str, Any]) -> dict[str, Any]:
    return fit(**settings)


def test_a_column_has_half_of_every_parameter_and_of_the_velocity():
    ranks = run_in_processes(2, _fit, {"columns": 2, "net": {"num_classes": 8}})

    whole = fit(columns=1, net={"num_classes": 8})
    for rank in ranks:
        assert 2 * rank["velocity"] == whole["velocity"]
        for name, tensor in whole["parts"].items():
            assert 2 * rank["parts"][name].numel() == tensor.numel()


def test_the_bytes_that_cross_are_those_of_the_paper():
    [rank, _] = run_in_processes(2, _fit, {"columns": 2, "steps": 4})

    # 16 x 3 x 3 before conv3, 8 before fc6, 16 before fc7 and fc8: forward and backward; 4 logits.
    activities = 2 * (16 * 3 * 3 + 8 + 16 + 16) // 2 + 4
    images = 6 + 6 + 6 + 3
    assert rank["measured"]["bytes_sent_per_column"] == images * activities * 8
    assert rank["measured"]["bytes_sent_in_theory"] == images * activities * 8


@pytest.mark.parametrize(("replicas", "text"), [(1, "1 replica."), (2, "2 replicas.")])
def test_the_layout_counts_its_replicas(replicas: int, text: str):
    layout = Layout(
        columns=2,
        replicas=replicas,
        parameters={"fc8.weight": torch.Size((10, 4))},
        crossings={},
        classes=10,
        bytes_per_activity=4,
    )
    assert f"2 columns x {text} Part" in layout.describe(images=1)


@pytest.mark.parametrize(
    ("before", "after", "normalization"), [(2, 1, "lrn"), (1, 2, "lrn"), (2, 1, "batch")]
)
def test_a_run_goes_on_in_another_number_of_processes(
    before: int, after: int, normalization: str, tmp_path: Path
):
    net = {"normalization": normalization}

    def run(columns: int, **job: Any) -> list[dict[str, Any]]:
        settings = {"columns": columns, "net": net, **job}
        return run_in_processes(columns, _fit, settings)

    run(before, steps=3, folder=tmp_path)

    resumed = run(after, steps=8, resume=tmp_path / "last.ckpt")

    fit(columns=1, net=net, steps=3, folder=tmp_path)
    whole = fit(columns=1, net=net, steps=8, resume=tmp_path / "last.ckpt")
    assert_columns_are([rank["parts"] for rank in resumed], whole["parts"], 1e-10)
    assert resumed[0]["tested"] == pytest.approx(whole["tested"], rel=1e-6)


@pytest.mark.parametrize("normalization", ["lrn", "batch"])
def test_the_checkpoint_of_two_columns_is_that_of_one_process(normalization: str, tmp_path: Path):
    net = {"normalization": normalization}
    run_in_processes(2, _fit, {"columns": 2, "folder": tmp_path, "net": net})
    divided = torch.load(tmp_path / "last.ckpt", weights_only=True)

    fit(columns=1, folder=tmp_path, net=net)
    whole = torch.load(tmp_path / "last.ckpt", weights_only=True)

    assert divided.keys() == whole.keys()
    assert divided["state_dict"]["net.conv2.weight"].shape == (16, 4, 5, 5)
    for name, tensor in whole["state_dict"].items():
        assert_near(divided["state_dict"][name], tensor, within=1e-10, of=name)
    [theirs], [ours] = divided["optimizer_states"], whole["optimizer_states"]
    assert theirs["param_groups"] == ours["param_groups"]
    for number, values in ours["state"].items():
        assert_near(theirs["state"][number]["velocity"], values["velocity"], within=1e-10)
    assert list(tmp_path.iterdir()) == [tmp_path / "last.ckpt"]


def test_a_checkpoint_of_another_network_is_refused_in_one_line(tmp_path: Path):
    fit(columns=1, net={"hidden": (32, 16)}, folder=tmp_path)

    with pytest.raises(ValueError, match=r"fc6\.weight is 32 x 8 there and 16 x 8 here"):
        run_in_processes(2, _fit, {"columns": 2, "resume": tmp_path / "last.ckpt"})


def test_bfloat16_halves_what_crosses():
    ranks = run_in_processes(2, _fit, {"columns": 2, "precision": "bf16-mixed", "steps": 1})

    measured = ranks[0]["measured"]
    assert measured["bytes_sent_per_column"] == measured["bytes_sent_in_theory"]
    assert all(rank["parts"]["conv1.weight"].isfinite().all() for rank in ranks)


def train_one_step(net: Any, columns: int, devices: int = 2, **settings: Any) -> None:
    trainer = make_trainer(ColumnParallelStrategy(columns), devices, max_steps=1, **settings)
    data = Synthetic(num_images=8, batch_size=4, size=67, image_size=67)
    trainer.fit(ClassificationTask(net, lr=0.1), datamodule=data)


@pytest.mark.parametrize(
    ("net", "settings", "message"),
    [
        (CifarNet(image_size=67), {}, "has no network with columns"),
        (AlexNet(**{**TINY, "columns": 1}), {}, "cannot be divided into 2 columns"),
        (
            AlexNet(**TINY),
            {"gradient_clip_val": 1.0},
            "does not support gradient_clip_val with several columns",
        ),
    ],
)
def test_what_cannot_be_divided_is_refused(net: Any, settings: dict[str, Any], message: str):
    with pytest.raises(MisconfigurationException, match=message):
        run_in_processes(2, _refused, net, settings)


def _refused(net: Any, settings: dict[str, Any]) -> None:
    train_one_step(net, 2, **settings)


@pytest.mark.gpu
def test_one_gpu_trains_as_the_cpu_does_with_the_same_dropout():
    [rank] = run_in_processes(1, _fit, {"columns": 1, "accelerator": "gpu"})

    assert_same_training(fit(columns=1), [rank], columns=1)


@pytest.mark.two_gpu
@pytest.mark.parametrize(("columns", "replicas"), [(2, 1), (1, 2)])
def test_two_gpus_train_as_one_process_does(columns: int, replicas: int, tmp_path: Path):
    job = {"columns": columns, "replicas": replicas, "accelerator": "gpu", "folder": tmp_path}

    ranks = run_in_processes(2, _fit, job)

    assert_same_training(fit(columns=1), ranks, columns)
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert checkpoint["state_dict"]["net.conv2.weight"].shape == (16, 4, 5, 5)


def test_the_strategy_is_known_to_lightning_by_name():
    assert isinstance(StrategyRegistry.get("column_parallel"), ColumnParallelStrategy)
