"""Convert a folder of raw ImageNet to shards, on all cores; it may be killed at any moment."""

import contextlib
import csv
import hashlib
import io
import itertools
import json
import logging
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from operator import add
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from alexnet.preparation.workers import in_parallel
from alexnet.sources.photograph import BadImage, Photograph, decode
from alexnet.sources.raw_imagenet import (
    Raw,
    RawImage,
    RawPart,
    SourceError,
    check_is_folder,
    read_photograph,
    read_source,
)
from alexnet.sources.shards import (
    INDEX,
    PARTS,
    PLAN,
    Finished,
    Index,
    Part,
    ShardWriter,
    is_ours,
    nothing_half_written,
    read_finished,
    read_index,
    read_sums,
    write_index,
    write_statistics,
    write_text,
)
from alexnet.sources.split import VAL_PER_CLASS, hold_out_test, hold_out_validation, shuffled
from alexnet.sources.statistics import Sums

log = logging.getLogger(__name__)

BAD_IMAGES = "bad_images.csv"
_IMAGES_PER_TASK = 64
_USUAL_BYTES = 45_000  # of a 256 x 256 photograph, to estimate the disk space

Bad = tuple[str, str]
"""The location of a bad image, and what is wrong with it."""


class DestinationError(ValueError):
    """The folder cannot be used for the prepared images; the message says why and what to do."""


class StrictError(RuntimeError):
    """An image could not be converted, and strict=true."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """The arguments of prepare.py; `test_fraction` is for sources without a test part."""

    source: Path
    dest: Path
    workers: int
    strict: bool = False
    val_per_class: int = VAL_PER_CLASS
    test_fraction: float | None = None
    shard_images: int = 8192

    @property
    def decisive(self) -> dict[str, Any]:
        """The arguments that change the result; others may differ when continuing."""
        plain = {**asdict(self), "source": str(self.source.resolve())}
        return {key: plain[key] for key in plain if key not in ("dest", "workers", "strict")}


@dataclass(frozen=True)
class _Task:
    """Some images of one shard."""

    shard: str
    images: list[RawImage]
    labels: list[int]
    is_last: bool


@dataclass(frozen=True)
class _Done:
    """The results of a task, in order."""

    photographs: list[Photograph | BadImage]
    sums: Sums | None


def prepare(request: Request, progress: Callable[[int, int, int], None]) -> Index:
    """Prepare the images, or continue, or find that all is done; call `check_folders` before.

    `progress` is called with the numbers of images done, in all, and bad. No other process may
    write into dest meanwhile. Raises SourceError or DestinationError if the request is impossible,
    StrictError, or WorkersDied.
    """
    before = _read_plan(request.dest)
    if index := _read_whole(request, before):
        if request.strict and index.bad_images:
            raise StrictError(
                f"{index.bad_images} images could not be converted: see {request.dest / BAD_IMAGES}"
            )
        log.info("finished before: %s", request.dest)
        return index
    log.info("searching %s", request.source)
    raw = read_source(request.source)
    if raw.refused and request.strict:
        raise StrictError("{}: {}".format(*raw.refused[0]))
    parts, how = _split(raw, request)
    plan = request.decisive | {
        "images": {part: len(parts[part].images) for part in PARTS},
        "listing": _fingerprint(raw, parts),
    }
    if before:
        _check_plan(request.dest, before, plan)
    request.dest.mkdir(parents=True, exist_ok=True)
    (request.dest / INDEX).unlink(missing_ok=True)  # exists <=> finished
    write_text(request.dest / PLAN, json.dumps(plan, indent=1) + "\n")
    shards = {part: _shards(part, parts[part], request.shard_images) for part in PARTS}
    with nothing_half_written(request.dest):
        finished = _convert_all(shards, request, progress)
        return _finish(raw, finished, how, request)


def _read_whole(request: Request, plan: dict[str, Any] | None) -> Index | None:
    """Return the index if the preparation is complete; None if something has to be made again."""
    dest = request.dest
    if plan and (dest / INDEX).exists():
        _check_plan(dest, plan, request.decisive)
    try:
        index = read_index(dest)
        if index is None:
            return None
        if plan is None:
            raise ValueError(f"{dest / PLAN} is missing or damaged")
        for shard in (each for part in PARTS for each in index.shards[part]):
            _whole(dest, shard.name)
        read_sums(dest)
        if len(read_bad_images(dest)) != index.bad_images:
            raise ValueError(f"{dest / BAD_IMAGES} is damaged")
    except (OSError, ValueError) as error:
        log.warning("finished before, but %s: what is missing is made again", error)
        return None
    return index


def check_folders(request: Request) -> None:
    """Raise SourceError or DestinationError for unusable folders, before anything is written."""
    if not (request.dest / INDEX).exists():  # a finished preparation does not need its source
        check_is_folder(request.source)
    source, dest = request.source.resolve(), request.dest.resolve()
    if source == dest or source in dest.parents or dest in source.parents:
        raise DestinationError(
            f"dest={dest} and source={source} must not contain each other: choose another dest"
        )
    try:
        dest.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DestinationError(f"dest={dest} cannot be created: {error.strerror}") from error
    foreign = sorted(path.name for path in dest.iterdir() if not is_ours(path))
    if foreign:
        raise DestinationError(
            f"dest={dest} contains {len(foreign)} other files, such as {foreign[0]}: "
            "choose an empty folder, or one that does not exist"
        )


def _read_plan(dest: Path) -> dict[str, Any] | None:
    """Read the plan of an earlier command; None if there is none, or if it is damaged."""
    try:
        plan: dict[str, Any] = json.loads((dest / PLAN).read_text())
        return plan
    except FileNotFoundError:
        return None
    except ValueError as error:
        log.warning("%s is damaged (%s) and is made again", dest / PLAN, error)
        return None


def _check_plan(dest: Path, before: dict[str, Any], plan: dict[str, Any]) -> None:
    """Refuse to continue a preparation with other arguments or images."""
    for key, now in plan.items():
        if (then := before.get(key)) != now:
            what = "the list has changed" if key == "listing" else f"this is {key}={_words(now)}"
            was = "another list of images" if key == "listing" else f"{key}={_words(then)}"
            raise DestinationError(
                f"{dest} was begun with {was}, but {what}: choose another dest, or remove that one"
            )


def _words(value: object) -> str:
    return "null" if value is None else str(value)


def _split(raw: Raw, request: Request) -> tuple[dict[Part, RawPart], str]:
    """Return the parts in the order of storage, and a text on how validation was chosen."""
    train, test, labels = raw.train, raw.test, np.array(raw.train.labels)
    rest = np.arange(len(labels))
    if test is not None and request.test_fraction is not None:
        raise SourceError(
            f"{request.source} already has a test part: leave test_fraction out, or move it away"
        )
    if test is None:
        if request.test_fraction is None:
            raise SourceError(
                f"no test part in {request.source}{raw.not_read}: expected val/ or "
                "ILSVRC20xx_img_val.tar. If there is none, test_fraction=0.5 uses half of the "
                "training images for the test (section 6)"
            )
        rest, tests = hold_out_test(labels, request.test_fraction)
        test = train.take(shuffled(tests))
    else:
        test = test.take(shuffled(np.arange(len(test.images))))
    split = hold_out_validation(labels[rest], request.val_per_class, class_ids=raw.class_ids)
    if not len(split.train) or not test.images:
        raise SourceError(f"test_fraction={request.test_fraction} leaves a part without images")
    log.info("validation: %s", split.how)
    parts: dict[Part, RawPart] = {
        "train": train.take(shuffled(rest[split.train])),
        "val": train.take(shuffled(rest[split.val])),
        "test": test,
    }
    log.info(
        "%d classes: %d images for training, %d for validation, %d for the test",
        len(raw.class_ids), *(len(parts[part].images) for part in PARTS),
    )  # fmt: skip
    return parts, split.how


def _fingerprint(raw: Raw, parts: dict[Part, RawPart]) -> str:
    """Return the SHA-256 of the list of images in their order, not of their contents."""
    digest = hashlib.sha256("\n".join(raw.class_ids).encode(errors="surrogateescape"))
    for part in PARTS:
        for image, label in zip(parts[part].images, parts[part].labels, strict=True):
            line = f"{part} {label} {image.location} {image.offset} {image.size}\n"
            digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()


def _shards(part: Part, images: RawPart, size: int) -> dict[str, RawPart]:
    """Divide a part into shards, by name."""
    return {
        f"{part}-{number:05}": RawPart(
            images.images[start : start + size], images.labels[start : start + size]
        )
        for number, start in enumerate(range(0, len(images.images), size))
    }


def _convert_all(
    shards: dict[Part, dict[str, RawPart]],
    request: Request,
    progress: Callable[[int, int, int], None],
) -> dict[Part, list[Finished]]:
    """Make the missing shards, and return all."""
    by_name = {name: images for part in PARTS for name, images in shards[part].items()}
    there = {name: _read_if_of(images, request.dest, name) for name, images in by_name.items()}
    missing = {name: images for name, images in by_name.items() if there[name] is None}
    bad = [each for shard in there.values() if shard for each in shard.bad]
    if bad and request.strict:
        raise StrictError("{}: {}".format(*bad[0]))
    if len(missing) < len(by_name):
        log.info("continuing: %d of %d shards exist", len(by_name) - len(missing), len(by_name))
    total = sum(len(images.images) for images in by_name.values())
    left = sum(len(images.images) for images in missing.values())
    needed, free = left * _USUAL_BYTES, shutil.disk_usage(request.dest).free
    log.info("about %s to write, %s are free", _size(needed), _size(free))
    if needed > free:
        log.warning("the disk may become full; if so, free some space and run the command again")

    done, num_bad = total - left, len(bad)
    progress(done, total, num_bad)
    writer: ShardWriter | None = None
    with contextlib.closing(
        in_parallel(_convert_some, _tasks(missing), request.workers)
    ) as results:
        for task, result in results:
            if writer is None:
                sums = result.sums
                writer = ShardWriter(request.dest, task.shard)
            elif result.sums:
                assert sums is not None
                sums = sums + result.sums
            for image, label, each in zip(
                task.images, task.labels, result.photographs, strict=True
            ):
                if isinstance(each, BadImage):
                    if request.strict:
                        raise StrictError(f"{image.location}: {each}")
                    writer.bad.append((image.location, str(each)))
                    num_bad += 1
                else:
                    writer.converted.update(each.kinds)
                    writer.add(each.jpeg, label, PurePosixPath(image.name).name)
            done += len(task.images)
            progress(done, total, num_bad)
            if task.is_last:
                writer.close(sums)
                writer = None
    return {part: [_whole(request.dest, name) for name in shards[part]] for part in PARTS}


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.0f} MB"


def _whole(dest: Path, name: str) -> Finished:
    finished = read_finished(dest, name)
    if finished is None:
        raise OSError(f"{dest / name} is missing or damaged")
    return finished


def _read_if_of(images: RawPart, dest: Path, name: str) -> Finished | None:
    """Read a finished shard if it contains these images; the plan alone may have been lost."""
    if (finished := read_finished(dest, name)) is None:
        return None
    bad = {location for location, _ in finished.bad}
    expected = [
        (label, os.fsencode(PurePosixPath(image.name).name))
        for image, label in zip(images.images, images.labels, strict=True)
        if image.location not in bad
    ]
    is_of = expected == list(zip(finished.labels.tolist(), finished.names.tolist(), strict=True))
    return finished if is_of else None


def _tasks(shards: dict[str, RawPart]) -> Iterator[_Task]:
    for name, part in shards.items():
        for start in range(0, len(part.images), _IMAGES_PER_TASK):
            end = start + _IMAGES_PER_TASK
            yield _Task(
                name, part.images[start:end], part.labels[start:end], end >= len(part.images)
            )


def _convert_some(task: _Task) -> _Done:
    """Convert the images of a task, in a worker process."""
    photographs = [read_photograph(image) for image in task.images]
    sums = None
    if task.shard.startswith("train"):
        # Decoded again, because training reads the JPEG and not the pixels before it.
        whole = [decode(each.jpeg) for each in photographs if isinstance(each, Photograph)]
        sums = Sums.of(np.array(whole, np.uint8).reshape(-1, 3, 256, 256))
    return _Done(photographs, sums)


def _finish(raw: Raw, finished: dict[Part, list[Finished]], how: str, request: Request) -> Index:
    """Write the statistics of all shards, the list of bad images and, last, the index."""
    everything = [shard for part in PARTS for shard in finished[part]]
    bad = [*raw.refused, *(each for shard in everything for each in shard.bad)]
    if empty := [part for part in PARTS if not sum(s.shard.images for s in finished[part])]:
        raise SourceError(
            f"no image of the {empty[0]} part could be converted, for example {{}}: {{}}".format(
                *bad[-1]
            )
        )
    _write_bad_images(request.dest / BAD_IMAGES, bad)
    sums = (read_sums(request.dest, each.shard) for each in finished["train"])
    write_statistics(request.dest, reduce(add, sums))
    converted = sum((Counter(shard.converted) for shard in everything), Counter())
    index = Index(
        source=str(request.source.resolve()),
        class_ids=raw.class_ids,
        class_names=raw.class_names,
        counts={part: _count(finished[part], len(raw.class_ids)) for part in PARTS},
        shards={part: [each.shard for each in finished[part]] for part in PARTS},
        validation=how,
        converted=dict(sorted(converted.items())),
        bad_images=len(bad),
    )
    write_index(request.dest, index)
    # Validation is cut from the training images, and so may contain test images, too.
    for seen, part in itertools.combinations(PARTS, 2):
        _warn_of_same_images(finished, seen, part)
    return index


def _warn_of_same_images(finished: dict[Part, list[Finished]], seen: Part, part: Part) -> None:
    """Warn of images in `part` that are also in `seen`, which make its errors too optimistic."""
    first, other = (np.concatenate([each.checks for each in finished[p]]) for p in (seen, part))
    if rows := np.flatnonzero(np.isin(other, first)).tolist():
        names = np.concatenate([each.names for each in finished[part]])
        log.warning(
            "%d of %d %s images are also %s images, with the same pixels, such as %s",
            len(rows), len(other), part, "training" if seen == "train" else "validation",
            os.fsdecode(bytes(names[rows[0]])),
        )  # fmt: skip


def _count(shards: Sequence[Finished], num_classes: int) -> list[int]:
    labels = np.concatenate([shard.labels for shard in shards])
    return np.bincount(labels, minlength=num_classes).tolist()


def _write_bad_images(path: Path, bad: Sequence[Bad]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([("image", "reason"), *bad])
    write_text(path, text.getvalue())


def read_bad_images(dest: Path) -> list[Bad]:
    """Read the list of images that could not be converted."""
    with (dest / BAD_IMAGES).open(newline="", errors="surrogateescape") as file:
        return [(row[0], row[1]) for row in list(csv.reader(file))[1:]]
