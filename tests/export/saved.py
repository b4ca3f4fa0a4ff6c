"""Checkpoints and run folders as training writes them, without training."""

from functools import cache
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import nn

from alexnet.folders.run import RunDir
from alexnet.model import AlexNet, CifarLocalNet, CifarNet
from tests.conftest import plan


def as_trained(net: nn.Module, *, seed: int = 0) -> nn.Module:
    """A network in evaluation mode with weights for which every layer and norm has an effect."""
    random = torch.Generator().manual_seed(seed)
    # Behind functions that saturate, images would hardly differ.
    is_flat = any(isinstance(each, nn.Sigmoid | nn.Tanh) for each in net.modules())
    for parameter in net.parameters():
        if parameter.dim() > 1:
            std = (2 / parameter[0].numel()) ** 0.5 if parameter.dim() != 3 else 0.05
            nn.init.normal_(parameter, std=6 * std if is_flat else std, generator=random)
        else:
            nn.init.uniform_(parameter, 0.1, 0.9, generator=random)
    for buffer in net.buffers():
        if buffer.is_floating_point():
            nn.init.uniform_(buffer, 0.5, 2, generator=random)
    return net.eval()


NETWORKS = {each.__name__: each for each in (AlexNet, CifarLocalNet, CifarNet)}


def save(
    path: Path,
    *,
    seed: int = 0,
    pixels: int | None = None,
    augmentation: str | None = "crop",
    prefix: str = "",
    **model: Any,
) -> nn.Module:
    """A checkpoint of a network; `model` is its configuration, without the package of _target_.

    It has learnt from images of `pixels`, crops of them if they are larger than its own, but for
    augmentation=None. Classes are called prefix0, prefix1, ...
    """
    network = NETWORKS[model.pop("_target_", "CifarNet")]
    net = as_trained(network(**model), seed=seed)
    size = net.image_size
    random = torch.Generator().manual_seed(1)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(
        {
            "format": 2,
            "state_dict": {f"net.{name}": value for name, value in net.state_dict().items()},
            "model": {"_target_": f"alexnet.model.{network.__name__}", **model},
            "mean_image": 100 + 40 * torch.rand(3, *[pixels or size] * 2, generator=random),
            "class_names": [f"{prefix}{number}" for number in range(model["num_classes"])],
            "image_size": size,
            "global_step": 7,
            "augmentation": f"crop{size}" if augmentation and (pixels or 0) > size else None,
        },
        path,
    )
    return net


@cache
def composed(*words: str) -> Any:
    """The configuration of a command that has a single run."""
    [planned] = plan(*words)
    return OmegaConf.create(planned.config.plain())


def save_run(folder: Path, *words: str, **saved: Any) -> nn.Module:
    """A finished run of a command, with a network as `save` makes it."""
    run = RunDir(folder)
    net = save(run.last_checkpoint, **saved)
    (folder / ".hydra").mkdir()
    OmegaConf.save(composed(*words), run.config)
    return net
