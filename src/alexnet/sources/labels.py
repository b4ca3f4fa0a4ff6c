"""Classes of images and their names, from the text files that come with data sets."""

import csv
import io
import re
import tarfile
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path, PurePosixPath

from alexnet.sources.photograph import SUFFIXES


class SourceError(ValueError):
    """The source of images is not usable; the message says what to do."""


def read_text(path: Path) -> str:
    """Read a text file in UTF-8. Raises SourceError for any other encoding."""
    return decode_text(path.read_bytes(), str(path))


def decode_text(content: bytes, location: str) -> str:
    """Decode UTF-8, with uniform line ends and without a byte order mark."""
    try:
        text = content.decode("utf-8-sig")
        if "\0" in text:
            raise ValueError("it contains zero bytes")
    except ValueError as error:
        is_utf16 = content[:2] in (b"\xff\xfe", b"\xfe\xff")
        reason = "it begins like UTF-16" if is_utf16 else error
        raise SourceError(
            f"{location} is not valid UTF-8 ({reason}): save it as UTF-8, or download it again"
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_names(path: Path) -> dict[str, str]:
    """Read lines of class id and name into a dictionary.

    Raises SourceError if a class has two names.
    """
    names: dict[str, str] = {}
    for line in read_text(path).split("\n"):
        fields = line.split(maxsplit=1)
        if len(fields) < 2:
            continue
        class_id, name = fields[0], fields[1].strip()
        if names.setdefault(class_id, name) != name:
            raise SourceError(
                f"{path} gives class {class_id} two names, {names[class_id]} and {name}: "
                "remove one of the lines"
            )
    return names


def printable(name: str) -> str:
    """Return a name with control characters and invalid Unicode as escapes."""
    return re.sub("[\x00-\x1f\x7f\ud800-\udfff]", _spelt_out, name)


def _spelt_out(found: re.Match[str]) -> str:
    code = ord(found[0])
    # 0xDC80 to 0xDCFF stand for bytes of a file name that are not UTF-8.
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else repr(found[0])[1:-1]


def same_but_for_spelling(name: str, others: Iterable[str]) -> str:
    """Explain which other name looks like this one; "" if none does."""
    for other in others:
        if _composed(other) == _composed(name):
            return (
                f"{other} is the same name in another form of Unicode (NFC, NFD): give both the "
                "same form"
            )
        if _composed(other).casefold() == _composed(name).casefold():
            return f"{other} differs in upper and lower case: give both the same case"
    return ""


def refuse_names_in_two_forms(class_ids: Iterable[str], where: str) -> None:
    """Raise SourceError if two classes have the same name in different forms of Unicode."""
    times = Counter(map(_composed, class_ids))
    if twice := [name for name, count in times.items() if count > 1]:
        raise SourceError(
            f"{where} has two classes {twice[0]}, in different forms of Unicode (NFC, NFD): "
            "move the images into one of them"
        )


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


class Table:
    """A table of file names and classes, such as val_annotations.txt or LOC_val_solution.csv.

    Other fields may follow in a line, and the class may be followed by the numbers of a bounding
    box. A name without a suffix matches an image with any suffix; so does a name with another
    suffix, if there is only one such image.

    Raises SourceError for files that are not such a table, and for contradictory lines.
    """

    def __init__(self, path: Path, names: Collection[str], classes: Collection[str]) -> None:
        self.path = path
        self._stems = Counter(_stem(name) for name in names)
        self._by_name: dict[str, str] = {}
        self._by_stem: dict[str, set[str]] = {}
        for number, fields in enumerate(self._rows()):
            if len(fields) < 2 or not fields[1]:
                continue
            name, class_id = PurePosixPath(fields[0]).name, _class_in(fields[1], classes)
            is_known = name in names or _stem(name) in self._stems
            if number == 0 and not is_known and class_id not in classes:
                continue  # a header
            if self._by_name.setdefault(name, class_id) != class_id:
                raise SourceError(
                    f"{path} contradicts itself: {name} has class {self._by_name[name]}, but on "
                    f"line {number + 1} class {class_id}: remove the wrong line"
                )
            self._by_stem.setdefault(_stem(name), set()).add(class_id)

    def class_of(self, name: str) -> str | None:
        """Return the class of an image; None if the table does not contain it."""
        if name in self._by_name:
            return self._by_name[name]
        stem = _stem(name)
        classes = self._by_stem.get(stem, set())
        if classes and (len(classes) > 1 or self._stems[stem] > 1):
            raise SourceError(
                f"{self.path} does not say which of the images called {stem} it means, so the "
                f"class of {name} is unknown: write the names with their suffixes"
            )
        return next(iter(classes), None)

    def _rows(self) -> Iterable[list[str]]:
        lines = read_text(self.path).split("\n")
        delimiter = next((each for each in "\t,;" if each in lines[0]), None)
        if delimiter is None:
            return [line.split(maxsplit=1) for line in lines]
        try:
            rows = list(csv.reader(lines, delimiter=delimiter))
        except csv.Error as error:
            raise SourceError(f"{self.path} is not a table ({error}): download it again") from error
        return [[field.strip() for field in row] for row in rows]


def _stem(name: str) -> str:
    """Remove the suffix of an image; other dots belong to the name."""
    path = PurePosixPath(name)
    return path.stem if path.suffix.lower() in SUFFIXES else name


def _class_in(field: str, classes: Collection[str]) -> str:
    """Return the class in a field, without the numbers of a box that follow in Kaggle's table."""
    field = field.strip()
    return field if field in classes else re.split(r"\s+[\d.]+\s+[\d.]+(?:\s|$)", field)[0]


class Devkit:
    """The development kit of ILSVRC, a folder or an archive: class ids, names, ground truth."""

    def __init__(self, path: Path, meta: bytes, truth: str) -> None:
        import scipy.io  # not for the processes that convert images

        self.path = path
        self._truth = truth.split()
        synsets = scipy.io.loadmat(io.BytesIO(meta), squeeze_me=True)["synsets"].ravel()
        number = next(name for name in synsets.dtype.names if re.fullmatch(r"ILSVRC\d+_ID", name))
        self._id_of = {int(each[number]): str(each["WNID"]) for each in synsets}
        self._words = {str(each["WNID"]): str(each["words"]) for each in synsets}

    @classmethod
    def find(cls, source: Path) -> "Devkit | None":
        """Find the first development kit in a folder; None if there is none."""
        places = [source, source / "data", *source.glob("*devkit*"), *source.glob("*devkit*/data")]
        for place in places:
            if (file := place / "meta.mat").is_file():
                truths = sorted(place.glob("*validation_ground_truth.txt"))
                return cls._make(place, file.read_bytes(), read_text(truths[0]) if truths else "")
        for packed in sorted(source.glob("*devkit*.t*gz")):
            try:
                with tarfile.open(packed, "r:gz") as tar:
                    meta, truth = b"", ""
                    for member in tar:
                        content = tar.extractfile(member) if member.isreg() else None
                        if content and member.name.endswith("/meta.mat"):
                            meta = content.read()
                        elif content and member.name.endswith("validation_ground_truth.txt"):
                            truth = decode_text(content.read(), f"{packed}/{member.name}")
            except (tarfile.ReadError, EOFError, OSError) as error:
                raise SourceError(
                    f"{packed} is not a complete devkit ({error}): download it again"
                ) from error
            if meta:
                return cls._make(packed, meta, truth)
        return None

    @classmethod
    def _make(cls, path: Path, meta: bytes, truth: str) -> "Devkit":
        try:
            return cls(path, meta, truth)
        except Exception as error:  # SciPy can raise anything for a file that is not Matlab's
            raise SourceError(f"meta.mat in {path} cannot be read: {error}") from error

    @property
    def names(self) -> dict[str, str]:
        """Synonyms of each class, by class id."""
        return dict(self._words)

    @property
    def has_truth(self) -> bool:
        """Whether it contains the classes of the validation images."""
        return bool(self._truth)

    def class_of(self, name: str) -> str | None:
        """Return the class of a validation image by its number; None if the ground truth lacks it.

        Raises SourceError for other names, whose digits are not numbers of validation images.
        """
        found = re.fullmatch(r"ILSVRC\d{4}_val_(\d{8})", PurePosixPath(name).stem)
        if not found:
            raise SourceError(
                f"{self.path} has the classes of ILSVRC2012_val_00000001.JPEG and so on, but not "
                f"of {name}: move it away, or add a table of names and classes"
            )
        number = int(found[1])
        if not 1 <= number <= len(self._truth):
            return None
        try:
            return self._id_of[int(self._truth[number - 1])]
        except (ValueError, KeyError) as error:
            raise SourceError(
                f"the ground truth in {self.path} does not match its meta.mat: {error}"
            ) from error
