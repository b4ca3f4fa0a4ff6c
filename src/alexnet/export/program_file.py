import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from alexnet.files import replacing

DESCRIPTION = "alexnet_lab.json"


def write_program(net: nn.Module, images: Tensor, path: Path, about: Mapping[str, Any]) -> str:
    """Write a program of torch.export for batches of any size, which needs only torch.

        network = torch.export.load(path).module()

    The file contains a description as alexnet_lab.json (see `extra_files` of torch.export.load).
    Returns a text on the difference between the program and the network.
    """
    with torch.no_grad():
        expected = net(images)
        batch = ({0: torch.export.Dim("batch")},)
        program = torch.export.export(net, (images,), dynamic_shapes=batch)
        found = program.module()(images)
    difference = (found - expected).abs().max() / expected.abs().max()
    with replacing(path, "wb") as file:
        torch.export.save(program, file, extra_files={DESCRIPTION: json.dumps(about)})
    return (
        f"torch.export of torch {torch.__version__}; within {float(difference):.1e} of the "
        "network, relative to the largest logit"
    )
