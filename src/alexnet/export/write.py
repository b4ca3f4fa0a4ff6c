import logging
from pathlib import Path
from typing import Literal

import numpy as np

from alexnet.export.network import Preprocessing, description, exported_network
from alexnet.export.onnx_file import write_onnx
from alexnet.export.program_file import write_program
from alexnet.files import replacing
from alexnet.model import SavedNet

log = logging.getLogger(__name__)

Format = Literal["onnx", "torch_export", "safetensors"]


def write_network(saved: SavedNet, dest: Path, *, format: Format, preprocess: bool = True) -> None:
    """Write a trained network for other programs, and log what was written.

    With `preprocess`, onnx and torch_export programs take images, uint8 RGB of the view's size.
    Without it, they take images less the mean image, which is written beside them as
    FILE.mean_image.npy. A safetensors file always contains the mean image.

    Raises ValueError if a package is missing, if torch cannot export the network, or if the
    exported program gives different logits.
    """
    dest.parent.mkdir(parents=True, exist_ok=True)
    if format == "safetensors":
        saved.build()  # refuses parameters that do not fit
        saved.write_safetensors(dest)
        how = "safetensors, all parameters and the mean image"
    else:
        net, images = exported_network(saved, preprocess=preprocess)
        write = write_onnx if format == "onnx" else write_program
        about = description(saved, preprocess=preprocess)
        try:
            done = write(net, images, dest, about)
        except (ValueError, OSError):
            raise
        # For users' networks, torch's exporter or the network itself can raise anything.
        except Exception as error:
            first: BaseException = error
            while first.__cause__ is not None:
                first = first.__cause__
            reason = next(iter(str(first).strip().splitlines()), "")
            raise ValueError(
                f"{saved.path}: torch cannot export {saved.model['_target_']} to {format}: "
                f"{type(first).__name__}: {reason}"
            ) from error
        how = f"{done}\n  takes {about['images']}"
        how += f"\n  gives {about['logits']} logits"
        if not preprocess:
            how += f"\n  mean image beside it: {_write_mean(saved, dest)}"
    log.info("%s  %.1f MB\n  %s", dest, dest.stat().st_size / 1e6, how)


def _write_mean(saved: SavedNet, dest: Path) -> Path:
    """Write the mean image that the program needs subtracted, at the network's size."""
    view = Preprocessing(saved)
    black = view.mean.new_zeros(1, *view.mean.shape)
    path = dest.with_name(f"{dest.name}.mean_image.npy")
    with replacing(path, "wb") as file:
        np.save(file, -view(black)[0].numpy())
    return path
