"""What lies in a folder of raw ImageNet: which images, of which classes, and where in which file.

Tar files are read in place. ILSVRC2012_img_train.tar is a tar of one tar for each class; an image
in it is a range of bytes of the outer file, and nothing is ever unpacked.
"""

import csv
import errno
import hashlib
import io
import logging
import os
import re
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple, TypeVar

from alexnet.sources.photograph import BadImage, Photograph, convert

log = logging.getLogger(__name__)

T = TypeVar("T")

# Other files that lie between images (boxes, thumbnails of a desktop) are counted and left alone.
# What is in a file its content says, whatever its name.
SUFFIXES = (
    ".jpeg", ".jpg", ".jpe", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm",
)  # fmt: skip

# Where the parts of Kaggle's archive lie in it, beside the folder itself.
_INSIDE = (".", "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC")

_EXPECTED = """\
expected train/CLASS/*.JPEG or ILSVRC20xx_img_train.tar, and for the test part val/CLASS/*.JPEG, or
flat val/*.JPEG or ILSVRC20xx_img_val.tar together with the devkit (ILSVRC20xx_devkit*.tar.gz) or a
table of names and classes (val_annotations.txt, LOC_val_solution.csv)"""


class SourceError(ValueError):
    """The folder does not hold what is needed; the text says what does."""


class RawImage(NamedTuple):
    """A file, or a range of bytes of a tar file."""

    container: str  # the file's folder, or the tar file
    name: str  # within it
    offset: int | None = None  # None: a file of its own
    size: int = 0

    @property
    def location(self) -> str:
        """For people: tar files look like folders."""
        return f"{self.container}/{self.name}"

    def num_bytes(self) -> int:
        """How many it has."""
        return os.stat(self.location).st_size if self.offset is None else self.size

    def read(self) -> bytes:
        """All of its bytes."""
        if self.offset is None:
            return Path(self.location).read_bytes()
        with open(self.container, "rb") as file:
            file.seek(self.offset)
            content = file.read(self.size)
        if len(content) < self.size:
            raise OSError(errno.EIO, "cut off since it was listed", self.container)
        return content


def read_photograph(image: RawImage) -> Photograph | BadImage:
    """Read and convert it, or say what is wrong; raises OSError as `read_with` does."""
    return read_with(convert, image)


def read_with(decoder: Callable[[bytes], T], image: RawImage) -> T | BadImage:
    """What the decoder makes of its bytes, or what is wrong with it.

    Raises OSError if its bytes are not to be had any more: a disk that went away says nothing of
    the image.
    """
    try:
        return decoder(image.read())
    except BadImage as error:
        return error
    except PermissionError as error:
        return BadImage(f"cannot be read: {error.strerror}")


@dataclass(frozen=True)
class RawPart:
    """The images of one part, sorted by class and name, and a label for each."""

    images: list[RawImage]
    labels: list[int]

    def take(self, rows: Iterable[int]) -> "RawPart":
        """These rows in this order."""
        rows = list(rows)
        return RawPart([self.images[i] for i in rows], [self.labels[i] for i in rows])


@dataclass(frozen=True, kw_only=True)
class Raw:
    """All that lies there. Labels count the class ids in sorted order."""

    class_ids: tuple[str, ...]  # WNIDs, or whatever the class folders are named
    class_names: tuple[str, ...]  # for people
    train: RawPart
    test: RawPart | None
    refused: list[tuple[str, str]] = field(default_factory=list)  # location, reason


def read_source(source: Path) -> Raw:
    """List the images; `test` is the official validation set, None if there is none.

    Raises SourceError if something is missing or contradicts itself.
    """
    check_is_folder(source)
    found = _Finder(source)
    by_class = found.training_images()
    if len(by_class) < 2:
        raise SourceError(f"{source} holds {len(by_class)} class, two are the least: {_EXPECTED}")
    if empty := [name for name, images in by_class.items() if not images]:
        raise SourceError(f"no images in {len(empty)} classes, such as {empty[0]}: remove them")
    class_ids = tuple(sorted(by_class))
    label_of = {name: label for label, name in enumerate(class_ids)}
    train = _part((label_of[name], each) for name, images in by_class.items() for each in images)
    tests = found.test_images(label_of)
    if found.ignored:
        examples = ", ".join(sorted(found.ignored)[:3])
        log.info(
            "left alone: %d files and folders that are no images of a class, such as %s",
            len(found.ignored), examples,
        )  # fmt: skip
    return Raw(
        class_ids=class_ids,
        class_names=found.class_names(class_ids),
        train=train,
        test=_part(tests) if tests is not None else None,
        refused=sorted(found.refused),
    )


def fingerprint(source: Path) -> str:
    """SHA-256 of the class, name and size of every image that read_source finds; none is opened.

    The same however they lie there. Raises SourceError as read_source does, without its looking
    for what is wrong.
    """
    check_is_folder(source)
    found = _Finder(source, say=log.debug)
    by_class = found.training_images()
    class_ids = sorted(by_class)
    tests = found.test_images({name: label for label, name in enumerate(class_ids)}) or []
    rows = [("train", name, each) for name, images in by_class.items() for each in images]
    rows += [("test", class_ids[label], each) for label, each in tests]
    sha256 = hashlib.sha256()
    for row in sorted(
        f"{part}/{name}/{PurePosixPath(image.name).name}\0{image.num_bytes()}"
        for part, name, image in rows
    ):
        sha256.update(os.fsencode(row) + b"\n")
    return sha256.hexdigest()


def check_is_folder(source: Path) -> None:
    """Raise SourceError if it is none."""
    if not source.is_dir():
        raise SourceError(f"{source} is not a folder: {_EXPECTED}")


def _part(labelled: Iterable[tuple[int, RawImage]]) -> RawPart:
    # By the last part of the name, so that the order is the same however the images lie there.
    rows = sorted(labelled, key=lambda row: (row[0], PurePosixPath(row[1].name).name, row[1]))
    return RawPart([image for _, image in rows], [label for label, _ in rows])


class _Finder:
    """Looks through the folder, and notes what it does not take."""

    def __init__(self, source: Path, say: Callable[..., None] = log.info) -> None:
        self.source = source
        self.say = say
        self.places = [source / inside for inside in _INSIDE if (source / inside).is_dir()]
        self.ignored: list[str] = []
        self.refused: list[tuple[str, str]] = []
        self._devkit = _Devkit.find(source)

    def training_images(self) -> dict[str, list[RawImage]]:
        """By class id."""
        if folder := self._folder("train"):
            self.say("training images from %s", folder)
            return self._class_folders(folder)
        if tar := self._tar("train"):
            self.say("training images from %s", tar)
            by_class: dict[str, list[RawImage]] = {}
            for class_id, image in self._in_tar(tar):
                if class_id:
                    by_class.setdefault(class_id, []).append(image)
                else:
                    self.refused.append((image.location, "in no class"))
            return by_class
        here = self.source.resolve()
        if here.name in ("train", "val") and (here.parent / "train").is_dir():
            raise SourceError(
                f"{self.source} is the {here.name} part alone: give the folder above it, "
                f"{here.parent}"
            )
        raise SourceError(f"no training images in {self.source}: {_EXPECTED}")

    def test_images(self, label_of: Mapping[str, int]) -> list[tuple[int, RawImage]] | None:
        """The official validation set with labels, None if there is none."""
        folder, tar = self._folder("val"), self._tar("val")
        if folder and any((folder / class_id).is_dir() for class_id in label_of):
            self.say("test images from %s", folder)
            by_class = self._class_folders(folder)
            if unknown := sorted(by_class.keys() - label_of.keys()):
                raise SourceError(
                    f"{len(unknown)} classes in {folder} have no training images, such as "
                    f"{unknown[0]}: remove them, or add the training images"
                )
            return [(label_of[name], each) for name, images in by_class.items() for each in images]
        if folder:
            images = self._images(folder)
        elif tar:
            images = [image for _, image in self._in_tar(tar)]
        else:
            return None
        self.say("test images from %s", folder or tar)
        if not images:
            raise SourceError(f"no images in {folder or tar}: {_EXPECTED}")
        return self._labelled(images, folder, label_of)

    def class_names(self, class_ids: Sequence[str]) -> tuple[str, ...]:
        """The WordNet names, as far as they are known; else the ids."""
        words = self._words(class_ids)
        if not words and _are_those_of_2012(class_ids):
            from torchvision.models._meta import _IMAGENET_CATEGORIES

            words = dict(zip(class_ids, _IMAGENET_CATEGORIES, strict=True))
            return tuple(words[class_id] for class_id in class_ids)
        # A synset is "crane, tall bird" or so: the first word says it, unless another class has it.
        firsts = [words.get(class_id, class_id).split(",")[0].strip() for class_id in class_ids]
        times = Counter(firsts)
        return tuple(
            first if times[first] == 1 else words.get(class_id, class_id)
            for class_id, first in zip(class_ids, firsts, strict=True)
        )

    def _words(self, class_ids: Sequence[str]) -> dict[str, str]:
        words = self._devkit.words() if self._devkit else {}
        for name in ("LOC_synset_mapping.txt", "synset_words.txt", "words.txt"):
            for place in self.places:
                if words.keys() >= set(class_ids):
                    return words
                if (file := place / name).is_file():
                    lines = file.read_text(encoding="utf-8").splitlines()
                    rows = (line.split(maxsplit=1) for line in lines)
                    words |= {row[0]: row[1].strip() for row in rows if len(row) == 2}
        return words if words.keys() & set(class_ids) else {}

    def _folder(self, name: str) -> Path | None:
        return next((place / name for place in self.places if (place / name).is_dir()), None)

    def _tar(self, part: str) -> Path | None:
        tars = sorted(self.source.glob(f"ILSVRC*_{part}.tar"))
        if len(tars) > 1:
            names = ", ".join(tar.name for tar in tars)
            raise SourceError(f"which one? {self.source} holds {names}: give each a folder")
        if not tars and (packed := sorted(self.source.glob(f"ILSVRC*_{part}.t*gz"))):
            raise SourceError(f"{packed[0]} is compressed, and cannot be read in place: gunzip it")
        return tars[0] if tars else None

    def _class_folders(self, folder: Path) -> dict[str, list[RawImage]]:
        """CLASS/*.JPEG, CLASS/images/*.JPEG (as in tiny-imagenet), or CLASS.tar."""
        by_class: dict[str, list[RawImage]] = {}
        for path in sorted(folder.iterdir()):
            if path.name.startswith("."):
                continue
            if path.is_dir():
                by_class.setdefault(path.name, []).extend(self._images(path))
            elif path.suffix == ".tar":
                images = [image for _, image in self._in_tar(path)]
                by_class.setdefault(path.stem, []).extend(images)
            else:
                self.ignored.append(str(path))
        return by_class

    def _images(self, folder: Path) -> list[RawImage]:
        images, container = [], str(folder)
        # A million files: os.scandir asks the file system nothing more about each.
        with os.scandir(folder) as entries:
            for entry in entries:
                if _is_folder(entry):
                    if entry.name == "images":
                        images += self._images(folder / entry.name)
                    else:
                        self.ignored.append(f"{entry.path}/")
                elif entry.name[0] == "." or not entry.name.lower().endswith(SUFFIXES):
                    self.ignored.append(entry.path)
                elif not entry.is_file():
                    self.refused.append((entry.path, "a link to nowhere, or no ordinary file"))
                else:
                    images.append(RawImage(container, entry.name))
        return images

    def _in_tar(self, tar: Path) -> Iterator[tuple[str, RawImage]]:
        """The images in it with the class that folder or inner tar names; none is unpacked."""
        with tar.open("rb") as file:
            for member, content in self._members(file, str(tar)):
                if PurePosixPath(member.name).suffix == ".tar":
                    inner = f"{tar}/{member.name}"
                    for image, _ in self._members(content, inner):
                        at = member.offset_data + image.offset_data
                        name = f"{member.name}/{_clean(image.name)}"
                        yield (
                            PurePosixPath(member.name).stem,
                            RawImage(str(tar), name, at, image.size),
                        )
                else:
                    name = _clean(member.name)
                    class_id = PurePosixPath(name).parent.name
                    yield class_id, RawImage(str(tar), name, member.offset_data, member.size)

    def _members(
        self, file: IO[bytes], location: str
    ) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
        """The images and tar files in a tar file. Everything that is suspicious is refused."""
        try:
            with tarfile.open(fileobj=file, mode="r:") as tar:
                for member in tar:
                    name = PurePosixPath(member.name)
                    if member.isdir():
                        continue
                    if name.is_absolute() or ".." in name.parts:
                        self.refused.append((f"{location}: {member.name}", "points outside"))
                    elif not member.isreg() or member.issparse():
                        self.refused.append((f"{location}/{member.name}", "no ordinary file"))
                    elif name.name[0] == "." or name.suffix.lower() not in (*SUFFIXES, ".tar"):
                        self.ignored.append(f"{location}/{member.name}")
                    else:
                        content = tar.extractfile(member)
                        assert content is not None
                        yield member, content
                # A damaged header ends the list without an error: there must be an empty one.
                file.seek(tar.offset)
                if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                    raise tarfile.ReadError(f"damaged or cut off at byte {tar.offset}")
        except tarfile.ReadError as error:
            raise SourceError(f"{location} is no whole tar file ({error}): get it again") from error

    def _labelled(
        self, images: list[RawImage], folder: Path | None, label_of: Mapping[str, int]
    ) -> list[tuple[int, RawImage]]:
        """Give flat images the classes that a table or the devkit says."""
        stems = [PurePosixPath(image.name).stem for image in images]
        if table := self._table(folder):
            truth = _read_table(table, set(stems), label_of)
            class_ids = [truth.get(stem) for stem in stems]
            said_by = table
        elif self._devkit and (truths := self._devkit.truths()):
            numbers = [re.search(r"\d+$", stem) for stem in stems]
            in_order = dict(enumerate(truths, start=1))
            class_ids = [in_order.get(int(found[0])) if found else None for found in numbers]
            said_by = self._devkit.path
        else:
            raise SourceError(
                f"nothing in {self.source} says which classes the images such as "
                f"{images[0].location} have: {_EXPECTED}"
            )
        labelled = []
        for image, class_id in zip(images, class_ids, strict=True):
            if class_id is None:
                raise SourceError(f"{said_by} does not say which class {image.location} has")
            if class_id not in label_of:
                raise SourceError(
                    f"{said_by} says that {image.location} has class {class_id}, of which there "
                    f"are no training images; classes are named like {next(iter(label_of))}"
                )
            labelled.append((label_of[class_id], image))
        return labelled

    def _table(self, folder: Path | None) -> Path | None:
        places = [*([folder] if folder else []), *self.places]
        for pattern in ("*val_annotations*", "LOC_val_solution.csv", "*val*.csv", "*val*.txt"):
            for place in places:
                for file in sorted(place.glob(pattern)):
                    if file.is_file() and "ground_truth" not in file.name:
                        return file
        return None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, for example
        return False


class _Devkit:
    """The development kit of ILSVRC, a folder or packed: class numbers, names, ground truth."""

    def __init__(self, path: Path, meta: bytes, truth: str) -> None:
        import scipy.io  # not for the processes that convert images

        self.path = path
        self._truth = truth
        synsets = scipy.io.loadmat(io.BytesIO(meta), squeeze_me=True)["synsets"].ravel()
        number = next(name for name in synsets.dtype.names if re.fullmatch(r"ILSVRC\d+_ID", name))
        self._id_of = {int(each[number]): str(each["WNID"]) for each in synsets}
        self._words = {str(each["WNID"]): str(each["words"]) for each in synsets}

    @classmethod
    def find(cls, source: Path) -> "_Devkit | None":
        places = [source, source / "data", *source.glob("*devkit*"), *source.glob("*devkit*/data")]
        for place in places:
            if (file := place / "meta.mat").is_file():
                truths = sorted(place.glob("*validation_ground_truth.txt"))
                return cls._make(place, file.read_bytes(), truths[0].read_text() if truths else "")
        for packed in sorted(source.glob("*devkit*.t*gz")):
            try:
                with tarfile.open(packed, "r:gz") as tar:
                    meta, truth = b"", ""
                    for member in tar:
                        content = tar.extractfile(member) if member.isreg() else None
                        if content and member.name.endswith("/meta.mat"):
                            meta = content.read()
                        elif content and member.name.endswith("validation_ground_truth.txt"):
                            truth = content.read().decode()
            except (tarfile.ReadError, EOFError, OSError) as error:
                raise SourceError(f"{packed} is no whole devkit ({error}): get it again") from error
            if meta:
                return cls._make(packed, meta, truth)
        return None

    @classmethod
    def _make(cls, path: Path, meta: bytes, truth: str) -> "_Devkit":
        try:
            return cls(path, meta, truth)
        except Exception as error:  # SciPy raises anything on what is no Matlab file
            raise SourceError(f"meta.mat in {path} cannot be read: {error}") from error

    def words(self) -> dict[str, str]:
        """Class id -> synonyms."""
        return dict(self._words)

    def truths(self) -> list[str]:
        """The class id of every validation image, in the order of their numbers."""
        try:
            return [self._id_of[int(line)] for line in self._truth.split()]
        except (ValueError, KeyError) as error:
            raise SourceError(
                f"the ground truth in {self.path} does not fit its meta.mat: {error}"
            ) from error


def _read_table(table: Path, stems: set[str], label_of: Mapping[str, int]) -> dict[str, str]:
    """File name without suffix -> class id: the first two fields of every line."""
    try:
        text = table.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{table} is no text: expected a line of file name and class for every image"
        ) from error
    first_line = text.partition("\n")[0]
    delimiter = next((each for each in ",\t" if each in first_line), None)
    lines = text.splitlines()
    rows = csv.reader(lines, delimiter=delimiter) if delimiter else map(str.split, lines)
    truth = {}
    for number, row in enumerate(rows):
        fields = [field.strip() for field in row]
        if len(fields) < 2 or not fields[1]:
            continue
        stem, class_id = PurePosixPath(fields[0]).stem, fields[1].split()[0]
        is_header = number == 0 and stem not in stems and class_id not in label_of
        if not is_header:
            truth[stem] = class_id
    return truth


def _clean(name: str) -> str:
    return name.removeprefix("./")


def _are_those_of_2012(class_ids: Sequence[str]) -> bool:
    ends = (class_ids[0], class_ids[-1])
    return len(class_ids) == 1000 and ends == ("n01440764", "n15075141")
