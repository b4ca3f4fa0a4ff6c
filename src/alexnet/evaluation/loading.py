import io
from collections.abc import Collection
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn
from typing_extensions import override

from alexnet.data.augmentation import Augmentation
from alexnet.data.batches import ImageStore, LabelledImages
from alexnet.data.image_module import ImageModule
from alexnet.folders.sweep import find_checkpoint
from alexnet.model import SavedNet, read_checkpoint
from alexnet.sources.photograph import PIXELS, view

AnyImage = Image.Image | np.ndarray | Tensor
"""A picture of Pillow's, or uint8 pixels, (h, w, 3) or (3, h, w), of any size."""

_OF_PNG = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")  # modes that a PNG can hold


class TrainedNet(nn.Module):
    """A trained network in evaluation mode, which knows what it expects of images.

        net = alexnet.load("outputs/.../nonlinearity-relu_seed-0")
        best = net(net.preprocess(Image.open("cat.jpg"))).argmax()
        print(net.class_names[best])

    `net` is the network itself; its layers are attributes of this one too (`net.conv1`).
    `class_names` are None if the checkpoint does not hold them.

    Shape: (N, 3, image_size, image_size), as from `preprocess` -> (N, num_classes) logits.
    """

    def __init__(self, saved: SavedNet) -> None:
        super().__init__()
        self.net = saved.build()
        self.class_names = saved.class_names
        self.image_size = saved.image_size
        self._view = _OneImage(saved)
        self.eval()

    @override
    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "net":  # not there yet
                raise
            return getattr(super().__getattr__("net"), name)

    def preprocess(self, image: AnyImage) -> Tensor:
        """What the network sees of an image: RGB less the mean image, the central view.

        An image that has the size of the training images is taken as it is. Of any other the
        central square is brought to that size (section 2). EXIF orientation is applied.

        Shape: -> (1, 3, image_size, image_size) float32, on the device of the network. Raises
        ValueError for pixels that are not uint8 or not RGB, and for what cannot be decoded.
        """
        device = next(iter(self.parameters()), torch.empty(0)).device
        return self._view.of(_as_picture(image)).to(device)


def load(path: Path | str, *, allow: Collection[str] = ()) -> TrainedNet:
    """The trained network of a run, or of a checkpoint, ready to be used.

    `path` is the folder of a run or a file. The class of the network must be one of this project,
    or be named in `allow` ("my_lab.nets.SmallResNet"): see alexnet.model.read_checkpoint.

    Raises FileNotFoundError if there is no checkpoint, ValueError if it cannot be used.
    """
    return TrainedNet(read_checkpoint(find_checkpoint(Path(path)), allow=allow))


class _OneImage(ImageModule):
    """A data set of the image that is asked about, which is viewed like any test image."""

    def __init__(self, saved: SavedNet) -> None:
        pixels = saved.mean_image.shape[-1]
        augmentation: Any = saved.augmentation or "none"
        if augmentation not in get_args(Augmentation):
            raise ValueError(
                f"{saved.path} was trained on views that are unknown here: {augmentation}"
            )
        super().__init__(
            class_names=(),
            pixels=PIXELS if pixels == 1 else pixels,
            augmentation=augmentation,
            image_size=saved.image_size,
        )
        self.pixels = PIXELS if pixels == 1 else pixels
        self.saved_mean = saved.mean_image

    @override
    def load_train_and_val(self) -> tuple[ImageStore, ImageStore]:
        raise AssertionError("there is one image to look at, and none to learn from")

    @override
    def load_test(self) -> ImageStore:
        return self.image

    def of(self, picture: Image.Image) -> Tensor:
        self.image = _Single(view(_as_file(picture), self.pixels))
        self.setup_evaluation("test", self.saved_mean)
        views, _ = next(iter(self.evaluation_loader("test")))  # (1, 1, 3, h, w)
        return self.to_input(views[:, 0])


class _Single:
    """A store (data.batches.ImageStore) of one image, whatever row is asked for."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels
        self.labels = np.zeros(1, np.int64)

    def __len__(self) -> int:
        return 1

    def __getitem__(self, rows: np.ndarray) -> LabelledImages:
        return LabelledImages(np.stack([self.pixels for _ in rows]), self.labels[rows])


def _as_picture(image: AnyImage) -> Image.Image:
    if isinstance(image, Image.Image):
        try:
            image.load()
        except Exception as error:  # of a damaged file: SyntaxError, OSError, struct.error, ...
            raise ValueError(f"the image cannot be decoded: {error}") from error
        return ImageOps.exif_transpose(image)
    pixels = image.detach().cpu().numpy() if isinstance(image, Tensor) else np.asarray(image)
    if pixels.dtype != np.uint8:
        raise ValueError(f"pixels are of {pixels.dtype}: give uint8, RGB in 0..255")
    if pixels.ndim == 3 and pixels.shape[-1] != 3 and pixels.shape[0] == 3:
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim != 3 or pixels.shape[-1] != 3 or pixels.size == 0:
        raise ValueError(
            f"an image is of shape {tuple(image.shape)}: give (height, width, 3) or "
            "(3, height, width), one image at a time"
        )
    return Image.fromarray(np.ascontiguousarray(pixels))


def _as_file(picture: Image.Image) -> bytes:
    """A file whose pixels are those of the picture."""
    file = io.BytesIO()
    (picture if picture.mode in _OF_PNG else picture.convert("RGB")).save(file, "PNG")
    return file.getvalue()
