"""Which images a run is of.

data.root is no part of a run's name, for images may move. So each run keeps a fingerprint of what
it found there, and what would come together in one folder is compared: results that are there
already, seeds that join them, a run that goes on. Without torch, because a sweep asks too.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alexnet.config.schema import Part
from alexnet.config.signature import constant_of
from alexnet.folders.files import DamagedFile
from alexnet.folders.run import RunDir
from alexnet.folders.sweep import SweepDir
from alexnet.sources import cifar10
from alexnet.sources.fingerprints import fingerprint_of_files

log = logging.getLogger("alexnet.train")

_MOST_NAMED = 6
_DIGITS = 16

REMEDY = "set data.root to where those are, or start in a new folder, with outputs=OTHER_FOLDER"


@dataclass(frozen=True, kw_only=True)
class Images:
    """All that lies in a data.root, whatever is chosen of it; `data` in provenance.json."""

    name: str  # of the data set
    root: str  # where it was found, without links
    fingerprint: str


def identify(data: Part) -> Images | None:
    """The images that this configuration reads; None for those that come with the program.

    A data set of the user's says by itself which files below data.root tell its images apart, in
    its class attribute `identified_by`: patterns such as ("*.npy",). CIFAR-10 is known by the
    content of its files, prepared ImageNet by the checksums of its shards, class folders by
    classes, names and sizes: the same images in other shards count as others.

    Raises ValueError or OSError if they are not there, or damaged.
    """
    given = getattr(data, "root", None)
    if data.target == "alexnet.data.CIFAR10":
        root = Path(given or cifar10.DEFAULT_ROOT).expanduser()
        fingerprint = cifar10.fingerprint(root)
    elif data.target == "alexnet.data.ImageNet":
        # Half a second, for those who need it.
        from alexnet.sources import raw_imagenet, shards

        root = Path(given or shards.DEFAULT_ROOT).expanduser()
        index = shards.read_index(root)
        fingerprint = index.fingerprint() if index else raw_imagenet.fingerprint(root)
    else:
        patterns = constant_of(data.target, "identified_by") or ()
        if not patterns or given is None:
            return None
        root = Path(given).expanduser()
        fingerprint = fingerprint_of_files(root, patterns)
    return Images(name=_name(data), root=str(root.resolve()), fingerprint=fingerprint[:_DIGITS])


def images_of(run: RunDir) -> Images | None:
    """Those that it was trained on, as it has noted; None if it has not, or nobody can read it."""
    try:
        noted = run.read_provenance().get("data")
        return Images(**noted) if noted else None
    except (DamagedFile, TypeError) as error:
        log.warning("%s: which images it is of is not known (%s)", run.path, error)
        return None


def images_before(sweep: SweepDir, data: Part, arm: Mapping[str, Any]) -> dict[str, Images]:
    """By run, those of the sweep's runs that are finished or begun and must be of the same.

    Arms may be of other data sets, or of other roots if those are what is swept.
    """
    return {
        name: images
        for name, planned in sweep.read_plan().get("runs", {}).items()
        if planned["arm"].get("data.root") == arm.get("data.root")
        and (run := sweep.run(name)).has_begun
        and (images := images_of(run))
        and images.name == _name(data)
    }


def contradiction(here: Images, before: Mapping[str, Images]) -> str | None:
    """In words, if runs were trained on other images than these, wherever those lay."""
    others = {
        name: images.root
        for name, images in before.items()
        if images.fingerprint != here.fingerprint
    }
    if not others:
        return None
    names = ", ".join(list(others)[:_MOST_NAMED])
    if len(others) > _MOST_NAMED:
        names += f" and {len(others) - _MOST_NAMED} more"
    verb = "was" if len(others) == 1 else "were"
    roots = " and ".join(dict.fromkeys(others.values()))
    or_so = ", or were prepared otherwise" if here.name == "ImageNet" else ""
    return (
        f"the images in data.root={here.root} are not those that {names} {verb} trained on, "
        f"found in {roots}{or_so}"
    )


def _name(data: Part) -> str:
    return data.name
