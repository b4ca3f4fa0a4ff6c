from pathlib import Path
from typing import Any

import pytest
import torch

from alexnet.learning import check_checkpoint
from alexnet.model import CifarNet


def saved(file: Path, net: CifarNet, **others: Any) -> Path:
    """As much of a checkpoint as is looked at."""
    state = {f"net.{name}": weight for name, weight in net.state_dict().items()}
    plain = {"optimizer_states": [], "loops": {}, "callbacks": {}}
    torch.save({"state_dict": state, **plain, **others}, file)
    return file


def test_a_checkpoint_of_the_same_network_fits(tmp_path: Path):
    check_checkpoint(saved(tmp_path / "last.ckpt", CifarNet()), CifarNet())


def test_one_of_another_shape_is_refused_with_both_shapes(tmp_path: Path):
    file = saved(tmp_path / "last.ckpt", CifarNet(num_classes=7))

    with pytest.raises(
        ValueError, match=r"last\.ckpt is from another network: net\.fc4\.weight is 7 x"
    ):
        check_checkpoint(file, CifarNet(num_classes=10))


def test_one_with_other_layers_is_refused(tmp_path: Path):
    file = saved(tmp_path / "last.ckpt", CifarNet(), state_dict={"net.conv9.bias": torch.ones(3)})

    with pytest.raises(ValueError, match=r"net\.conv1\.weight is missing there and 32 x 3 x 5 x 5"):
        check_checkpoint(file, CifarNet())


def test_weights_alone_are_nothing_to_go_on_from(tmp_path: Path):
    torch.save({"state_dict": {}}, tmp_path / "last.ckpt")

    with pytest.raises(ValueError, match="has no optimizer_states, loops, callbacks"):
        check_checkpoint(tmp_path / "last.ckpt", CifarNet())
