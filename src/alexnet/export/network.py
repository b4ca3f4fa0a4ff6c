from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from alexnet import __version__
from alexnet.model import SavedNet


class Preprocessing(nn.Module):
    """The preprocessing of the central view of an image as a module (section 2).

    The mean image is subtracted, and the difference is scaled to the network's size. Scaling is a
    linear map with constant coefficients: the same matrix for the rows and the columns.

    Shape: (N, 3, h, w) uint8, RGB -> (N, 3, image_size, image_size) float32.
    """

    mean: Tensor
    resize: Tensor | None

    def __init__(self, saved: SavedNet) -> None:
        super().__init__()
        mean = saved.view_mean
        size, pixels = saved.image_size, mean.shape[-1]
        self.register_buffer("mean", mean.float().contiguous())
        matrix = None
        if pixels != size:
            # Column i of the matrix is the scaled image of a single bright row i.
            rows = torch.eye(pixels)[:, None, :, None].expand(-1, 1, -1, pixels)
            matrix = F.interpolate(rows, (size, size), mode="bilinear", antialias=True)
            matrix = matrix[:, 0, :, 0].T.contiguous()
        self.register_buffer("resize", matrix)

    @property
    def pixels(self) -> int:
        """Side of the view in pixels."""
        return self.mean.shape[-1]

    @override
    def forward(self, images: Tensor) -> Tensor:
        x = images.float() - self.mean
        return x if self.resize is None else self.resize @ x @ self.resize.T


def exported_network(saved: SavedNet, *, preprocess: bool) -> tuple[nn.Module, Tensor]:
    """Return the network to export, and two images to trace it with.

    With `preprocess`, images are uint8 (N, 3, h, w) of the view's size; without it, they are
    float32 of the network's size, less the mean.
    """
    net, view = saved.build(), Preprocessing(saved)
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(
        256, (2, 3, view.pixels, view.pixels), dtype=torch.uint8, generator=random
    )
    if preprocess:
        return nn.Sequential(view, net).eval(), pixels
    return net, view(pixels)


def description(saved: SavedNet, *, preprocess: bool) -> dict[str, Any]:
    """Describe the network as plain data, for the exported file."""
    pixels = saved.view_mean.shape[-1] if preprocess else saved.image_size
    values = (
        "uint8 RGB in 0..255, the central view of an image"
        if preprocess
        else "float32 RGB in 0..255 less the mean image"
    )
    return {
        "alexnet_lab": __version__,
        "model": saved.model,
        "class_names": saved.class_names,
        "steps": saved.steps,
        "augmentation": saved.augmentation,
        "images": f"(N, 3, {pixels}, {pixels}) {values}",
        "logits": f"(N, {saved.num_classes})",
    }
