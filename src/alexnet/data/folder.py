import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from typing_extensions import Unpack, override

from alexnet.data.batches import ImageStore, LabelledImages
from alexnet.data.image_module import ImageModule, Settings
from alexnet.sources.photograph import BadImage, view
from alexnet.sources.raw_imagenet import SUFFIXES, RawImage, read_with

log = logging.getLogger(__name__)

NO_IMAGE = -1
"""Label of a file that is not an image or is damaged; all other files have label 0."""


class FolderOfImages(ImageModule):
    """The images in a folder and its subfolders, sorted by name, without labels.

    They are scaled to `pixels`, the size of the network's training images (section 2); images of
    that size are unchanged. They form the test part. A file that cannot be decoded becomes a black
    image. Hidden files, files without the suffix of an image, and files that are not regular are
    skipped, which is logged.

    Raises FileNotFoundError if there are no images.
    """

    def __init__(
        self,
        folder: Path,
        *,
        class_names: Sequence[str],
        pixels: int,
        **settings: Unpack[Settings],
    ) -> None:
        if not folder.is_dir():
            raise FileNotFoundError(f"images={folder} is not a folder")
        self.names = _names_of_images(folder)
        if not self.names:
            raise FileNotFoundError(f"images={folder} contains no images")
        super().__init__(class_names=tuple(class_names), pixels=pixels, **settings)
        self._images = _Photographs(folder, self.names, pixels)

    @override
    def load_train_and_val(self) -> tuple[ImageStore, ImageStore]:
        raise ValueError("images without labels cannot be used for training or validation")

    @override
    def load_test(self) -> ImageStore:
        return self._images

    def what_is_wrong(self, row: int) -> str:
        """Explain what is wrong with an image whose label is NO_IMAGE."""
        return f"{self._images.path(row)}: {self._images.read(row)}"


def _names_of_images(folder: Path) -> tuple[str, ...]:
    names, passed_over = [], dict[str, list[str]]()
    for path in sorted(folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            continue
        name = path.relative_to(folder)
        if any(part.startswith(".") for part in name.parts):
            kind = "hidden"
        elif path.suffix.lower() not in SUFFIXES:
            kind = "without the suffix of an image"
        elif not path.is_file():  # opening a pipe would block
            kind = "broken links or not regular files"
        else:
            names.append(str(name))
            continue
        passed_over.setdefault(kind, []).append(os.fsencode(name).decode(errors="replace"))
    if passed_over:
        kinds = (f"{len(each)} {kind}, such as {each[0]}" for kind, each in passed_over.items())
        log.info("skipped in %s: %s", folder, "; ".join(kinds))
    return tuple(names)


@dataclass(frozen=True)
class _Photographs:
    """An ImageStore that reads the images on demand."""

    folder: Path
    names: tuple[str, ...]
    pixels: int

    @property
    def labels(self) -> np.ndarray:
        return np.zeros(len(self), np.int64)  # before the files have been read

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, rows: np.ndarray) -> LabelledImages:
        images = np.zeros((len(rows), 3, self.pixels, self.pixels), np.uint8)
        labels = np.zeros(len(rows), np.int64)
        for i, row in enumerate(rows):
            image = self.read(row)
            if isinstance(image, BadImage):
                labels[i] = NO_IMAGE
            else:
                images[i] = image
        return LabelledImages(images, labels)

    def path(self, row: int) -> Path:
        return self.folder / self.names[row]

    def read(self, row: int) -> np.ndarray | BadImage:
        image = RawImage(str(self.folder), self.names[row])
        return read_with(partial(view, pixels=self.pixels), image)
