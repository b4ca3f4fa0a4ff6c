"""Prepared ImageNet: its files, and how they are written and read.

    index.json             classes, counts, shards with checksums; exists if and only if finished
    statistics.npz         of the training part: mean image, colour components, and the exact sums
    train-00000.jpegs      the images of a shard one after the other, each 256 x 256 RGB
    train-00000.npz        offset, size, CRC-32, label and name of each image; the shard's sums
    val-..., test-...      the same for validation and test images
    bad_images.csv         images that could not be converted, with the reasons
    plan.json              the request, with which the same command continues after a kill

Every file is complete, because it is written under another name and then renamed.
"""

import contextlib
import hashlib
import json
import os
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from alexnet.files import PARTIAL, replacing
from alexnet.sources.photograph import PIXELS, BadImage, decode
from alexnet.sources.statistics import Sums

Part = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")

DEFAULT_ROOT = Path("~/.cache/alexnet-lab/imagenet")

FORMAT = 1
INDEX = "index.json"
STATISTICS = "statistics.npz"
PLAN = "plan.json"
_DAMAGE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)  # raised by NumPy


@dataclass(frozen=True, kw_only=True)
class Shard:
    """The entry of a shard in the index."""

    name: str
    images: int
    bytes: int
    sha256: str

    def files(self, folder: Path) -> tuple[Path, Path]:
        """Return the file of the images, and the file that describes them."""
        return folder / f"{self.name}.jpegs", folder / f"{self.name}.npz"


@dataclass(frozen=True, kw_only=True)
class Index:
    """The content of a folder of prepared images."""

    source: str
    class_ids: tuple[str, ...]
    class_names: tuple[str, ...]
    counts: dict[Part, list[int]]  # images of each class
    shards: dict[Part, list[Shard]]
    validation: str  # how it was chosen
    converted: dict[str, int]  # number of images by kind of conversion
    bad_images: int

    def images(self, part: Part) -> int:
        """Return the number of images of a part."""
        return sum(self.counts[part])

    def fingerprint(self) -> str:
        """Return the SHA-256 of the images of all parts and their classes."""
        what = {
            "classes": self.class_ids,
            "counts": self.counts,
            "shards": {part: [shard.sha256 for shard in self.shards[part]] for part in PARTS},
        }
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


@dataclass
class ShardWriter:
    """Writes a shard, which does not exist before `close` returns."""

    folder: Path
    name: str
    bad: list[tuple[str, str]] = field(default_factory=list)
    converted: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._images, self._about = Shard(name=self.name, images=0, bytes=0, sha256="").files(
            self.folder
        )
        self._whole = contextlib.ExitStack()
        self._file = self._whole.enter_context(replacing(self._images, "wb"))
        self._sha256 = hashlib.sha256()
        self._rows: list[tuple[int, int, int]] = []
        self._labels: list[int] = []
        self._names: list[bytes] = []

    def add(self, jpeg: bytes, label: int, name: str) -> None:
        """Append an image, its label and its name to the shard."""
        self._rows.append((self._file.tell(), len(jpeg), zlib.crc32(jpeg)))
        self._labels.append(label)
        self._names.append(os.fsencode(name))
        self._file.write(jpeg)
        self._sha256.update(jpeg)

    def close(self, sums: Sums | None) -> None:
        """Give the files their final names; `sums` are for the training part."""
        size = self._file.tell()
        self._whole.close()
        about = {
            "bytes": size,
            "sha256": self._sha256.hexdigest(),
            "converted": dict(sorted(self.converted.items())),
            "bad": self.bad,
        }
        arrays = {
            "rows": np.array(self._rows, np.int64).reshape(-1, 3),
            "labels": np.array(self._labels, np.int64),
            "names": np.array(self._names, bytes),
            "about": np.array(json.dumps(about)),
        }
        write_arrays(self._about, arrays | (asdict(sums) if sums else {}))


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A complete shard, and what its preparation recorded."""

    shard: Shard
    labels: np.ndarray
    names: np.ndarray  # file names, as bytes
    checks: np.ndarray  # size and CRC-32 of each image in one number
    converted: dict[str, int]
    bad: list[tuple[str, str]]


def read_finished(folder: Path, name: str) -> Finished | None:
    """Read a shard; None if it is not complete and has to be made again."""
    images, about = Shard(name=name, images=0, bytes=0, sha256="").files(folder)
    try:
        with np.load(about) as arrays:
            said = json.loads(str(arrays["about"]))
            labels, names, rows = arrays["labels"], arrays["names"], arrays["rows"]
        if images.stat().st_size != said["bytes"]:
            return None
    except _DAMAGE:
        return None
    shard = Shard(name=name, images=len(labels), bytes=said["bytes"], sha256=said["sha256"])
    bad = [(location, reason) for location, reason in said["bad"]]
    return Finished(
        shard=shard,
        labels=labels,
        names=names,
        checks=rows[:, 1] << 32 | rows[:, 2],
        converted=said["converted"],
        bad=bad,
    )


def write_index(folder: Path, index: Index) -> None:
    """Write the index, which is the last file: with it the folder is finished."""
    classes = zip(index.class_ids, index.class_names, strict=True)
    plain = {
        "format": FORMAT,
        "source": index.source,
        "images": {part: index.images(part) for part in PARTS},
        "validation": index.validation,
        "converted": index.converted,
        "bad_images": index.bad_images,
        "classes": [
            {"id": i, "name": n, **{part: index.counts[part][label] for part in PARTS}}
            for label, (i, n) in enumerate(classes)
        ],
        "shards": {part: [asdict(shard) for shard in index.shards[part]] for part in PARTS},
    }
    write_text(folder / INDEX, json.dumps(plain, indent=1) + "\n")


def read_index(folder: Path) -> Index | None:
    """Read the index of a folder; None if there is no finished preparation.

    Raises ValueError for an index that cannot be read.
    """
    path = folder / INDEX
    if not path.exists():
        return None
    try:
        plain = json.loads(path.read_text())
        if plain["format"] != FORMAT:
            raise ValueError(f"its format is {plain['format']}, this program reads {FORMAT}")
        classes = plain["classes"]
        return Index(
            source=plain["source"],
            class_ids=tuple(each["id"] for each in classes),
            class_names=tuple(each["name"] for each in classes),
            counts={part: [each[part] for each in classes] for part in PARTS},
            shards={part: [Shard(**each) for each in plain["shards"][part]] for part in PARTS},
            validation=plain["validation"],
            converted=plain["converted"],
            bad_images=plain["bad_images"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is damaged or from another program ({error}): {_remedy(path)}"
        ) from error


def check_sizes(folder: Path, index: Index) -> None:
    """Raise ValueError if a file of images is missing or has changed its size."""
    for part in PARTS:
        for shard in index.shards[part]:
            path, _ = shard.files(folder)
            size = path.stat().st_size if path.exists() else None
            if size != shard.bytes:
                found = "missing" if size is None else f"damaged: it has {size} bytes"
                raise ValueError(
                    f"{path} is {found}, the index says {shard.bytes}: {_remedy(path)}"
                )


class ShardImages:
    """The images of one part, decoded on demand and checked against their CRC-32.

    No file stays open, so the object can be passed to other processes.

    Raises ValueError that names the file, for a damaged file or image.
    """

    def __init__(self, folder: Path, shards: Sequence[Shard]) -> None:
        self.files: list[Path] = []
        rows, labels = [], []
        for number, shard in enumerate(shards):
            images, about = shard.files(folder)
            try:
                with np.load(about) as arrays:
                    rows.append(np.insert(arrays["rows"], 0, number, axis=1))
                    labels.append(arrays["labels"])
            except _DAMAGE as error:
                raise ValueError(f"{about} is damaged ({error}): {_remedy(about)}") from error
            self.files.append(images)
        self._rows = np.concatenate(rows)  # (N, 4): shard, first byte, bytes, CRC-32
        self.labels = np.concatenate(labels)

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Decode images: (N,) -> (N, 3, 256, 256), uint8, with the channels last in memory."""
        images = np.empty((len(rows), PIXELS, PIXELS, 3), np.uint8).transpose(0, 3, 1, 2)
        for image, (number, first, size, crc) in zip(
            images, self._rows[rows].tolist(), strict=True
        ):
            self._decode(self.files[number], first, size, crc, into=image)
        return images

    def _decode(self, path: Path, first: int, size: int, crc: int, into: np.ndarray) -> None:
        with open(path, "rb", buffering=0) as file:
            file.seek(first)
            jpeg = file.read(size)
        if zlib.crc32(jpeg) != crc:
            raise ValueError(
                f"{path} is damaged at bytes {first} to {first + size}: {_remedy(path)}"
            )
        try:
            decode(jpeg, into)
        except BadImage as error:
            raise ValueError(
                f"{path} is damaged at byte {first} ({error}): {_remedy(path)}"
            ) from error


def _remedy(path: Path) -> str:
    index = path.with_name(INDEX)
    both = "it" if path == index else f"it and {index}"
    return f"remove {both}, and run the command of src/prepare.py again"


def read_sums(folder: Path, shard: Shard | None = None) -> Sums:
    """Read the sums of a shard of the training part, or of the whole part."""
    path = shard.files(folder)[1] if shard else folder / STATISTICS
    try:
        with np.load(path) as arrays:
            return Sums(int(arrays["count"]), arrays["image"], arrays["products"])
    except _DAMAGE as error:
        raise ValueError(f"{path} is missing or damaged ({error}): {_remedy(path)}") from error


def write_statistics(folder: Path, sums: Sums) -> None:
    """Write the sums of the whole training part, and mean and components for other programs."""
    components = sums.color_components()
    arrays = {**asdict(sums), "mean_image": sums.mean_image, **asdict(components)}
    write_arrays(folder / STATISTICS, arrays)


def write_arrays(path: Path, arrays: dict[str, Any]) -> None:
    """Write arrays, completely or not at all."""
    with replacing(path, "wb") as file:
        np.savez(file, **arrays)


def write_text(path: Path, text: str) -> None:
    """Write a text, completely or not at all; file names in it need not be valid Unicode."""
    with replacing(path, "wb") as file:
        file.write(text.encode(errors="surrogateescape"))


@contextlib.contextmanager
def nothing_half_written(folder: Path) -> Iterator[None]:
    """Remove incomplete files when the block ends, for whatever reason."""
    try:
        yield
    finally:
        for path in folder.glob(f"*{PARTIAL}"):
            path.unlink()


def is_unfinished(folder: Path) -> bool:
    """Whether a preparation has begun in the folder and not ended."""
    return (folder / PLAN).exists() and not (folder / INDEX).exists()


def is_ours(path: Path) -> bool:
    """Whether a file has a name that a preparation writes."""
    name = path.name.removesuffix(PARTIAL)
    if name in (INDEX, STATISTICS, PLAN, "bad_images.csv", ".lock"):
        return True
    part, _, number = path.with_name(name).stem.partition("-")
    return part in PARTS and number.isdigit() and path.with_name(name).suffix in (".jpegs", ".npz")
