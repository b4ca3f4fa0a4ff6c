import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from alexnet.config.schema import ConfigError, EvaluationConfig
from alexnet.data import NO_IMAGE, FolderOfImages
from alexnet.data.image_module import ImageModule
from alexnet.evaluation.ensemble import Member, predict, predictions
from alexnet.evaluation.errors import Tally
from alexnet.evaluation.figures import draw_kernels, draw_neighbours, draw_predictions
from alexnet.evaluation.inputs import load_all, load_neighbours, members_of
from alexnet.evaluation.neighbours import last_hidden, last_hidden_layer, nearest, spread
from alexnet.evaluation.outputs import as_table, check_places, describe, predictions_file
from alexnet.evaluation.specialization import specialization
from alexnet.folders.files import write_json
from alexnet.model import SavedNet

log = logging.getLogger(__name__)

T = TypeVar("T")

PREDICTED, QUERIES, NEIGHBOURS = 8, 5, 6  # images in the paper's Figure 4, left, and right


def evaluate(
    config: EvaluationConfig, saved: Sequence[SavedNet], provenance: Mapping[str, Any]
) -> list[str]:
    """Predict, count errors, and write the requested files, with the provenance of this program.

    Returns what is wrong with each file that should have been an image. Raises ConfigError, before
    anything is predicted, if the request is impossible.
    """
    check_places(config)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    data = load_all(config, saved)
    neighbours = load_neighbours(config, saved[0])
    members = members_of(config, saved, data, device)
    _announce(config, saved, members, data[0])
    loader = data[0].evaluation_loader(config.split, views=config.crops)
    folder = data[0] if isinstance(data[0], FolderOfImages) else None

    tally, bad, seen = Tally(), [], 0
    with predictions_file(config.predictions, data[0].class_names) as write:
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
        log.info("%s", as_table(config, tally))
    if config.predictions:
        log.info("predictions: %s", config.predictions)
    if config.out:
        found = describe(config, saved, members, tally)
        write_json(Path(config.out), {**found, "provenance": provenance})
        log.info("errors: %s", config.out)
    if folder and len(bad) == seen:
        raise ConfigError(f"images={config.images}: {folder.what_is_wrong(bad[0])}, and so on")
    if config.figures:
        shown = spread(PREDICTED, np.setdiff1d(np.arange(seen), bad))
        _draw(config, members, data[0], shown, neighbours, device)
        write_json(Path(config.figures) / "provenance.json", provenance)
        log.info("figures: %s", config.figures)
    return [folder.what_is_wrong(row) for row in bad] if folder else []


def _announce(
    config: EvaluationConfig,
    saved: Sequence[SavedNet],
    members: Sequence[Member],
    data: ImageModule,
) -> None:
    for each, member in zip(saved, members, strict=True):
        if each.class_names is None and config.images is None:
            log.info("%s does not name its classes: the data's order is assumed", each.path)
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
    """Yield the batches, and show a progress bar on a terminal."""
    console = Console(stderr=True)
    yield from track(
        batches, "evaluating", total=total, console=console, transient=True,
        disable=not console.is_terminal,
    )  # fmt: skip


def _draw(
    config: EvaluationConfig,
    members: Sequence[Member],
    data: ImageModule,
    shown: np.ndarray,
    neighbours: ImageModule | None,
    device: torch.device,
) -> None:
    """Draw Figure 3, and Figure 4 for the rows in `shown`."""
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
    log.info("searching the nearest of %s training images", f"{len(among):,}")
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
    """Draw Figure 3; for several networks in separate folders, with a summary over networks."""
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
