import pickle
from pathlib import Path

import torch
from torch import nn

_NEEDED = ("state_dict", "optimizer_states", "loops", "callbacks")


def check_checkpoint(file: Path, net: nn.Module) -> None:
    """Check that training of `net` can resume from a checkpoint, without reading its weights.

    Raises ValueError if the checkpoint is from another network, or not from a run.
    """
    try:
        checkpoint = torch.load(file, mmap=True, weights_only=True)
    except (pickle.UnpicklingError, RuntimeError) as error:
        raise ValueError(f"{file} is not a checkpoint: {str(error).splitlines()[0]}") from error
    if missing := [key for key in _NEEDED if key not in checkpoint]:
        raise ValueError(
            f"a run cannot resume from {file}, which has no {', '.join(missing)}: remove it to "
            "start over"
        )
    here = {f"net.{name}": _shape(tensor) for name, tensor in net.state_dict().items()}
    there = {name: _shape(tensor) for name, tensor in checkpoint["state_dict"].items()}
    for name in here | there:
        if here.get(name) != there.get(name):
            raise ValueError(
                f"{file} is from another network: {name} is {there.get(name, 'missing')} there and "
                f"{here.get(name, 'missing')} here. Remove it to start over"
            )


def _shape(tensor: torch.Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "one number"
