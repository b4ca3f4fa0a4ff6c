"""Prepare ImageNet: raw images become 256 x 256 RGB in a few large files (section 2 of the paper).

    python src/prepare.py source=FOLDER dest=FOLDER [key=value ...]

    source          train/CLASS/*.JPEG or ILSVRC20xx_img_train.tar as downloaded; and for the test
                    part, which is the official validation set, val/CLASS/*.JPEG, or flat
                    val/*.JPEG or ILSVRC20xx_img_val.tar with the devkit (ILSVRC20xx_devkit*.tar.gz)
                    or a table of names and classes (val_annotations.txt, LOC_val_solution.csv)
    dest            folder for the prepared images: new, empty, or with an unfinished preparation
    workers         number of processes (default: all cores)
    strict          true: stop at the first image that cannot be converted (default: false)
    val_per_class   training images of each class for validation, at most a tenth (default: 50)
    test_fraction   for a source without a test part: the share of each class that is cut from the
                    training images, such as 0.5 (as in section 6 for the images of Fall 2009)
    shard_images    images per file; a preparation that was stopped continues after the last
                    complete file (default: 8192)

The same command continues where it was stopped, and does nothing if all is done. Images that cannot
be converted are listed at the end and in bad_images.csv in dest.

Exit status: 0 done; 1 an image could not be converted and strict=true, or the folder is in use, or
the disk is full; 2 the command was wrong or data are missing; 75 stopped by SIGTERM or SIGHUP;
130 Ctrl-C.
"""

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from alexnet.cli._arguments import WrongCommand, values_of
from alexnet.folders.ending import Exit, Stopped
from alexnet.folders.files import FolderInUse, hold
from alexnet.signals import handle

if TYPE_CHECKING:
    from alexnet.preparation import Index

log = logging.getLogger("alexnet.prepare")

_SECONDS_BETWEEN_LINES = 30
_MOST_BAD_IMAGES_TOLD = 50


def main(arguments: Sequence[str]) -> int:
    """Run the command; the module's docstring is its help."""
    if not arguments or {"--help", "-h", "help"} & set(arguments):
        print(__doc__)
        return Exit.FINISHED if arguments else Exit.WRONG
    logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stdout)
    # There are as many processes as cores, and each adds up small matrices by itself.
    os.environ["OMP_NUM_THREADS"] = "1"
    handle(_stop, (signal.SIGTERM, signal.SIGHUP))
    try:
        code, problems = _prepare(arguments)
    except Stopped as error:
        code, problems = Exit.STOPPED, str(error)
    except KeyboardInterrupt:
        code, problems = Exit.INTERRUPTED, "interrupted; the same command continues"
    # A second signal must not interrupt the shutdown.
    handle(signal.SIG_IGN, (signal.SIGTERM, signal.SIGHUP, signal.SIGINT))
    for line in problems.splitlines():
        print(f"error: {line}", file=sys.stderr)
    if code is Exit.WRONG:
        print("See python src/prepare.py --help", file=sys.stderr)
    return code


def _prepare(arguments: Sequence[str]) -> tuple[Exit, str]:
    """Prepare, and return the exit status and what went wrong."""
    try:
        given = _parse(arguments)
    except WrongCommand as error:
        return Exit.WRONG, str(error)

    from alexnet.preparation import (
        DestinationError,
        Request,
        SourceError,
        StrictError,
        WorkersDied,
        check_folders,
        prepare,
    )

    request = Request(**given)
    try:
        check_folders(request)  # before the lock creates the folder
        with hold(request.dest), Progress() as progress:
            index = prepare(request, progress.update)
    except (SourceError, DestinationError) as error:
        return Exit.WRONG, str(error)
    except (StrictError, WorkersDied, FolderInUse) as error:
        return Exit.FAILED, str(error)
    except OSError as error:
        return Exit.FAILED, f"{error}\nthe same command continues"
    _tell(request.dest, index)
    return Exit.FINISHED, ""


def _parse(arguments: Sequence[str]) -> dict[str, Any]:
    """Parse key=value into the arguments of Request."""
    readers: dict[str, Callable[[str], Any]] = {
        "source": _folder,
        "dest": _folder,
        "workers": _count,
        "strict": _truth,
        "val_per_class": _count,
        "test_fraction": _fraction,
        "shard_images": _count,
    }
    mine = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()  # not on a Mac
    given: dict[str, Any] = {"workers": len(mine) or os.cpu_count() or 1}
    given |= values_of(arguments, readers, refusal="{key}={value} is not possible: {error}")
    for key in ("source", "dest"):
        if key not in given:
            raise WrongCommand(f"{key} is missing: give {key}=FOLDER")
    return given


def _folder(value: str) -> Path:
    if not value:
        raise ValueError("it is empty")
    return Path(value).expanduser()


def _count(value: str) -> int:
    if not value.isdecimal() or int(value) < 1:
        raise ValueError("it must be a whole number from 1")
    return int(value)


def _truth(value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise ValueError("it must be true or false")
    return value.lower() == "true"


def _fraction(value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not 0 < number < 1:
        raise ValueError("it must be a number between 0 and 1")
    return number


class Progress:
    """Show progress: a live bar on a terminal, elsewhere a line of the log every 30 seconds."""

    def __init__(self) -> None:
        self._began: tuple[float, int] | None = None  # time, images done then
        self._told = 0.0
        self._bar: Any = None

    def __enter__(self) -> "Progress":
        if sys.stdout.isatty():
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                TextColumn,
                TimeRemainingColumn,
            )
            from rich.progress import Progress as Bar

            self._bar = Bar(
                BarColumn(), MofNCompleteColumn(), TextColumn("images, {task.fields[speed]}"),
                TimeRemainingColumn(), TextColumn("left{task.fields[bad]}"), transient=True,
            )  # fmt: skip
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar:
            self._bar.stop()

    def update(self, done: int, total: int, bad: int) -> None:
        """Report the images done, in all, and bad; the first call has what was done before."""
        now = time.monotonic()
        if self._began is None:
            self._began, self._told = (now, done), now
            if self._bar and done < total:
                self._bar.start()
                self._bar.add_task("", total=total, completed=done, speed="", bad="")
            return
        began, before = self._began
        speed = (done - before) / max(now - began, 1e-9)
        about_bad = f", {bad} bad" if bad else ""
        if self._bar:
            self._bar.update(
                self._bar.task_ids[0], completed=done, speed=f"{speed:,.0f} a second", bad=about_bad
            )
        elif now - self._told >= _SECONDS_BETWEEN_LINES or done == total:
            self._told = now
            minutes, seconds = divmod(round((total - done) / speed), 60)
            hours, minutes = divmod(minutes, 60)
            log.info(
                "%d of %d images, %.0f a second, %d:%02d:%02d left%s",
                done, total, speed, hours, minutes, seconds, about_bad,
            )  # fmt: skip


def _tell(dest: Path, index: "Index") -> None:
    """Log what was converted, what is missing, and where the result is."""
    from alexnet.preparation import read_bad_images
    from alexnet.sources.split import name_some

    if index.converted:
        kinds = "; ".join(f"{kind}: {count}" for kind, count in index.converted.items())
        log.info("converted: %s", kinds)
    bad = read_bad_images(dest)
    if bad:
        log.warning("%d images could not be converted, see %s:", len(bad), dest / "bad_images.csv")
        for location, reason in bad[:_MOST_BAD_IMAGES_TOLD]:
            log.warning("  %s: %s", location, reason)
        if len(bad) > _MOST_BAD_IMAGES_TOLD:
            log.warning("  and %d more", len(bad) - _MOST_BAD_IMAGES_TOLD)
    if empty := [i for i, n in zip(index.class_ids, index.counts["train"], strict=True) if not n]:
        log.warning("classes without training images: %s", name_some(empty))
    log.info(
        "prepared in %s: %d classes, %d images for training, %d for validation, %d for the test. "
        "To train on them: python src/train.py +experiment=alexnet_2012 data.root=%s",
        dest, len(index.class_ids), *(index.images(part) for part in ("train", "val", "test")),
        dest.resolve(),
    )  # fmt: skip


def _stop(number: int, frame: Any) -> NoReturn:
    raise Stopped.by(signal.Signals(number).name)
