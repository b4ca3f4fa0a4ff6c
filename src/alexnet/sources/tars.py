"""List the images in a tar file, and in tar files inside it, which are read in place."""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from alexnet.sources.labels import SourceError

_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"PK\x03\x04": "zip",
}
_COMPRESSED_SUFFIXES = (
    ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz", ".tar.zst", ".tzst", ".zip",
)  # fmt: skip
_LABELS_OF_SHARDS = (".cls", ".json", ".txt")  # WebDataset writes these beside each image


class Member(NamedTuple):
    """An image: a range of bytes in the outermost tar file."""

    name: str  # n01440764.tar/n01440764_3.JPEG, or n01440764/n01440764_3.JPEG
    offset: int
    size: int

    @property
    def place(self) -> str:
        """The inner tar file or folder that contains the image; "" if there is none."""
        folder = PurePosixPath(self.name).parent
        if folder.name == "images":  # as in tiny-imagenet
            folder = folder.parent
        return "" if folder == PurePosixPath() else str(folder)


@dataclass
class Contents:
    """The content of a tar file."""

    images: list[Member] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)  # location, reason
    ignored: list[str] = field(default_factory=list)  # locations of files that are not images
    replaced: list[str] = field(default_factory=list)  # locations of files that occur again later


def is_tar(name: str) -> bool:
    """Whether a file has the name of a tar file, compressed or not."""
    return name.lower().endswith((".tar", *_COMPRESSED_SUFFIXES))


def list_tar(tar: Path, suffixes: tuple[str, ...]) -> Contents:
    """List the images in a tar file; of members with the same name the last counts, as for tar.

    Raises SourceError for a damaged or compressed tar file, and for a shard of WebDataset.
    """
    contents = Contents()
    with tar.open("rb") as file:
        contents.images = _images(file, str(tar), suffixes, contents)
    _refuse_shards(tar, contents)
    return contents


def _images(
    file: IO[bytes], location: str, suffixes: tuple[str, ...], contents: Contents, start: int = 0
) -> list[Member]:
    """List the images of a tar file that begins at `start` in the outermost one."""
    by_name: dict[str, list[Member]] = {}
    for name, images in _members(file, location, suffixes, contents, start):
        if by_name.pop(name, None) is not None:
            contents.replaced.append(f"{location}/{name}")
        by_name[name] = images
    return [image for images in by_name.values() for image in images]


def _members(
    file: IO[bytes], location: str, suffixes: tuple[str, ...], contents: Contents, start: int
) -> Iterator[tuple[str, list[Member]]]:
    """Yield the name of every member and its images: one, those of an inner tar file, or none.

    Suspicious members are refused.
    """
    _refuse_compressed(file, location)
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                if member.isdir():
                    continue
                path = PurePosixPath(member.name)
                name = str(path)  # without a leading "./"
                images: list[Member] = []
                if path.is_absolute():
                    contents.refused.append((f"{location}: {name}", "an absolute name"))
                elif ".." in path.parts:
                    contents.refused.append((f"{location}: {name}", "points outside"))
                elif not member.isreg() or member.issparse():
                    contents.refused.append((f"{location}/{name}", "not a regular file"))
                elif path.name.startswith("."):
                    contents.ignored.append(f"{location}/{name}")
                elif path.name.lower().endswith(suffixes):
                    images = [Member(name, start + member.offset_data, member.size)]
                elif is_tar(path.name):
                    inner = tar.extractfile(member)
                    assert inner is not None
                    at = start + member.offset_data
                    images = [
                        image._replace(name=f"{name}/{image.name}")
                        for image in _images(inner, f"{location}/{name}", suffixes, contents, at)
                    ]
                else:
                    contents.ignored.append(f"{location}/{name}")
                yield name, images
            # A damaged header ends the list without an error, so check for the empty header.
            file.seek(tar.offset)
            if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError(f"damaged or truncated at byte {tar.offset}")
            _refuse_more(file, location)
    except (tarfile.TarError, ValueError) as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(
            f"{location} is not a complete tar file ({error}): download it again"
        ) from error


def _refuse_more(file: IO[bytes], location: str) -> None:
    """Refuse data after the end of a tar file, which is zeros; no program would read them."""
    while rest := file.read(2**20):
        if rest.strip(b"\0"):
            raise SourceError(
                f"{location} has data after its end, perhaps because tar files were joined with "
                "cat: join them with tar --concatenate, or keep them apart"
            )


def _refuse_compressed(file: IO[bytes], location: str) -> None:
    """Refuse a compressed file, by its content."""
    head = file.read(8)
    file.seek(0)
    for magic, kind in _COMPRESSED.items():
        if head.startswith(magic):
            raise SourceError(
                f"{location} is compressed ({kind}) and cannot be read in place: decompress it"
            )


def _refuse_shards(tar: Path, contents: Contents) -> None:
    stems = {PurePosixPath(image.name).stem for image in contents.images}
    for location in contents.ignored:
        path = PurePosixPath(location)
        if path.suffix.lower() in _LABELS_OF_SHARDS and path.stem in stems:
            raise SourceError(
                f"{tar} contains {path.name} beside the image of that name, as shards of "
                "WebDataset do, which mix classes: unpack the images into train/CLASS/"
            )
