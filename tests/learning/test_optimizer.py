from copy import deepcopy

import pytest
import torch
from torch import nn

from alexnet.learning import PaperSGD
from alexnet.learning import optimizer as optimizer_module
from alexnet.learning.optimizer import parameter_groups


def quadratic_gradient(weight: torch.Tensor) -> torch.Tensor:
    return 3 * weight - 1


def test_the_update_is_the_printed_rule_also_across_a_drop_of_the_rate():
    weight = nn.Parameter(torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64))
    optimizer = PaperSGD([weight], lr=0.1, momentum=0.9, weight_decay=0.01)
    w, v = weight.detach().clone(), torch.zeros(3, dtype=torch.float64)

    for lr in (0.1, 0.1, 0.1, 0.01, 0.01):
        optimizer.param_groups[0]["lr"] = lr
        weight.grad = quadratic_gradient(weight.detach())
        optimizer.step()
        v = 0.9 * v - 0.01 * lr * w - lr * quadratic_gradient(w)
        w = w + v

        torch.testing.assert_close(weight.detach(), w, rtol=1e-14, atol=0)


def steps(
    optimizer: torch.optim.Optimizer, weight: nn.Parameter, rates: list[float]
) -> torch.Tensor:
    for lr in rates:
        optimizer.param_groups[0]["lr"] = lr
        weight.grad = quadratic_gradient(weight.detach())
        optimizer.step()
    return weight.detach()


@pytest.mark.parametrize(("rates", "equal"), [([0.1] * 5, True), ([0.1, 0.1, 0.01], False)])
def test_torch_sgd_is_the_same_only_while_the_rate_is_constant(rates: list[float], equal: bool):
    ours, theirs = (nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64)) for _ in range(2))
    settings = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}

    a = steps(PaperSGD([ours], **settings), ours, rates)
    b = steps(torch.optim.SGD([theirs], **settings), theirs, rates)

    assert torch.allclose(a, b, rtol=1e-12) == equal


def test_large_weights_are_updated_in_parts_with_the_numbers_of_the_whole(
    monkeypatch: pytest.MonkeyPatch,
):
    def updated(part: int) -> torch.Tensor:
        monkeypatch.setattr(optimizer_module, "_PART", part)
        random = torch.Generator().manual_seed(0)
        weight = nn.Parameter(torch.randn(77, 19, 3, 5, generator=random))
        weight.data = weight.data.contiguous(memory_format=torch.channels_last)
        return steps(PaperSGD([weight], lr=0.01), weight, [0.01, 0.003])

    assert torch.equal(updated(part=1000), updated(part=10**6))


def test_a_group_with_rate_0_is_frozen_without_decay_and_without_momentum():
    weight = nn.Parameter(torch.ones(2))
    optimizer = PaperSGD([weight], lr=0.1, weight_decay=0.5)
    steps(optimizer, weight, [0.1])
    before = weight.detach().clone()

    after = steps(optimizer, weight, [0.0, 0.0])

    assert torch.equal(before, after)


def test_weights_and_biases_have_their_own_rate_and_decay():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(4, 2))

    weights, biases = parameter_groups(
        net, lr=0.001, bias_lr_factor=2.0, weight_decay=0.004, bias_weight_decay=0.0
    )

    assert (weights["lr"], weights["weight_decay"]) == (0.001, 0.004)
    assert (biases["lr"], biases["weight_decay"]) == (0.002, 0.0)
    assert [p.dim() for p in weights["params"]] == [4, 2]
    assert [p.dim() for p in biases["params"]] == [1, 1]


def test_the_velocity_is_saved_and_restored():
    weight, copy = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    one, other = PaperSGD([weight], lr=0.1), PaperSGD([copy], lr=0.1)
    steps(one, weight, [0.1, 0.1])
    with torch.no_grad():
        copy.copy_(weight)

    other.load_state_dict(deepcopy(one.state_dict()))

    assert torch.equal(steps(one, weight, [0.1]), steps(other, copy, [0.1]))


@pytest.mark.parametrize("wrong", [{"lr": -1.0}, {"lr": 1.0, "momentum": 1.0}])
def test_a_rule_that_cannot_work_is_refused(wrong: dict[str, float]):
    with pytest.raises(ValueError, match="must"):
        PaperSGD([nn.Parameter(torch.ones(1))], **wrong)
