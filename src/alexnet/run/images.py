"""The identity of the images on which a run is trained.

data.root is not part of a run's name, because images may be moved. Instead, each run records a
fingerprint of the images that it found there. Fingerprints are compared before results share a
folder: when seeds are added to earlier ones, and when a run is resumed. This module does not
import torch, because sweeps use it, too.
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

REMEDY = "set data.root to their folder, or start in a new folder with outputs=OTHER_FOLDER"


@dataclass(frozen=True, kw_only=True)
class Images:
    """All images in a data.root, whichever of them are used; `data` in provenance.json."""

    name: str  # of the data set
    root: str  # the folder, with links resolved
    fingerprint: str


def identify(data: Part) -> Images | None:
    """Return the images that a configuration reads; None for those that come with the program.

    A user's data set names the files below data.root that identify its images in its class
    attribute `identified_by`, as patterns such as ("*.npy",). CIFAR-10 is identified by the content
    of its files, prepared ImageNet by the checksums of its shards, and class folders by classes,
    names and sizes: the same images in other shards count as different.

    Raises ValueError or OSError if they are missing or damaged.
    """
    given = getattr(data, "root", None)
    if data.target == "alexnet.data.CIFAR10":
        root = Path(given or cifar10.DEFAULT_ROOT).expanduser()
        fingerprint = cifar10.fingerprint(root)
    elif data.target == "alexnet.data.ImageNet":
        # Imported only if needed, because this takes half a second.
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
    """Return the images that a run recorded; None if it recorded none, or the file is damaged."""
    try:
        noted = run.read_provenance().get("data")
        return Images(**noted) if noted else None
    except (DamagedFile, TypeError) as error:
        log.warning("%s: the images of this run are unknown (%s)", run.path, error)
        return None


def images_before(sweep: SweepDir, data: Part, arm: Mapping[str, Any]) -> dict[str, Images]:
    """Return the images of those begun runs of a sweep that must have the same, by run.

    Arms may have other data sets, or other roots if roots are swept.
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
    """Explain which runs were trained on other images than these; None if there are none."""
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
    or_so = ", or were prepared differently" if here.name == "ImageNet" else ""
    return (
        f"the images in data.root={here.root} are not those that {names} {verb} trained on, "
        f"found in {roots}{or_so}"
    )


def _name(data: Part) -> str:
    return data.name
