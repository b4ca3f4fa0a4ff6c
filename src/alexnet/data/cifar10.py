import gzip
import hashlib
import io
import logging
import os
import pickle
import shutil
import tarfile
import tempfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torchvision.datasets
from typing_extensions import Unpack, override

from alexnet.data.batches import LabelledImages
from alexnet.data.image_module import ImageModule, Settings, hold_out
from alexnet.sources.cifar10 import ARCHIVE, DEFAULT_ROOT, FOLDER, find_folder

log = logging.getLogger(__name__)

IMAGES_PER_BATCH = 10_000
NUM_VAL_IMAGES = 5_000

_PIXELS = 32
_TRAIN_MD5: dict[str, str] = dict(torchvision.datasets.CIFAR10.train_list)
_TEST_MD5: dict[str, str] = dict(torchvision.datasets.CIFAR10.test_list)
_MD5 = _TRAIN_MD5 | _TEST_MD5


class CIFAR10(ImageModule):
    """CIFAR-10, the data set of Figure 1 and of section 3.3: 32 x 32 RGB, 10 classes.

    Of the 50,000 images published for training, 45,000 are for training and 5,000 (500 of each
    class) for validation. The 10,000 published test images are not read before the test.

    `root` is the folder cifar-10-batches-py of the "python version", or a folder that contains it;
    None means ~/.cache/alexnet-lab. If that folder is missing, the archive cifar-10-python.tar.gz
    in the root is unpacked, or else downloaded. `verify` compares every file with its published MD5
    sum.

    Raises FileNotFoundError for a root that does not exist, for missing files, and if the download
    fails; ValueError for a file that differs from the published one.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        verify: bool = True,
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__(
            class_names=(
                *("airplane", "automobile", "bird", "cat", "deer"),
                *("dog", "frog", "horse", "ship", "truck"),
            ),
            pixels=_PIXELS,
            **settings,
        )
        self.root = root
        self.verify = verify

    @override
    def prepare_data(self) -> None:
        """Unpack or download the batches if the root has none."""
        root = Path(self.root or DEFAULT_ROOT).expanduser()
        if self.root is None:
            root.mkdir(parents=True, exist_ok=True)
        folder = find_folder(root)
        missing = [name for name in _MD5 if not (folder / name).exists()]
        if len(missing) == len(_MD5):
            if (archive := root / ARCHIVE).is_file():
                _unpack(archive, root / FOLDER)
            else:
                _download(root)
        elif missing:
            raise FileNotFoundError(
                f"CIFAR-10 in {folder} is incomplete, it lacks {', '.join(missing)}: "
                "add the missing files, or remove the folder to download all of them"
            )

    @override
    def load_train_and_val(self) -> tuple[LabelledImages, LabelledImages]:
        data = self._read(_TRAIN_MD5)
        train, val = hold_out(data.labels, NUM_VAL_IMAGES)
        return data[train], data[val]

    @override
    def load_test(self) -> LabelledImages:
        return self._read(_TEST_MD5)

    def _read(self, md5_of: dict[str, str]) -> LabelledImages:
        folder = find_folder(Path(self.root or DEFAULT_ROOT).expanduser())
        images = np.empty((len(md5_of), IMAGES_PER_BATCH, 3 * _PIXELS**2), np.uint8)
        labels = np.empty((len(md5_of), IMAGES_PER_BATCH), np.int64)
        for i, (name, md5) in enumerate(md5_of.items()):
            images[i], labels[i] = _read_batch(folder / name, md5 if self.verify else None)
        return LabelledImages(
            images.reshape(-1, 3, _PIXELS, _PIXELS),
            labels.reshape(-1),
        )


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack only the batches, whatever else is in the archive."""
    log.info("unpacking %s", archive)
    try:
        # Into a temporary folder, which is then moved, as for a download.
        with tempfile.TemporaryDirectory(prefix=".unpack-", dir=folder.parent) as apart:
            unpacked = Path(apart) / FOLDER
            unpacked.mkdir()
            with tarfile.open(archive) as tar:
                for name in _MD5:
                    file = tar.extractfile(f"{FOLDER}/{name}")
                    if file is None:
                        raise KeyError(f"{name} is not a file")
                    with (unpacked / name).open("wb") as copy:
                        shutil.copyfileobj(file, copy)
            if not (folder / "test_batch").exists():
                os.replace(unpacked, folder)
    except (tarfile.TarError, EOFError, KeyError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(
            f"{archive} is damaged, or not the archive of CIFAR-10 for Python ({error}): remove it "
            "to download it again, or replace it"
        ) from error
    except OSError as error:  # no space, or the folder is read-only
        raise FileNotFoundError(
            f"{archive} cannot be unpacked into {folder} ({error}): unpack it elsewhere, and set "
            "data.root to that folder"
        ) from error


def _download(root: Path) -> None:
    log.info("downloading CIFAR-10 (170 MB) into %s", root)
    try:
        # Into a temporary folder, which is then moved, so that an interrupted download, or one by
        # another run at the same time, is never mistaken for the data set.
        with tempfile.TemporaryDirectory(prefix=".download-", dir=root) as apart:
            torchvision.datasets.CIFAR10(apart, download=True)
            folder = root / FOLDER
            if not (folder / "test_batch").exists():
                os.replace(Path(apart) / FOLDER, folder)
    except (OSError, RuntimeError) as error:  # no network, no space; wrong checksum
        raise FileNotFoundError(
            f"no CIFAR-10 batches in {root}, and the download failed ({error}). Put the files of "
            f"the python version, {', '.join(_MD5)}, into {root / FOLDER}, or set "
            "data.root=FOLDER to where they are; data.verify=false accepts modified copies. "
            "data=mnist5k needs no download"
        ) from None


def _read_batch(path: Path, md5: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Read images (10000, 3072) uint8, a red, a green and a blue plane, and labels (10000,)."""
    if not path.exists():
        raise FileNotFoundError(
            f"no {path}: set data.root to the folder that holds {FOLDER} with {', '.join(_MD5)}"
        )
    content = path.read_bytes()
    if md5 is not None and (found := hashlib.md5(content).hexdigest()) != md5:
        raise ValueError(
            f"{path} is not the published file: its MD5 sum should be {md5}, but is {found}. "
            "Replace it, or set data.verify=false to accept another copy"
        )
    try:
        batch = _ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()
        # Keys are bytes in copies that were read with encoding="bytes" and saved again.
        batch = {key.decode() if isinstance(key, bytes) else key: batch[key] for key in batch}
        rows, labels = np.asarray(batch["data"]), np.asarray(batch["labels"])
    except Exception as error:  # a damaged pickle can raise anything
        raise ValueError(f"{path} is damaged or not a CIFAR-10 batch: {error}") from error
    if rows.dtype != np.uint8 or rows.shape != (IMAGES_PER_BATCH, 3 * _PIXELS**2):
        raise ValueError(
            f"{path} is incomplete or not a CIFAR-10 batch: its data should be {IMAGES_PER_BATCH} "
            f"rows of {3 * _PIXELS**2} uint8, but is {rows.shape} of {rows.dtype}"
        )
    is_valid = labels.shape == (IMAGES_PER_BATCH,) and np.isin(labels, range(10)).all()
    if not is_valid:
        raise ValueError(f"{path} is damaged: it should have {IMAGES_PER_BATCH} labels in 0..9")
    return rows, labels


class _ArrayUnpickler(pickle.Unpickler):
    """Reads arrays and plain values, and refuses all else, because a pickle can run any program.

    The published files name numpy.core, and files written with NumPy 2 name numpy._core.
    """

    @override
    def find_class(self, module: str, name: str) -> Any:
        allowed = {
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy.core.multiarray", "scalar"),
            ("numpy.core.numeric", "_frombuffer"),
            ("_codecs", "encode"),
        }
        if (module.replace("numpy._core", "numpy.core"), name) not in allowed:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}, only arrays are accepted")
        return super().find_class(module, name)
