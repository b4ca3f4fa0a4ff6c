import csv
import itertools
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import hydra
import numpy as np
import torch
from hydra.errors import InstantiationException
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from alexnet.config import ConfigError, EvaluationConfig
from alexnet.data import NO_IMAGE, FolderOfImages
from alexnet.data.image_module import ImageModule, Part
from alexnet.evaluation.ensemble import Member, predict, predictions
from alexnet.evaluation.errors import TOP, Tally, credits, interval
from alexnet.evaluation.neighbours import last_hidden, last_hidden_layer, nearest, spread
from alexnet.model import SavedNet
from alexnet.preparation.photograph import PIXELS
from alexnet.results.paper_figures import draw_kernels, draw_neighbours, draw_predictions
from alexnet.results.specialization import specialization
from alexnet.rundir import write_json

log = logging.getLogger(__name__)

T = TypeVar("T")

PREDICTED, QUERIES, NEIGHBOURS = 8, 5, 6  # images in the paper's Figure 4, left, and right


def evaluate(config: EvaluationConfig, saved: Sequence[SavedNet]) -> list[str]:
    """Predict, count, and write what was asked for.

    Returns what is wrong with files that should have been images. Raises ConfigError before
    anything is predicted if what was asked for cannot be had.
    """
    _check_places(config)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    data = _load_all(config, saved)
    neighbours = _load_neighbours(config, saved[0])
    members = _members(config, saved, data, device)
    _announce(config, saved, members, data[0])
    loader = data[0].evaluation_loader(config.split, views=config.crops)
    folder = data[0] if isinstance(data[0], FolderOfImages) else None

    tally, bad, seen = Tally(), [], 0
    with _predictions_file(config.predictions, data[0].class_names) as write:
        batches = predictions(members, loader, device=device)
        for probabilities, labels in _with_progress(batches, total=len(loader)):
            rows = np.arange(seen, seen + len(labels))
            seen += len(labels)
            if folder is None:
                write(rows, probabilities, labels)
                tally.add(probabilities, labels)
                continue
            good = (labels != NO_IMAGE).numpy()
            write([folder.names[row] for row in rows[good]], probabilities[good], None)
            bad += list(rows[~good])
    assert seen == data[0].size_of(config.split)

    if tally.images:
        log.info("%s", _as_table(config, tally))
    if config.predictions:
        log.info("predictions: %s", config.predictions)
    if config.out:
        write_json(Path(config.out), _describe(config, saved, members, tally))
        log.info("errors: %s", config.out)
    if folder and len(bad) == seen:
        raise ConfigError(f"images={config.images}: {folder.what_is_wrong(bad[0])}, and so on")
    if config.figures:
        shown = spread(PREDICTED, np.setdiff1d(np.arange(seen), bad))
        _draw(config, members, data[0], shown, neighbours, device)
        log.info("figures: %s", config.figures)
    return [folder.what_is_wrong(row) for row in bad] if folder else []


def _check_places(config: EvaluationConfig) -> None:
    """Where results go must be able to take them; nothing is lost after hours."""
    files = {"predictions": config.predictions, "out": config.out}
    for key, file in files.items():
        if file is not None and Path(file).is_dir():
            raise ConfigError(f"{key}={file} is a folder: give the name of a file in it")
    folders = {key: Path(file).parent for key, file in files.items() if file is not None}
    if config.figures is not None:
        folders["figures"] = Path(config.figures)
    for key, folder in folders.items():
        made = [each for each in (folder, *folder.parents) if not each.exists()]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for each in made:  # what follows may still be refused
                each.rmdir()
        except OSError as error:
            raise ConfigError(f"{key}: {folder} cannot be made: {error.strerror}") from error


def _load_all(config: EvaluationConfig, saved: Sequence[SavedNet]) -> list[ImageModule]:
    """For each network; once for those that want to see the same."""
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
    """The part to be evaluated, as this network wants to see it."""
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


def _load_neighbours(config: EvaluationConfig, saved: SavedNet) -> ImageModule | None:
    """The training images for Figure 4, right, if it shall be drawn: now, lest that fails later.

    It is of one network, because an ensemble has no feature vector.
    """
    if not config.figures or not config.neighbours_among or len(config.checkpoint) > 1:
        return None
    try:
        return _load_part(config, saved, "train")
    except (ValueError, OSError) as error:
        raise ConfigError(
            f"{error}\nFigure 4 shows the nearest training images; neighbours_among=0 does without"
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


def _members(
    config: EvaluationConfig,
    saved: Sequence[SavedNet],
    data: Sequence[ImageModule],
    device: torch.device,
) -> list[Member]:
    if len({each.mean_image.shape for each in data}) > 1:
        raise ConfigError("these checkpoints have learnt from images of different sizes")
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
    """For each class of the data the network's output; None: they are in the same order.

    Raises ConfigError if the classes are not the same.
    """
    if saved.class_names is None:
        if saved.num_classes != len(names):
            raise ConfigError(
                f"{saved.path} has {saved.num_classes} classes, the data have {len(names)}"
            )
        return None
    if saved.class_names == tuple(names):
        return None
    if sorted(saved.class_names) != sorted(names):
        theirs, ours = set(saved.class_names), set(names)
        only_there, only_here = sorted(theirs - ours)[:3], sorted(ours - theirs)[:3]
        raise ConfigError(
            f"{saved.path} knows other classes ({saved.num_classes}, such as "
            f"{', '.join(only_there) or saved.class_names[0]}) than the data have ({len(names)}, "
            f"such as {', '.join(only_here) or names[0]})"
        )
    where = {name: output for output, name in enumerate(saved.class_names)}
    if len(where) < len(names):
        raise ConfigError(
            f"{saved.path} has several classes of one name and the data have them in another "
            "order: which is which cannot be known"
        )
    return [where[name] for name in names]


def _announce(
    config: EvaluationConfig,
    saved: Sequence[SavedNet],
    members: Sequence[Member],
    data: ImageModule,
) -> None:
    for each, member in zip(saved, members, strict=True):
        if each.class_names is None and config.images is None:
            log.info("%s does not name its classes: taken to be in the data's order", each.path)
        steps = f", after {each.steps:,} steps" if each.steps is not None else ""
        weight = f", weight {member.weight:g}" if len(members) > 1 else ""
        log.info("%s%s%s", each.path, steps, weight)
    log.info(
        "%s: %s images, %s, data.augmentation=%s",
        config.images or f"{type(data).__name__}, {config.split}",
        f"{data.size_of(config.split):,}",
        "the central view of each" if config.crops == 1 else f"{config.crops} views of each",
        data.augmentation,
    )  # fmt: skip


def _with_progress(batches: Iterable[T], *, total: int) -> Iterator[T]:
    """The same, with a bar on a terminal."""
    console = Console(stderr=True)
    yield from track(
        batches, "evaluating", total=total, console=console, transient=True,
        disable=not console.is_terminal,
    )  # fmt: skip


Write = Callable[[Iterable[Any], Tensor, Tensor | None], None]


@contextmanager
def _predictions_file(file: str | None, names: Sequence[str]) -> Iterator[Write]:
    """A function that writes a batch: which images, probabilities, labels if there are any.

    The file appears when it is complete.
    """
    if file is None:
        yield lambda images, probabilities, labels: None
        return
    path = Path(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    count = min(TOP, len(names))
    # Names of files need not be Unicode.
    with partial.open("w", newline="", encoding="utf-8", errors="surrogateescape") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        best = itertools.chain(*((f"class_{i + 1}", f"probability_{i + 1}") for i in range(count)))
        shared = ("right_top1_ties_shared", "right_top5_ties_shared")
        writer.writerow(["image", "true_class", *shared, *best])

        def write(images: Iterable[Any], probabilities: Tensor, labels: Tensor | None) -> None:
            truths = [("", "", "")] * len(probabilities)
            if labels is not None:
                right = (credits(probabilities, labels, k).tolist() for k in (1, TOP))
                truths = [
                    (names[label], f"{top1:g}", f"{top5:g}")
                    for label, top1, top5 in zip(labels.tolist(), *right, strict=True)
                ]
            values, classes = (each.tolist() for each in probabilities.topk(count))
            for image, truth, *found in zip(images, truths, classes, values, strict=True):
                pairs = ((names[i], f"{value:.6g}") for i, value in zip(*found, strict=True))
                writer.writerow([image, *truth, *itertools.chain(*pairs)])

        yield write
    os.replace(partial, path)


def _as_table(config: EvaluationConfig, tally: Tally) -> str:
    lines = []
    for name, wrong in (("top-1", tally.wrong), ("top-5", tally.wrong_top5)):
        low, high = interval(wrong, tally.images)
        lines.append(
            f"{config.split} error, {name}  {100 * wrong / tally.images:6.2f} %"
            f"  95 % interval {100 * low:.2f} to {100 * high:.2f} %"
            f"  {_count(wrong)} of {tally.images:,} wrong"
        )
    return "\n".join(lines)


def _count(wrong: float) -> str:
    """1,234, or where classes tie 1,234.50."""
    return f"{wrong:,.0f}" if wrong == round(wrong) else f"{wrong:,.2f}"


def _describe(
    config: EvaluationConfig, saved: Sequence[SavedNet], members: Sequence[Member], tally: Tally
) -> dict[str, Any]:
    """The JSON file: errors under the names that runs give them, and what they are of."""
    errors = {f"{config.split}/error": tally.wrong, f"{config.split}/error_top5": tally.wrong_top5}
    return {
        "metrics": {
            f"{config.split}/loss": tally.loss / tally.images,
            **{name: wrong / tally.images for name, wrong in errors.items()},
        },
        "ci95_over_images": {name: interval(wrong, tally.images) for name, wrong in errors.items()},
        "wrong": errors,
        "images": tally.images,
        "ties": "classes of equal probability share the places left to them",
        "crops": config.crops,
        "checkpoints": [
            {"path": str(each.path), "steps": each.steps, "weight": member.weight}
            for each, member in zip(saved, members, strict=True)
        ],
        "layout": config.layout,
        "data": config.data.plain() if config.data else None,
    }


def _draw(
    config: EvaluationConfig,
    members: Sequence[Member],
    data: ImageModule,
    shown: np.ndarray,
    neighbours: ImageModule | None,
    device: torch.device,
) -> None:
    """Figures 3 and 4, the latter of the rows that are shown."""
    assert config.figures is not None
    folder, names = Path(config.figures), data.class_names
    _draw_kernels([member.net for member in members], folder)

    images, labels = _at_once(data.evaluation_loader(config.split, rows=shown))
    true = [None if config.images else label for label in labels.tolist()]
    draw_predictions(
        list(images[:, 0].numpy()),
        labels=true,
        names=names,
        probabilities=predict(members, images.to(device)).cpu().numpy(),
        folder=folder,
    )
    if neighbours is None:
        return
    [member] = members

    def features(views: Tensor) -> Tensor:
        return last_hidden(member.net, member.to_input(views[:, 0].to(device)))

    among = spread(config.neighbours_among, np.arange(neighbours.size_of("train")))
    loader = neighbours.evaluation_loader("train", rows=among)
    log.info("the nearest of %s training images", f"{len(among):,}")
    batches = _with_progress((features(views) for views, _ in loader), total=len(loader))
    distances, numbers = nearest(features(images[:QUERIES]), batches, count=NEIGHBOURS)
    rows = among[numbers.cpu().numpy()]  # (queries, neighbours)
    found, its_labels = _at_once(neighbours.evaluation_loader("train", rows=rows.flatten()))
    draw_neighbours(
        list(images[:QUERIES, 0].numpy()),
        neighbours=[list(row) for row in found[:, 0].unflatten(0, rows.shape).numpy()],
        query_labels=["" if label is None else names[label] for label in true[:QUERIES]],
        neighbour_labels=[
            [neighbours.class_names[label] for label in row]
            for row in its_labels.view(rows.shape).tolist()
        ],
        distances=distances.tolist(),
        layer=last_hidden_layer(member.net),
        folder=folder,
    )


def _draw_kernels(nets: Sequence[nn.Module], folder: Path) -> None:
    """Figure 3; of several networks in folders of their own, with what they have in common."""
    reports = []
    for number, net in enumerate(nets, start=1):
        kernels = net.get_parameter("conv1.weight").detach().cpu().numpy()
        its_folder = folder / f"network_{number}" if len(nets) > 1 else folder
        columns = getattr(net, "columns", 1)
        reports.append(draw_kernels(kernels, columns=columns, folder=its_folder))
    if len(reports) > 1:
        found = specialization(reports)
        log.info("%s", found.sentence)
        write_json(folder / "specialization.json", asdict(found) | {"sentence": found.sentence})


def _at_once(batches: Iterable[Sequence[Tensor]]) -> tuple[Tensor, Tensor]:
    images, labels = (torch.cat(each) for each in zip(*batches, strict=True))
    return images, labels
