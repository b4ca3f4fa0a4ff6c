"""Metrics that users add to the table, from the batch to the file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torchmetrics
from torch import Tensor

from alexnet import vocabulary
from alexnet.folders.run import RunDir
from alexnet.learning.metrics import Evaluation

from .small import Watch, fit


class Margin(torchmetrics.Metric):
    """Mean of the highest logit less the true class's."""

    full_state_update = False
    sum: Tensor
    total: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("sum", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        self.sum += (logits.max(dim=1).values - logits.gather(1, labels[:, None])[:, 0]).sum()
        self.total += len(labels)

    def compute(self) -> Tensor:
        return self.sum / self.total


@pytest.fixture
def own_metrics(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The table may be added to; what was added is gone afterwards."""
    monkeypatch.setattr(vocabulary, "METRICS", dict(vocabulary.METRICS))
    return None


def add_margin() -> None:
    vocabulary.add_metric("margin", Margin, printed="margin")


@pytest.mark.usefixtures("own_metrics")
@pytest.mark.parametrize("factory", [Margin, f"{__name__}.Margin"], ids=["class", "dotted name"])
def test_a_metric_of_the_table_is_counted_over_samples(factory: Any):
    vocabulary.add_metric("margin", factory, printed="margin")
    logits = torch.randn(37, 10, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(37) % 10
    evaluation = Evaluation("test")

    for rows in (slice(0, 30), slice(30, 37)):
        evaluation.update(logits[rows], labels[rows])
    results = evaluation.results()

    by_hand = sum(max(row) - row[label] for row, label in zip(logits.tolist(), labels, strict=True))
    assert list(results) == ["test/loss", "test/error", "test/error_top5", "test/margin"]
    assert results["test/margin"].item() == pytest.approx(by_hand / 37)


class ByClass(Margin):
    def compute(self) -> Tensor:
        return torch.ones(10)


def evaluated(stage: Any) -> dict[str, Tensor]:
    evaluation = Evaluation(stage)
    evaluation.update(torch.randn(4, 10), torch.zeros(4, dtype=torch.long))
    return evaluation.results()


@pytest.mark.usefixtures("own_metrics")
@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (dict, r"val/odd is made by .*dict.*, which returns a dict"),
        (ByClass, r"val/odd computes 10 numbers"),
    ],
)
def test_what_is_no_metric_of_one_number_is_refused_by_its_key(factory: Any, message: str):
    vocabulary.add_metric("odd", factory, printed="odd")

    with pytest.raises(ValueError, match=message):
        evaluated("val")


@pytest.mark.usefixtures("own_metrics")
def test_a_users_metric_is_a_column_of_metrics_csv_and_the_test_has_none(tmp_path: Path):
    add_margin()

    run = fit(tmp_path, max_epochs=1)

    [row] = run.read_metrics()
    assert row["val/margin"] > 0
    assert not any(key.startswith("test/") for key in row)


@pytest.mark.usefixtures("own_metrics")
def test_a_metric_that_is_added_to_a_half_done_run_widens_its_file(tmp_path: Path):
    fit(tmp_path, watch=Watch(stop_after=(1, -1)))
    before = RunDir(tmp_path).read_metrics()
    add_margin()

    run = fit(tmp_path)

    rows = run.read_metrics()
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert [{key: row[key] for key in before[0]} for row in rows[:2]] == before
    assert [row["val/margin"] >= 0 for row in rows] == [False, False, True]  # blank: not a number
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.usefixtures("own_metrics")
def test_a_run_killed_after_its_file_grew_and_before_its_checkpoint_takes_the_row_back(
    tmp_path: Path,
):
    fit(tmp_path / "killed", watch=Watch(stop_after=(0, -1)))
    add_margin()
    run = RunDir(tmp_path / "killed")
    run.append_metrics({"epoch": 2.0, "val/error": 0.5, "val/margin": 1.0})
    with run.metrics.open("a") as file:
        file.write("3.0,0.1")  # cut short

    fit(tmp_path / "killed")

    rows = run.read_metrics()
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert all(row["train/loss"] == row["train/loss"] for row in rows)


def test_a_metric_that_is_no_longer_measured_is_left_blank(tmp_path: Path):
    run = RunDir(tmp_path)
    run.metrics.write_text("epoch,val/margin,val/error\n1.0,0.3,0.5\n")

    run.append_metrics({"epoch": 2.0, "val/error": 0.4})

    assert run.metrics.read_text().splitlines()[1:] == ["1.0,0.3,0.5", "2.0,,0.4"]
