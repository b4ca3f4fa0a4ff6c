import logging
from collections.abc import Sequence
from pathlib import Path

import hydra
import torch
from hydra.errors import InstantiationException

from alexnet.config.schema import ConfigError, EvaluationConfig
from alexnet.data import FolderOfImages
from alexnet.data.image_module import ImageModule, Part
from alexnet.evaluation.ensemble import Member
from alexnet.model import SavedNet
from alexnet.sources.labels import same_but_for_spelling
from alexnet.sources.photograph import PIXELS

log = logging.getLogger(__name__)


def load_all(config: EvaluationConfig, saved: Sequence[SavedNet]) -> list[ImageModule]:
    """Load the data for each network; networks with the same input share them."""
    data: list[ImageModule] = []
    for net in saved:
        same = (
            its_data
            for other, its_data in zip(saved, data, strict=False)
            if other.image_size == net.image_size and torch.equal(other.mean_image, net.mean_image)
        )
        data.append(next(same, None) or _load(config, net))
    return data


def _load(config: EvaluationConfig, saved: SavedNet) -> ImageModule:
    """Load the part to evaluate, with the mean and the size of this network."""
    if config.images is None:
        return _load_part(config, saved, config.split)
    assert config.data is not None
    pixels = saved.mean_image.shape[-1]
    data = FolderOfImages(
        Path(config.images).expanduser(),
        class_names=saved.class_names or [f"class {i}" for i in range(saved.num_classes)],
        pixels=PIXELS if pixels == 1 else pixels,
        batch_size=config.data.batch_size,
        workers=config.data.workers,
        augmentation=config.data.augmentation,
        image_size=saved.image_size,
    )
    data.setup_evaluation(config.split, saved.mean_image)
    return data


def load_neighbours(config: EvaluationConfig, saved: SavedNet) -> ImageModule | None:
    """Load the training images for the right half of Figure 4, if it is drawn.

    They are loaded before the evaluation, so that missing images are reported at once. The figure
    needs a single network, because an ensemble has no feature vector.
    """
    if not config.figures or not config.neighbours_among or len(config.checkpoint) > 1:
        return None
    try:
        return _load_part(config, saved, "train")
    except (ValueError, OSError) as error:
        raise ConfigError(
            f"{error}\nFigure 4 shows the nearest training images: neighbours_among=0 omits them"
        ) from error


def _load_part(config: EvaluationConfig, saved: SavedNet, part: Part) -> ImageModule:
    assert config.data is not None
    settings = config.data.plain() | {"image_size": saved.image_size}
    try:
        data: ImageModule = hydra.utils.instantiate(settings, _convert_="all")
    except InstantiationException as error:
        raise ConfigError(str(error.__cause__ or error)) from error
    data.prepare_data()
    data.setup_evaluation(part, saved.mean_image)
    return data


def members_of(
    config: EvaluationConfig,
    saved: Sequence[SavedNet],
    data: Sequence[ImageModule],
    device: torch.device,
) -> list[Member]:
    """Build the networks with their weights, and order their outputs as the data's classes."""
    if len({each.mean_image.shape for each in data}) > 1:
        raise ConfigError(
            "these checkpoints were trained on images of different sizes: evaluate them one by one"
        )
    weights = config.weights or [1.0] * len(saved)
    return [
        Member(
            net=each.build().to(device),
            to_input=its_data.to_input,
            weight=weight,
            outputs=outputs_in_order(each, data[0].class_names),
        )
        for each, its_data, weight in zip(saved, data, weights, strict=True)
    ]


def outputs_in_order(saved: SavedNet, names: Sequence[str]) -> list[int] | None:
    """Return the network's output for each class of the data; None if the order is the same.

    Raises ConfigError if the classes are not the same.
    """
    if saved.class_names is None:
        if saved.num_classes != len(names):
            raise ConfigError(
                f"{saved.path} has {saved.num_classes} classes, but the data have {len(names)}"
            )
        _warn_of_numbers_as_text(saved, names)
        return None
    if saved.class_names == tuple(names):
        return None
    if sorted(saved.class_names) != sorted(names):
        theirs, ours = set(saved.class_names), set(names)
        only_there, only_here = sorted(theirs - ours)[:3], sorted(ours - theirs)[:3]
        how = same_but_for_spelling(only_there[0], ours - theirs) if only_there else ""
        raise ConfigError(
            f"{saved.path} has other classes ({saved.num_classes}, such as "
            f"{', '.join(only_there) or saved.class_names[0]}) than the data ({len(names)}, "
            f"such as {', '.join(only_here) or names[0]})" + (how and f": {how}")
        )
    where = {name: output for output, name in enumerate(saved.class_names)}
    if len(where) < len(names):
        raise ConfigError(
            f"{saved.path} has several classes with the same name, and the data have them in "
            "another order, so they cannot be told apart: rename them"
        )
    return [where[name] for name in names]


def _warn_of_numbers_as_text(saved: SavedNet, names: Sequence[str]) -> None:
    """Warn of folders sorted as text (0, 1, 10, 2), for a network that does not name its classes.

    Its outputs may be in the order of numbers instead.
    """
    if not all(name.isdecimal() for name in names):
        return
    numbers = [int(name) for name in names]
    if numbers != sorted(numbers):
        log.warning(
            "%s does not name its classes, and those of the data are numbers sorted as text, %s, "
            "...: if its outputs are in the order of numbers, its errors here are wrong. In that "
            "case give the folders names of equal length: 00, 01, 02, ...",
            saved.path, ", ".join(names[:3]),
        )  # fmt: skip
