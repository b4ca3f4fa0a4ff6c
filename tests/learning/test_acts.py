from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from typing_extensions import override

from alexnet.folders.run import RunDir
from alexnet.learning import ClassificationTask, NormRecorder
from alexnet.learning.acts import norm_effects
from alexnet.model import CifarNet, LocalResponseNorm
from alexnet.model.batch_norm import BatchNorm

from .small import EPOCH_END, Plain, Watch, assert_same_run, fit

IMAGES = 100 * torch.randn(4, 6, 5, 5, generator=torch.Generator().manual_seed(0))


def effect_of(norm: nn.Module) -> tuple[float, float]:
    [effect] = norm_effects(nn.Sequential(norm), IMAGES).values()
    return effect["factor"], effect["reshaping"]


def test_a_norm_that_only_scales_reshapes_nothing():
    assert effect_of(LocalResponseNorm(alpha=0.0, k=1.0)) == (1, pytest.approx(0, abs=1e-6))
    assert effect_of(LocalResponseNorm(alpha=0.0, k=2.0)) == (
        pytest.approx(2**-0.75, rel=1e-4), pytest.approx(0, abs=1e-6),
    )  # fmt: skip


def test_the_two_numbers_are_the_definition():
    norm = LocalResponseNorm(alpha=1e-3)
    a, b = IMAGES.flatten(), norm(IMAGES).flatten()
    c = (a @ b) / (a @ a)  # the best constant: least squares

    factor, reshaping = effect_of(norm)

    assert factor == pytest.approx((b.abs().sum() / a.abs().sum()).item(), rel=1e-3)
    assert reshaping == pytest.approx(((b - c * a).norm() / b.norm()).item(), rel=1e-3)
    assert reshaping > 0.1


def test_batch_normalization_is_taken_with_the_statistics_of_the_batch_and_left_as_it_was():
    norm = BatchNorm(6)
    net = nn.Sequential(norm).train()
    with torch.no_grad():
        norm.bias.fill_(1.0)

    [effect] = norm_effects(net, IMAGES).values()

    expected = nn.BatchNorm2d(6)(IMAGES) + 1
    mean = (expected.abs().mean() / IMAGES.abs().mean()).item()
    assert effect["factor"] == pytest.approx(mean, rel=1e-3)
    assert (norm.running_mean == 0).all()
    assert norm.num_batches_tracked == 0
    assert net.training
    assert norm.training


@pytest.mark.parametrize(("init", "acts"), [("source_2012", True), ("he", False)])
def test_lrn_acts_on_activities_of_the_size_that_its_constants_were_made_for(init: Any, acts: bool):
    # From weights of 1e-4 in conv1, activities reach some 10 after half an epoch.
    torch.manual_seed(0)
    net = CifarNet(init=init)
    if init == "source_2012":
        with torch.no_grad():
            net.conv1.weight.mul_(300)
    images = 60 * torch.randn(4, 3, 32, 32)

    reshaping = [effect["reshaping"] for effect in norm_effects(net, images).values()]

    assert (max(reshaping) > 0.02) == acts


class NormedNet(nn.Module):
    """A norm, and torch's dropout, whose masks come from the global generator."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1 = LocalResponseNorm(alpha=1e-3)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(3 * 8 * 8, 10)

    @override
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(self.dropout(self.norm1(images).flatten(1) / 100))


def recorder(folder: Path) -> NormRecorder:
    run = RunDir(folder)
    return NormRecorder(run, is_new=run.whole_checkpoint() is None)


def fit_measured(folder: Path, **settings: Any) -> RunDir:
    return fit(folder, make_net=NormedNet, callbacks=[recorder(folder)], **settings)


def test_a_run_that_is_measured_is_the_run_that_is_not_bit_for_bit(tmp_path: Path):
    expected = fit(tmp_path / "without", make_net=NormedNet)

    run = fit_measured(tmp_path / "with")

    assert_same_run(run, expected)
    acts = run.read_acts()
    assert acts["start"] == acts["end"] != {}  # its input are the images, which do not change
    assert acts["start"]["norm1"]["factor"] < 0.6


@pytest.mark.parametrize("stop_after", [(0, 1), (1, EPOCH_END)])
def test_a_run_that_goes_on_keeps_what_was_measured_at_its_start(
    tmp_path: Path, stop_after: tuple[int, int]
):
    run = fit_measured(tmp_path, watch=Watch(stop_after))
    before = run.read_acts()
    assert before.keys() == {"start"}
    run.write_acts({"start": {"norm1": {"factor": 0.5, "reshaping": 0.25}}})

    fit_measured(tmp_path)

    assert run.read_acts() == {
        "start": {"norm1": {"factor": 0.5, "reshaping": 0.25}}, "end": before["start"],
    }  # fmt: skip


def test_what_is_not_measured_says_why(tmp_path: Path):
    run = fit_measured(tmp_path / "plain", data=Plain())
    assert run.read_acts() == {"not_measured": "Plain is not an ImageModule"}

    (tmp_path / "two").mkdir()
    several = SimpleNamespace(world_size=2, datamodule=None, is_global_zero=True)
    recorder(tmp_path / "two").on_train_start(several, ClassificationTask(NormedNet()))
    assert RunDir(tmp_path / "two").read_acts() == {"not_measured": "the run has several processes"}


def test_a_network_without_norms_has_nothing_to_measure(tmp_path: Path):
    run = fit(tmp_path, callbacks=[recorder(tmp_path)])
    assert run.read_acts() == {"start": {}, "end": {}}
