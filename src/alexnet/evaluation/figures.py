"""The paper's Figures 3 and 4 and a confusion matrix, for any network: from arrays to images."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from alexnet.evaluation.specialization import UNTRAINED, ColumnReport, KernelReport, report_kernels
from alexnet.files import replacing
from alexnet.folders.files import write_json
from alexnet.plotting import COLOURS, DOTS_PER_INCH, GREY, STYLE, caption, save
from alexnet.sources.labels import printable

BAR, BAR_OF_TRUE_LABEL = "#A9CCE3", "#F2A98A"  # pale, because labels are written on them
KERNELS_PER_ROW = 16
IMAGES_PER_ROW = 4
PIXELS_OF_A_ROW = 640  # of write_kernels
MOST_NUMBERS, MOST_NAMES = 20, 50  # classes of a confusion matrix
BEST_LABELS = 5
_WIDTH = 7.2  # width of Figure 3 in inches


def draw_kernels(
    kernels: NDArray[np.floating], *, columns: int, folder: str | Path
) -> KernelReport:
    """Draw Figure 3: the kernels of conv1 (K, 3, h, w) by column, and their colour specificity.

    Writes figure_3.png, figure_3.svg and figure_3.json, which contains the returned report. Raises
    ValueError as `report_kernels` does.
    """
    report = report_kernels(kernels, columns=columns)
    blocks = np.split(_for_display(kernels), columns)
    with matplotlib.rc_context(STYLE):
        figure = _figure_of_kernels(blocks, report)
    save({"figure_3": figure}, Path(folder))
    write_json(Path(folder) / "figure_3.json", asdict(report))
    return report


def draw_predictions(
    images: Sequence[NDArray[np.integer]],
    *,
    labels: Sequence[int | None],
    names: Sequence[str],
    probabilities: NDArray[np.floating],
    folder: str | Path,
) -> list[Path]:
    """Draw Figure 4, left: images, their true labels, and the five most probable labels.

    Images (C, h, w) are RGB or grey in 0..255, of any sizes. `labels` are indices of `names`, or
    None if the true label is not known; `probabilities` are (N, number of names). Writes
    figure_4_left.png and .svg. Raises ValueError if the numbers of these do not match.
    """
    probabilities = np.asarray(probabilities)
    if probabilities.shape != (len(images), len(names)) or len(labels) != len(images):
        raise ValueError(
            f"{len(images)} images, {len(labels)} labels and {len(names)} names do not match "
            f"probabilities of shape {probabilities.shape}, which must be (images, names)"
        )
    _refuse_none(images)
    with matplotlib.rc_context(STYLE):
        figure = _figure_of_predictions(images, labels, names, probabilities)
    return save({"figure_4_left": figure}, Path(folder))


def draw_neighbours(
    queries: Sequence[NDArray[np.integer]],
    *,
    neighbours: Sequence[Sequence[NDArray[np.integer]]],
    query_labels: Sequence[str],
    neighbour_labels: Sequence[Sequence[str]],
    distances: Sequence[Sequence[float]],
    folder: str | Path,
    layer: str = "fc7",
) -> list[Path]:
    """Draw Figure 4, right: test images, and the nearest training images by a layer's activities.

    Each query has a row: the image itself, then its neighbours, nearest first, each with its label
    ("" if there is none) and the Euclidean distance of its feature vector. Writes
    figure_4_right.png and .svg. Raises ValueError if the numbers of these do not match.
    """
    _refuse_none(queries)
    lengths = {len(each) for each in (queries, neighbours, query_labels, neighbour_labels)}
    rows = zip(neighbours, neighbour_labels, distances, strict=False)
    if lengths != {len(distances)} or any(len({*map(len, row)}) != 1 for row in rows):
        raise ValueError(
            f"each of the {len(queries)} queries needs a label and neighbours, and each neighbour "
            "needs a label and a distance"
        )
    with matplotlib.rc_context(STYLE):
        figure = _figure_of_neighbours(
            queries, neighbours, query_labels, neighbour_labels, distances, layer
        )
    return save({"figure_4_right": figure}, Path(folder))


def write_kernels(kernels: NDArray[np.floating], file: Path) -> None:
    """The kernels of Figure 3 alone (K, 3 or 1, h, w), as a small PNG for a series of them."""
    kernels = np.broadcast_to(kernels, (kernels.shape[0], 3, *kernels.shape[2:]))
    per_row = min(KERNELS_PER_ROW, len(kernels))
    dots = max(1, PIXELS_OF_A_ROW // (per_row * (kernels.shape[-1] + 1)))
    picture = _tile(_for_display(kernels), per_row, dots)
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file, "wb") as opened:
        Image.fromarray((255 * picture).round().astype(np.uint8)).save(opened, format="PNG")


def draw_confusion(
    counts: NDArray[np.integer], *, names: Sequence[str], folder: str | Path
) -> list[Path]:
    """How often images of each class (rows) were taken for each class (columns).

    `counts` are (classes, classes), `names` those of the classes. Writes confusion.png and .svg.
    Raises ValueError if these do not belong together.
    """
    if counts.shape != (len(names), len(names)):
        raise ValueError(f"{len(names)} names do not belong to counts of shape {counts.shape}")
    with matplotlib.rc_context(STYLE):
        figure = _figure_of_confusion(counts, names)
    return save({"confusion": figure}, Path(folder))


def short_name(name: str, characters: int) -> str:
    """Return the first of WordNet's synonyms, shortened to this number of characters."""
    first = printable(name).split(",")[0].replace("_", " ").strip()
    return first if len(first) <= characters else first[: characters - 1].rstrip() + "…"


# Figure 3


def _for_display(kernels: NDArray[np.floating]) -> NDArray[np.float64]:
    """Convert weights to colours (K, h, w, 3), scaled by each kernel's largest; 0 is grey."""
    kernels = np.asarray(kernels, dtype=np.float64)
    largest = np.abs(kernels).max(axis=(1, 2, 3), keepdims=True)
    scaled = np.divide(kernels, largest, out=np.zeros_like(kernels), where=largest > 0)
    return (0.5 + 0.5 * scaled).transpose(0, 2, 3, 1)


def _figure_of_kernels(blocks: Sequence[NDArray[np.float64]], report: KernelReport) -> Figure:
    """Draw the blocks of kernels from top to bottom, then the scores; sizes are in inches."""
    count, _, width, _ = blocks[0].shape
    per_row = min(KERNELS_PER_ROW, count)
    # A whole number of dots per weight, so that all weights are squares of one size.
    dots = int(np.clip(_WIDTH * DOTS_PER_INCH / (per_row * (width + 1)), 1, 16))
    pictures = [_tile(block, per_row, dots) for block in blocks]
    sizes = [(each.shape[0] / DOTS_PER_INCH, each.shape[1] / DOTS_PER_INCH) for each in pictures]
    title, below, row = 0.3, 0.5, 0.5
    scores = 0.25 + row * len(blocks)
    full = sum(tall + title for tall, _ in sizes) + scores + below
    figure = Figure(figsize=(_WIDTH, full))
    top = full
    for index, (picture, (tall, wide)) in enumerate(zip(pictures, sizes, strict=True)):
        top -= title + tall
        axes = figure.add_axes((0, top / full, wide / _WIDTH, tall / full))
        axes.imshow(picture, interpolation="none", aspect="auto")
        axes.set_axis_off()
        name = _name_of_column(index, len(blocks))
        # A text, not a title, because it may be wider than a picture of few kernels.
        text = f"{name}{_mean(report.columns[index])}"
        figure.text(0, (top + tall + 0.07) / full, text, fontweight="bold", va="bottom")
    left = 1.0
    axes = figure.add_axes(
        (left / _WIDTH, (top - scores) / full, 1 - (left + 0.1) / _WIDTH, row * len(blocks) / full)
    )
    _scores(axes, report)
    caption(figure, _caption_of_kernels(report))
    return figure


def _tile(kernels: NDArray[np.float64], per_row: int, dots: int) -> NDArray[np.float64]:
    """Tile kernels (K, h, w, 3) into one picture, with white lines of one weight between them."""
    count, height, width, _ = kernels.shape
    rows = -(-count // per_row)
    picture = np.ones((rows * (height + 1) - 1, per_row * (width + 1) - 1, 3))
    for index, kernel in enumerate(kernels):
        y, x = (index // per_row) * (height + 1), (index % per_row) * (width + 1)
        picture[y : y + height, x : x + width] = kernel
    return picture.repeat(dots, axis=0).repeat(dots, axis=1)


def _scores(axes: Axes, report: KernelReport) -> None:
    """Draw a row for each column: a dot for each kernel, and a bar for their mean."""
    axes.axvline(UNTRAINED, color=GREY, linestyle=(0, (4, 3)), linewidth=1)
    axes.annotate(
        "untrained",
        (UNTRAINED, 1),
        xycoords=axes.get_xaxis_transform(),
        xytext=(0, 2),
        textcoords="offset points",
        ha="center",
        color=GREY,
        fontsize=8,
    )
    for row, column in enumerate(report.columns):
        colour = COLOURS[row % len(COLOURS)]
        # Spread evenly, whatever their order, so that equal scores can be told apart.
        heights = row + 0.5 * ((np.arange(len(column.scores)) * 0.618) % 1 - 0.5)
        look: dict[str, Any] = {
            "color": colour,
            "marker": "o",
            "markersize": 4,
            "alpha": 0.5,
            "mew": 0,
        }
        axes.plot(column.scores, heights, linestyle="none", clip_on=False, **look)
        axes.vlines(column.mean, row - 0.38, row + 0.38, color=colour, linewidth=2.5)
    names = [_name_of_column(row, len(report.columns), "") for row in range(len(report.columns))]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    axes.set_xlabel("colour specificity: from grey (0) to colour only (1)")


def _name_of_column(index: int, columns: int, after: str = ": ") -> str:
    return f"Column {index + 1}{after}" if columns > 1 else "All kernels" + after


def _caption_of_kernels(report: KernelReport) -> str:
    count, _, height, width = report.shape
    kernels = "kernel" if count == 1 else "kernels"
    parts = [
        f"{count} {kernels} of {width}x{height}x3, each scaled by its own largest weight; zero is "
        "grey. Colour specificity: the fraction of a kernel's energy off the grey axis; dots: "
        f"kernels, bar: their mean, dashed: {UNTRAINED:.2f}, expected for random weights. Above "
        "and below: beyond 95 % of random kernels; p: random columns with as extreme a mean."
    ]
    if report.p_value is not None:
        # \xa0 prevents a line break within a number.
        p_value = f"p\xa0=\xa0{report.p_value:.2g}"
        parts.append(
            f"Between columns the means differ by {report.difference:.2f} ({p_value}, kernels "
            "shuffled between the columns)."
        )
    return " ".join(parts)


def _mean(column: ColumnReport) -> str:
    kernels = "kernel" if len(column.scores) == 1 else "kernels"
    counts = f"of {len(column.scores)} {kernels} {column.specific} above, {column.agnostic} below"
    p = min(column.p_specific, column.p_agnostic)
    return f"colour specificity {column.mean:.2f} ({counts} random ones; p\xa0=\xa0{p:.2g})"


# Figure 4


def _figure_of_predictions(
    images: Sequence[NDArray[np.integer]],
    labels: Sequence[int | None],
    names: Sequence[str],
    probabilities: NDArray[np.floating],
) -> Figure:
    """Draw cells with an image, its true label and its bars; sizes are in inches."""
    shown = min(BEST_LABELS, len(names))
    size, gap, title, bar = 1.75, 0.15, 0.26, 0.2
    cell = size + title + bar * shown + 0.2
    columns = min(IMAGES_PER_ROW, len(images))
    rows = -(-len(images) // columns)
    wide, tall = columns * (size + gap), rows * cell
    figure = Figure(figsize=(wide, tall))
    for index, image in enumerate(images):
        left, top = (index % columns) * (size + gap), tall - (index // columns) * cell
        axes = figure.add_axes((left / wide, (top - size) / tall, size / wide, size / tall))
        _show(axes, image)
        truth = labels[index]
        if truth is not None:
            figure.text(
                (left + size / 2) / wide,
                (top - size - title / 2) / tall,
                short_name(names[truth], 22),
                ha="center",
                va="center",
                fontweight="bold",
                fontsize=9,
                parse_math=False,
            )
        bottom = top - size - title - bar * shown
        axes = figure.add_axes((left / wide, bottom / tall, size / wide, bar * shown / tall))
        _bars(axes, probabilities[index], names, truth, shown)
    caption(
        figure,
        f"Under each image: its true label, then the {shown} most probable labels. Bars: their "
        "probability, from 0 to 1 over the width of the image; the bar of the true label is red.",
    )
    return figure


def _bars(
    axes: Axes,
    probabilities: NDArray[np.floating],
    names: Sequence[str],
    truth: int | None,
    shown: int,
) -> None:
    best = np.argsort(-probabilities, kind="stable")[:shown]
    for row, label in enumerate(best):
        colour = BAR_OF_TRUE_LABEL if label == truth else BAR
        axes.barh(row, probabilities[label], height=0.86, color=colour)
        axes.text(
            0.03,
            row,
            short_name(names[label], 24),
            fontsize=8,
            va="center_baseline",
            parse_math=False,
        )
    axes.set_xlim(0, 1)
    axes.set_ylim(shown - 0.5, -0.5)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines["bottom"].set_visible(False)


def _figure_of_neighbours(
    queries: Sequence[NDArray[np.integer]],
    neighbours: Sequence[Sequence[NDArray[np.integer]]],
    query_labels: Sequence[str],
    neighbour_labels: Sequence[Sequence[str]],
    distances: Sequence[Sequence[float]],
    layer: str,
) -> Figure:
    size, gap, apart, head, text = 1.2, 0.06, 0.25, 0.28, 0.36
    most = max(map(len, neighbours))
    wide, tall = size + apart + most * (size + gap), head + len(queries) * (size + text)
    figure = Figure(figsize=(wide, tall))

    def place(row: int, left: float, image: NDArray[np.integer], lines: str, colour: str) -> None:
        bottom = tall - head - row * (size + text) - size
        axes = figure.add_axes((left / wide, bottom / tall, size / wide, size / tall))
        _show(axes, image)
        at = ((left + size / 2) / wide, (bottom - 0.04) / tall)
        figure.text(*at, lines, ha="center", va="top", fontsize=7, color=colour, parse_math=False)

    for row, (query, label) in enumerate(zip(queries, query_labels, strict=True)):
        place(row, 0, query, short_name(label, 22), "black")
        of_row = zip(neighbours[row], neighbour_labels[row], distances[row], strict=True)
        for column, (image, name, distance) in enumerate(of_row):
            lines = "\n".join(filter(None, [short_name(name, 22), _distance(distance)]))
            is_same = bool(label) and name == label
            left = size + apart + column * (size + gap)
            place(row, left, image, lines, "black" if is_same else GREY)
    y = (tall - 0.18) / tall
    figure.text(0, y, "Test image", fontweight="bold")
    nearest = "Training images, nearest first"
    figure.text((size + apart) / wide, y, nearest, fontweight="bold")
    caption(
        figure,
        "Under each image: its label (grey if it differs from that of the test image) and the "
        f"Euclidean distance of its feature vector in {layer} from that of the test image.",
    )
    return figure


def _distance(distance: float) -> str:
    return f"{distance:.1f}" if distance >= 1 else f"{distance:.2g}"


def _show(axes: Axes, image: NDArray[np.integer]) -> None:
    """Show an image, of any shape, in the middle of its axes."""
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        raise ValueError(f"an image must have the shape (3 or 1, h, w), but has {image.shape}")
    pixels = np.broadcast_to(image, (3, *image.shape[1:])).transpose(1, 2, 0)
    axes.imshow(pixels.astype(np.uint8))
    axes.set_axis_off()


def _refuse_none(images: Sequence[NDArray[np.integer]]) -> None:
    if not len(images):
        raise ValueError("there are no images to draw")


# Confusion


def _figure_of_confusion(counts: NDArray[np.integer], names: Sequence[str]) -> Figure:
    """A square of one colour, darker for a larger share of the images of a class."""
    classes = len(names)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    shown = [short_name(name, 16) for name in names] if classes <= MOST_NAMES else []
    are_long = any(len(name) > 3 for name in shown)
    size = float(np.clip(0.42 * classes, 3.0, 6.5))
    left, bottom = (1.3, 1.1) if are_long else (0.6, 0.6)
    wide, tall = size + left, size + bottom
    figure = Figure(figsize=(wide, tall))
    axes = figure.add_axes((left / wide, bottom / tall, size / wide, size / tall))
    scale = 1.0 if shown else 0.5  # of many classes, single pixels must be seen
    norm = PowerNorm(scale, vmin=0, vmax=1)
    axes.imshow(shares, cmap="Blues", norm=norm, interpolation="nearest")
    if classes <= MOST_NUMBERS:
        for row, column in zip(*np.nonzero(counts), strict=True):
            axes.text(
                column, row, str(counts[row, column]), ha="center", va="center", fontsize=8,
                color="white" if shares[row, column] > 0.5 else "black",
            )  # fmt: skip
    turned: dict[str, Any] = {"rotation": 45, "ha": "right"} if are_long else {}
    axes.tick_params(length=0, labelsize=10 if classes <= MOST_NUMBERS else 6)
    axes.set_xticks(range(len(shown)), shown, parse_math=False, **turned)
    axes.set_yticks(range(len(shown)), shown, parse_math=False)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    right, images = int(np.trace(counts)), int(counts.sum())
    wrong = 100 * (images - right) / images if images else 0.0
    caption(
        figure,
        f"{images:,} test images, {wrong:.1f} % of them in a wrong class. Darker: a larger share "
        f"of the images of the true class{'' if shown else ', drawn by its square root'}.",
    )
    return figure
