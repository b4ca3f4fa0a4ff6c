import io
import logging
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
from alexnet.folders.sweep import find_checkpoint, how_far, run_of
from alexnet.model import SavedNet, read_checkpoint
from alexnet.sources.photograph import PIXELS, BadImage, view

log = logging.getLogger(__name__)

AnyImage = Path | str | Image.Image | np.ndarray | Tensor
"""A file, a Pillow image, or uint8 pixels, (h, w, 3) or (3, h, w), of any size."""

_OF_PNG = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")  # modes that a PNG can hold


class TrainedNet(nn.Module):
    """A trained network in evaluation mode, with its preprocessing.

        net = alexnet.load("outputs/.../nonlinearity-relu_seed-0")
        best = net(net.preprocess("cat.jpg")).argmax()
        print(net.class_names[best])

    The attribute `net` is the network itself; its layers are attributes of this module too
    (`net.conv1`). `class_names` are None if the checkpoint does not hold them. Features of any
    layer, also inside the network, come from torchvision:

        from torchvision.models.feature_extraction import create_feature_extractor

        features = create_feature_extractor(net.net, ["norm1", "fc4"])(net.preprocess("cat.jpg"))

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
            if name == "net":  # not set yet
                raise
            return getattr(super().__getattr__("net"), name)

    def preprocess(self, image: AnyImage) -> Tensor:
        """Return the input for one image: the central view in RGB, less the mean image.

        This is what validation and testing do. An image of the size of the training images is
        used unchanged. The central square of any other image is scaled to that size (section 2).
        EXIF orientation is applied. Concatenate several inputs for a batch: torch.cat.

        Shape: -> (1, 3, image_size, image_size) float32, on the device of the network. Raises
        FileNotFoundError if there is no such file, and ValueError for pixels that are not uint8 or
        not RGB and for anything that cannot be decoded as an image.
        """
        device = next(iter(self.parameters()), torch.empty(0)).device
        return self._view.of(_content(image)).to(device)


def load(path: Path | str, *, allow: Collection[str] = ()) -> TrainedNet:
    """Return the trained network of a run or of a checkpoint, in evaluation mode on the CPU.

    `path` is the folder of a run, whose last checkpoint is used, or a checkpoint file. The class of
    the network must be one of this project, or be named in `allow` ("my_lab.nets.SmallResNet"): see
    alexnet.model.read_checkpoint. If the run has not finished, a warning says how far it got.

    Raises FileNotFoundError if there is no checkpoint, ValueError if it cannot be used.
    """
    checkpoint = find_checkpoint(Path(path))
    net = TrainedNet(read_checkpoint(checkpoint, allow=allow))
    run = run_of(checkpoint)
    if run and run.last_checkpoint == checkpoint.absolute() and not run.is_finished:
        log.warning(
            "%s has not finished (%s): this is the network of its last checkpoint",
            run.path, how_far(run),
        )  # fmt: skip
    return net


class _OneImage(ImageModule):
    """A data set of one image, which is preprocessed like any test image."""

    def __init__(self, saved: SavedNet) -> None:
        pixels = saved.mean_image.shape[-1]
        augmentation: Any = saved.augmentation or "none"
        if augmentation not in get_args(Augmentation):
            raise ValueError(
                f"{saved.path} was trained with data.augmentation={augmentation}, which is unknown "
                "here: update the project"
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
        raise AssertionError("this data set has only a test image")

    @override
    def load_test(self) -> ImageStore:
        return self.image

    def of(self, content: bytes) -> Tensor:
        try:
            self.image = _Single(view(content, self.pixels))
        except BadImage as error:
            raise ValueError(f"the image cannot be decoded: {error}") from error
        self.setup_evaluation("test", self.saved_mean)
        views, _ = next(iter(self.evaluation_loader("test")))  # (1, 1, 3, h, w)
        return self.to_input(views[:, 0])


class _Single:
    """An ImageStore (data.batches) that returns the same image for any row."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels
        self.labels = np.zeros(1, np.int64)

    def __len__(self) -> int:
        return 1

    def __getitem__(self, rows: np.ndarray) -> LabelledImages:
        return LabelledImages(np.stack([self.pixels for _ in rows]), self.labels[rows])


def _content(image: AnyImage) -> bytes:
    """Return the content of an image file, or make one from pixels."""
    if not isinstance(image, Path | str):
        return _as_file(_as_picture(image))
    path = Path(image).expanduser()
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise FileNotFoundError(f"{path} {what}: give an image file, such as a JPEG or PNG")
    return path.read_bytes()


def _as_picture(image: Image.Image | np.ndarray | Tensor) -> Image.Image:
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
            f"an image has shape {tuple(image.shape)}: give (height, width, 3) or "
            "(3, height, width), one image at a time"
        )
    return Image.fromarray(np.ascontiguousarray(pixels))


def _as_file(picture: Image.Image) -> bytes:
    """Encode a picture as a PNG file, without loss."""
    file = io.BytesIO()
    (picture if picture.mode in _OF_PNG else picture.convert("RGB")).save(file, "PNG")
    return file.getvalue()
