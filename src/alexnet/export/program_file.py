import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from alexnet.files import replacing

DESCRIPTION = "alexnet_lab.json"


def write_program(net: nn.Module, images: Tensor, path: Path, about: Mapping[str, Any]) -> str:
    """Write a program of torch.export, for batches of any size, which needs torch alone.

        network = torch.export.load(path).module()

    What it is lies in the file as alexnet_lab.json (`extra_files` of torch.export.load). Returns
    how far the program is from the network.
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
