"""Trained networks as safetensors files: parameters by name, and all else as JSON metadata."""

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import Tensor

from alexnet.files import replacing
from alexnet.paths import install_command

SUFFIX = ".safetensors"
MEAN_IMAGE = "mean_image"
_METADATA = "alexnet_lab"  # the entry of the file's metadata for our JSON


def write_safetensors(path: Path, content: Mapping[str, Any]) -> None:
    """Write the part of a checkpoint that describes its network; see read_safetensors.

    `content` has `state_dict` (names without "net."), `mean_image`, and plain data. Parameters keep
    their names and their bits, and the mean image is one more tensor. The rest becomes JSON in the
    entry `alexnet_lab` of the file's metadata.
    """
    _need_package(path)
    from safetensors.torch import save

    plain = {key: value for key, value in content.items() if key not in ("state_dict", MEAN_IMAGE)}
    tensors = {**content["state_dict"], MEAN_IMAGE: content[MEAN_IMAGE]}
    written = save(
        {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
        # Other programs read from "format" which framework's layout the tensors have.
        metadata={"format": "pt", _METADATA: json.dumps(plain)},
    )
    with replacing(path, "wb") as file:
        file.write(written)


def read_safetensors(path: Path) -> dict[str, Any]:
    """Read the content of a checkpoint, or parameters by name if another program wrote the file.

    Raises FileNotFoundError if the file does not exist, ValueError if it is damaged or the package
    safetensors is missing.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    _need_package(path)
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if _METADATA not in metadata:
            return tensors
        plain = json.loads(metadata[_METADATA])
        if not isinstance(plain, dict):
            raise ValueError("its description is not a JSON object")
        mean = tensors.pop(MEAN_IMAGE)
    except OSError:
        raise
    except KeyError as error:
        raise ValueError(f"{path} is damaged: it has no {error.args[0]}. Get it again") from error
    except (SafetensorError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged or not a safetensors file: {error}") from error
    named = {f"net.{name}": value for name, value in tensors.items()}
    return {**plain, "state_dict": named, MEAN_IMAGE: mean}


def _need_package(path: Path) -> None:
    if find_spec("safetensors") is None:
        raise ValueError(f"{path} needs the package safetensors: {install_command('export')}")
