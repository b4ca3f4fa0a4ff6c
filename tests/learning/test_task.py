import pytest
import torch

from alexnet.learning import ClassificationTask, TopError
from alexnet.learning.metrics import MeanLoss
from alexnet.learning.optimizer import PaperSGD
from alexnet.learning.schedule import plateau
from alexnet.model import CifarNet


def top_error_as_a_loop(logits: torch.Tensor, labels: torch.Tensor, k: int) -> float:
    wrong = 0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        better = sorted(range(len(row)), key=lambda i: row[i], reverse=True)[:k]
        wrong += label not in better
    return wrong / len(labels)


@pytest.mark.parametrize("k", [1, 5])
def test_top_error_counts_samples_not_batches(k: int):
    logits = torch.randn(37, 10, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(37) % 10
    metric = TopError(k)

    for rows in (slice(0, 30), slice(30, 37)):  # batches of unequal size
        metric.update(logits[rows], labels[rows])

    assert metric.compute().item() == pytest.approx(top_error_as_a_loop(logits, labels, k))


def test_the_mean_loss_weighs_batches_by_their_size():
    metric = MeanLoss()

    metric.update(torch.tensor(1.0), 30)
    metric.update(torch.tensor(2.0), 10)

    assert metric.compute().item() == pytest.approx(1.25)


def test_top_5_error_of_fewer_than_five_classes_is_zero():
    metric = TopError(5)

    metric.update(torch.randn(8, 3), torch.zeros(8, dtype=torch.long))

    assert metric.compute() == 0


def test_the_state_of_a_task_is_the_network_under_net_and_nothing_else():
    names = set(ClassificationTask(CifarNet(), lr=0.1).state_dict())

    assert names == {
        f"net.{layer}.{kind}"
        for layer in ("conv1", "conv2", "conv3", "fc4")
        for kind in ("weight", "bias")
    }


def rates_after(errors: list[float], patience: int) -> list[float]:
    optimizer = PaperSGD([torch.nn.Parameter(torch.ones(1))], lr=0.01)
    schedule = plateau(optimizer, patience=patience)
    rates = []
    for error in errors:
        schedule.step(error)
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


def test_the_plateau_rule_divides_the_rate_after_so_many_epochs_without_a_better_error():
    rates = rates_after([0.5, 0.4, 0.4, 0.41, 0.3, 0.3, 0.3], patience=2)

    assert rates == pytest.approx([0.01, 0.01, 0.01, 0.001, 0.001, 0.001, 0.0001])


def test_the_plateau_rule_divides_three_times_at_most():
    rates = rates_after([0.5] * 20, patience=2)

    assert rates[-1] == pytest.approx(1e-5)
