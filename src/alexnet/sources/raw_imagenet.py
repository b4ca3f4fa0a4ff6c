"""Find the images in a folder of raw ImageNet, their classes, and their places in the files.

Tar files are read in place. ILSVRC2012_img_train.tar is a tar of one tar for each class; an image
in it is a range of bytes of the outer file, and nothing is ever unpacked.
"""

import errno
import hashlib
import logging
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypeVar

from alexnet.sources.labels import (
    Devkit,
    SourceError,
    Table,
    printable,
    read_names,
    refuse_names_in_two_forms,
    same_but_for_spelling,
)
from alexnet.sources.photograph import SUFFIXES, BadImage, Photograph, convert
from alexnet.sources.tars import Contents, is_tar, list_tar

log = logging.getLogger(__name__)

T = TypeVar("T")

# Folders that may contain the parts: the source itself, and those in Kaggle's archive.
_INSIDE = (".", "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC")

# Names of the parts in other programs.
_OTHER_PARTS = (
    "train", "training", "val", "valid", "validation", "dev", "test", "testing", "eval",
)  # fmt: skip

_EXPECTED = """\
expected train/CLASS/*.JPEG or ILSVRC20xx_img_train.tar, and for the test part val/CLASS/*.JPEG, or
flat val/*.JPEG or ILSVRC20xx_img_val.tar together with the devkit (ILSVRC20xx_devkit*.tar.gz) or a
table of names and classes (val_annotations.txt, LOC_val_solution.csv)"""


class RawImage(NamedTuple):
    """An image file, or a range of bytes in a tar file."""

    container: str  # the file's folder, or the tar file
    name: str  # name in the container
    offset: int | None = None  # None: a separate file
    size: int = 0

    @property
    def location(self) -> str:
        """Path to print: a tar file looks like a folder."""
        return f"{self.container}/{self.name}"

    def num_bytes(self) -> int:
        """Return the number of its bytes."""
        return os.stat(self.location).st_size if self.offset is None else self.size

    def read(self) -> bytes:
        """Read all of its bytes. Raises OSError if the tar file has become shorter."""
        if self.offset is None:
            return Path(self.location).read_bytes()
        with open(self.container, "rb") as file:
            file.seek(self.offset)
            content = file.read(self.size)
        if len(content) < self.size:
            raise OSError(errno.EIO, "truncated since it was listed", self.container)
        return content


def read_photograph(image: RawImage) -> Photograph | BadImage:
    """Read and convert an image, or return what is wrong; raises OSError as `read_with` does."""
    return read_with(convert, image)


def read_with(decoder: Callable[[bytes], T], image: RawImage) -> T | BadImage:
    """Decode the bytes of an image, or return what is wrong with it.

    Raises OSError if the bytes can no longer be read, because a missing disk says nothing about the
    image.
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
        """Return the part with these rows, in this order."""
        rows = list(rows)
        return RawPart([self.images[i] for i in rows], [self.labels[i] for i in rows])


@dataclass(frozen=True, kw_only=True)
class Raw:
    """All images of a source. A label is the index in the sorted class ids."""

    class_ids: tuple[str, ...]  # WordNet ids, or the names of the class folders
    class_names: tuple[str, ...]  # readable names
    train: RawPart
    test: RawPart | None
    refused: list[tuple[str, str]] = field(default_factory=list)  # location, reason
    not_read: str = ""  # a text about folders that may have been meant as a part


def read_source(source: Path) -> Raw:
    """List the images; `test` is the official validation set, None if there is none.

    Raises SourceError if something is missing or contradicts itself.
    """
    check_is_folder(source)
    found = _Finder(source)
    by_class = found.training_images()
    if len(by_class) < 2:
        example = "; {} is refused: {}".format(*found.refused[0]) if found.refused else ""
        raise SourceError(
            f"{source} contains {len(by_class)} class, but needs two{example}: {_EXPECTED}"
        )
    if empty := [name for name, images in by_class.items() if not images]:
        why = found.why_empty(empty[0])
        raise SourceError(
            f"no images in {len(empty)} classes, such as {empty[0]}{why}: add images, or remove "
            "these classes"
        )
    class_ids = tuple(sorted(by_class))
    label_of = {name: label for label, name in enumerate(class_ids)}
    train = _part((label_of[name], each) for name, images in by_class.items() for each in images)
    tests = found.test_images(label_of)
    found.tell_what_is_not_read()
    return Raw(
        class_ids=class_ids,
        class_names=found.class_names(class_ids),
        train=train,
        test=_part(tests) if tests is not None else None,
        refused=sorted(found.refused),
        not_read=found.other_parts(),
    )


def same_images(some: RawPart, others: RawPart) -> list[tuple[RawImage, RawImage]]:
    """Return pairs of identical images, one of each part. Only files of equal size are read."""
    by_size: dict[int, list[RawImage]] = defaultdict(list)
    for image in some.images:
        by_size[image.num_bytes()].append(image)
    pairs = []
    digests: dict[RawImage, bytes] = {}
    for other in others.images:
        for image in by_size.get(other.num_bytes(), ()):
            for each in (image, other):
                if each not in digests:
                    digests[each] = _digest(each)
            if digests[image] == digests[other]:
                pairs.append((image, other))
                break
    return pairs


def _digest(image: RawImage) -> bytes:
    try:
        return hashlib.sha256(image.read()).digest()
    except OSError:  # reported when the image is converted; here it differs from all others
        return os.fsencode(image.location)


def fingerprint(source: Path) -> str:
    """Return the SHA-256 of the class, name and size of every image that read_source finds.

    No image is opened, and the arrangement in folders or tar files does not matter. Raises
    SourceError if the images cannot be found, but checks less than read_source.
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
    """Raise SourceError if the source is not a folder."""
    if source.is_file() and is_tar(source.name):
        raise SourceError(f"{source} is a file: give the folder that contains it, {source.parent}")
    if not source.is_dir():
        raise SourceError(f"{source} is not a folder: {_EXPECTED}")


def _part(labelled: Iterable[tuple[int, RawImage]]) -> RawPart:
    # By the last part of the name, so that the order does not depend on folders or tar files.
    rows = sorted(labelled, key=lambda row: (row[0], PurePosixPath(row[1].name).name, row[1]))
    return RawPart([image for _, image in rows], [label for label, _ in rows])


class _Finder:
    """Searches the folder, and records what it does not use."""

    def __init__(self, source: Path, say: Callable[..., None] = log.info) -> None:
        self.source = source
        self.say = say
        self.places = [source / inside for inside in _INSIDE if (source / inside).is_dir()]
        self.ignored: list[str] = []
        self.refused: list[tuple[str, str]] = []
        self.replaced: list[str] = []
        self.deeper: list[Path] = []  # folders inside class folders
        self._devkit = Devkit.find(source)

    def training_images(self) -> dict[str, list[RawImage]]:
        """Return the training images by class id."""
        folder, tar = self._folder("train"), self._tar("train")
        if folder:
            self.say("training images from %s%s", folder, _instead_of(tar))
            by_class = self._class_folders(folder)
        elif tar:
            self.say("training images from %s", tar)
            by_class = self._classes_in_tar(tar)
        else:
            here = self.source.resolve()
            if here.name in ("train", "val") and (here.parent / "train").is_dir():
                raise SourceError(
                    f"{self.source} is only the {here.name} part: give the folder above it, "
                    f"{here.parent}"
                )
            raise SourceError(
                f"no training images in {self.source}{self.other_parts()}: {_EXPECTED}"
            )
        refuse_names_in_two_forms(by_class, str(folder or tar))
        return by_class

    def test_images(self, label_of: Mapping[str, int]) -> list[tuple[int, RawImage]] | None:
        """Return the official validation set with labels; None if there is none."""
        folder, tar = self._folder("val"), self._tar("val")
        if not folder and not tar:
            return None
        self.say("test images from %s%s", folder or tar, _instead_of(tar if folder else None))
        flat = self._flat_images(folder, label_of) if folder else self._images_in_tar(tar)
        if flat is None:
            assert folder is not None
            by_class = self._class_folders(folder)
            if unknown := sorted(by_class.keys() - label_of.keys()):
                how = same_but_for_spelling(unknown[0], label_of)
                how = how and f" (in the training part {how})"
                raise SourceError(
                    f"{len(unknown)} classes in {folder} have no training images, such as "
                    f"{unknown[0]}{how}: remove them, or add the training images"
                )
            return [(label_of[name], each) for name, images in by_class.items() for each in images]
        if not flat:
            raise SourceError(f"no images in {folder or tar}: {_EXPECTED}")
        return self._labelled(flat, folder, label_of)

    def class_names(self, class_ids: Sequence[str]) -> tuple[str, ...]:
        """Return printable names of the classes: WordNet's where known, else the ids."""
        words = self._words(class_ids)
        if not words and _are_those_of_2012(class_ids):
            from torchvision.models._meta import _IMAGENET_CATEGORIES

            words = dict(zip(class_ids, _IMAGENET_CATEGORIES, strict=True))
            return tuple(words[class_id] for class_id in class_ids)
        whole = [printable(words.get(class_id, class_id)) for class_id in class_ids]
        # A synset is a list such as "crane, tall bird": use its first name if that is unique.
        firsts = [name.split(",")[0].strip() for name in whole]
        times = Counter(firsts)
        return tuple(
            first if times[first] == 1 else name for first, name in zip(firsts, whole, strict=True)
        )

    def why_empty(self, class_id: str) -> str:
        """Explain why a class has no images, if something of it was found; "" otherwise."""
        if deeper := [path for path in self.deeper if path.parent.name == class_id]:
            return f" (its images are in a subfolder, {deeper[0]}: move them up)"
        of_the_class = re.compile(rf"/{re.escape(class_id)}(\.tar)?[/:]", re.IGNORECASE)
        for location, reason in self.refused:
            if of_the_class.search(location):
                return f" ({location} is refused: {reason})"
        return ""

    def tell_what_is_not_read(self) -> None:
        """Log what was found but is not used."""
        if self.ignored:
            examples = ", ".join(map(printable, sorted(self.ignored)[:3]))
            log.info(
                "ignored: %d files and folders that are not images of a class, such as %s",
                len(self.ignored), examples,
            )  # fmt: skip
        if images := sum(map(_images_below, self.deeper)):
            log.warning(
                "%d images in folders below CLASS/ other than CLASS/images/, such as %s, are not "
                "read: move them up if they belong to the class",
                images, printable(str(self.deeper[0])),
            )  # fmt: skip
        if self.replaced:
            log.warning(
                "%d names occur twice in a tar file, such as %s: the last one is used, as tar does",
                len(self.replaced), printable(self.replaced[0]),
            )  # fmt: skip
        if others := self.other_parts():
            log.warning("not read%s", others)

    def other_parts(self) -> str:
        """List folders with the name of a part in other programs, which are not read."""
        found = sorted(
            path
            for place in self.places
            for path in place.iterdir()
            if path.name.lower() in _OTHER_PARTS and path.name not in ("train", "val")
            if path.is_dir()
        )
        if not found:
            return ""
        names = ", ".join(map(str, found))
        return f": {names} (only train and val are read: rename a folder that is meant as one)"

    def _words(self, class_ids: Sequence[str]) -> dict[str, str]:
        words = self._devkit.names if self._devkit else {}
        for name in ("LOC_synset_mapping.txt", "synset_words.txt", "words.txt"):
            for place in self.places:
                if words.keys() >= set(class_ids):
                    return words
                if (file := place / name).is_file():
                    words |= read_names(file)
        return words if words.keys() & set(class_ids) else {}

    def _folder(self, name: str) -> Path | None:
        found = [place / name for place in self.places if (place / name).is_dir()]
        if len(found) > 1:
            raise SourceError(f"there are two, {found[0]} and {found[1]}: move one away")
        return found[0] if found else None

    def _tar(self, part: str) -> Path | None:
        # The entries are listed because names may have upper or lower case.
        pattern = re.compile(rf"ilsvrc.*_{part}\.(?P<suffix>.+)")
        found = [
            (match["suffix"] != "tar", path)
            for path in self.source.iterdir()
            if (match := pattern.fullmatch(path.name.lower())) and is_tar(path.name)
        ]
        tars = sorted(path for is_compressed, path in found if not is_compressed)
        if len(tars) > 1:
            names = ", ".join(tar.name for tar in tars)
            raise SourceError(f"{self.source} contains several, {names}: give each its own folder")
        # A compressed one is refused when it is opened.
        return next(iter(tars or sorted(path for _, path in found)), None)

    def _class_folders(self, folder: Path) -> dict[str, list[RawImage]]:
        """Read CLASS/*.JPEG, CLASS/images/*.JPEG (as in tiny-imagenet), or CLASS.tar."""
        by_class: dict[str, list[RawImage]] = {}
        for path in sorted(folder.iterdir()):
            if path.name.startswith("."):
                continue
            if path.is_dir():
                class_id, images = path.name, self._images(path)
            elif is_tar(path.name):
                class_id, images = path.stem, self._class_tar(path)
            else:
                self.ignored.append(str(path))
                continue
            if class_id in by_class:
                raise SourceError(
                    f"{folder} contains class {class_id} both as a folder and as a tar file: "
                    f"move one of them away, such as {path}"
                )
            by_class[class_id] = images
        return by_class

    def _flat_images(self, folder: Path, label_of: Mapping[str, int]) -> list[RawImage] | None:
        """Return the images of a flat folder; None if it contains folders or tars of classes."""
        classes = {
            path.stem if is_tar(path.name) else path.name
            for path in folder.iterdir()
            if (is_tar(path.name) or path.is_dir())
            and not path.name.startswith(".")
            and path.name != "images"
        }
        if classes & label_of.keys():
            return None
        before = len(self.ignored), len(self.deeper)
        images = self._images(folder)
        if not images and classes:
            del self.ignored[before[0] :], self.deeper[before[1] :]
            return None
        return images

    def _images(self, folder: Path) -> list[RawImage]:
        images, container = [], str(folder)
        # There may be a million files: os.scandir needs no further call for each.
        with os.scandir(folder) as entries:
            for entry in entries:
                if _is_folder(entry):
                    if entry.name == "images":
                        images += self._images(folder / entry.name)
                    else:
                        self.deeper.append(folder / entry.name)
                        self.ignored.append(f"{entry.path}/")
                elif entry.name[0] == "." or not entry.name.lower().endswith(SUFFIXES):
                    self.ignored.append(entry.path)
                elif not entry.is_file():
                    self.refused.append((entry.path, "a broken link, or not a regular file"))
                else:
                    images.append(RawImage(container, entry.name))
        return images

    def _contents(self, tar: Path) -> Contents:
        contents = list_tar(tar, SUFFIXES)
        self.refused += contents.refused
        self.ignored += contents.ignored
        self.replaced += contents.replaced
        return contents

    def _images_in_tar(self, tar: Path | None) -> list[RawImage]:
        assert tar is not None
        return [RawImage(str(tar), *member) for member in self._contents(tar).images]

    def _class_tar(self, tar: Path) -> list[RawImage]:
        """Return the images of a tar file that is one class."""
        if re.match(r"ILSVRC\d+_", tar.name, re.IGNORECASE):
            raise SourceError(
                f"{tar} is not a class: move it up, into {self.source}, or away if it is unpacked"
            )
        images = []
        for member in self._contents(tar).images:
            if member.place not in ("", tar.stem):
                raise SourceError(
                    f"{tar} is not the tar file of one class, it contains {member.place}/: unpack "
                    "it into folders of classes, or move it away if it is unpacked"
                )
            images.append(RawImage(str(tar), *member))
        return images

    def _classes_in_tar(self, tar: Path) -> dict[str, list[RawImage]]:
        """Return the training images by class: the folders or tar files in the tar file."""
        place_of: dict[str, str] = {}
        by_class: dict[str, list[RawImage]] = {}
        for member in self._contents(tar).images:
            image = RawImage(str(tar), *member)
            path = PurePosixPath(member.place)
            class_id = path.stem if path.suffix.lower() == ".tar" else path.name
            if not class_id:
                self.refused.append((image.location, "in no class"))
                continue
            if (place := place_of.setdefault(class_id, member.place)) != member.place:
                raise SourceError(
                    f"{tar} contains class {class_id} twice, as {place} and as {member.place}: "
                    "make it again with each class once"
                )
            by_class.setdefault(class_id, []).append(image)
        places = set(place_of.values())
        for place in places:
            if above := next((str(a) for a in PurePosixPath(place).parents if str(a) in places), 0):
                raise SourceError(
                    f"{tar} contains images in {above}/ and in {place}/, which is ambiguous: make "
                    "it again with the images of a class in one folder"
                )
        return by_class

    def _labelled(
        self, images: list[RawImage], folder: Path | None, label_of: Mapping[str, int]
    ) -> list[tuple[int, RawImage]]:
        """Label the images of a flat folder by a table or the development kit."""
        names = [PurePosixPath(image.name).name for image in images]
        labels: Table | Devkit
        if path := self._table(folder):
            labels = Table(path, set(names), label_of.keys())
        elif self._devkit and self._devkit.has_truth:
            labels = self._devkit
        else:
            raise SourceError(
                f"nothing in {self.source} says which class an image such as "
                f"{images[0].location} has: {_EXPECTED}"
            )
        self.say("classes of the test images from %s", labels.path)
        labelled = []
        for image, name in zip(images, names, strict=True):
            class_id = labels.class_of(name)
            if class_id is None:
                raise SourceError(f"{labels.path} does not say which class {image.location} has")
            if class_id not in label_of:
                how = same_but_for_spelling(class_id, label_of)
                raise SourceError(
                    f"{labels.path} says that {image.location} has class {class_id}, which has no "
                    f"training images; " + (how or f"classes are named like {next(iter(label_of))}")
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


def _instead_of(tar: Path | None) -> str:
    return f" (and not from {tar})" if tar else ""


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # for example a link to itself
        return False


def _images_below(folder: Path) -> int:
    return sum(name.lower().endswith(SUFFIXES) for _, _, names in os.walk(folder) for name in names)


def _are_those_of_2012(class_ids: Sequence[str]) -> bool:
    ends = (class_ids[0], class_ids[-1])
    return len(class_ids) == 1000 and ends == ("n01440764", "n15075141")
