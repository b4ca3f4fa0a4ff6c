"""Figures of a sweep whose parts are crowded."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from alexnet.results import load_sweep
from alexnet.results.figures.draw import COLOURS, draw
from alexnet.results.findings import Findings, comparison_of

from .handmade import LRN_ON_OFF, RELU_VS_TANH, Run, falling, write_sweep


def figures_of(folder: Path) -> dict[str, Figure]:
    sweep = load_sweep(folder)
    return draw(Findings(sweep=sweep, comparison=comparison_of(sweep)))


def names_at_the_ends(figure: Figure) -> dict[str, Bbox]:
    """Where the names of the arms are, in dots."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return {
        text.get_text(): text.get_window_extent(canvas.get_renderer())
        for text in figure.axes[0].texts
        if isinstance(text, Annotation) and text.get_fontweight() == "bold"
    }


def validation_curves(folder: Path, arms: Sequence[tuple[float, int]]) -> Figure:
    """An arm per (last error, epochs)."""
    runs = [
        Run(arm={"learning.lr": 10.0**-index}, val_errors=[0.9] * (epochs - 1) + [error])
        for index, (error, epochs) in enumerate(arms)
    ]
    experiment = {**LRN_ON_OFF, "factor": ["learning.lr"]}
    return figures_of(write_sweep(folder, experiment, runs))["validation_curves"]


@pytest.mark.parametrize(
    "arms",
    [
        [(0.9 - 0.001 * index, 10) for index in range(7)] + [(0.3, 10)],  # all at the top
        [(0.001 * index, 10) for index in range(8)],  # all at the bottom
        [(0.3, 4), (0.301, 4), (0.299, 4), (0.3, 5), (0.3, 10), (0.3, 10)],  # some end early
        [(0.3, 7), (0.3, 8), (0.3, 10)],  # a name that reaches into the margin
    ],
)
def test_names_of_arms_that_end_together_neither_overlap_nor_leave_the_axes(
    sweep_folder: Path, arms: list[tuple[float, int]]
):
    figure = validation_curves(sweep_folder, arms)
    names = names_at_the_ends(figure)
    assert len(names) == len(arms)
    for (one, box), (other, other_box) in combinations(names.items(), 2):
        assert not box.overlaps(other_box), f"{one} hides {other}"
    top, half_a_line = figure.axes[0].get_window_extent().y1, 8
    assert max(box.y1 for box in names.values()) <= top + half_a_line


def markers(figure: Figure, kind: str) -> list[tuple[float, str, float]]:
    """(epoch, colour, size) of every marker, in the order of drawing."""
    return [
        (round(float(x), 2), to_hex(line.get_color()).upper(), line.get_markersize())
        for line in figure.axes[0].lines
        if line.get_marker() == kind
        for x in line.get_xdata()
    ]


@pytest.mark.parametrize(("kind", "epochs", "place"), [("o", 4.0, 4.0), (">", 30.0, 10.0)])
def test_markers_of_arms_at_the_same_place_are_rings_around_one_another(
    sweep_folder: Path, kind: str, epochs: float, place: float
):
    runs = [
        Run(arm={"model.nonlinearity": level}, progress=falling(epochs))
        for level in ("relu", "tanh", "sigmoid")
    ]
    figure = figures_of(write_sweep(sweep_folder, RELU_VS_TANH, runs))["learning_curves"]
    found = markers(figure, kind)
    assert [(epoch, colour) for epoch, colour, _ in found] == [(place, c) for c in COLOURS[:3]]
    first, second, third = (size for _, _, size in found)
    assert first >= second + 3 >= third + 6  # what is drawn later leaves a ring to be seen


def test_markers_of_arms_apart_have_one_size(sweep_folder: Path):
    runs = [
        Run(arm={"model.nonlinearity": level}, progress=falling(crossing))
        for level, crossing in (("relu", 4.0), ("tanh", 6.0))
    ]
    figure = figures_of(write_sweep(sweep_folder, RELU_VS_TANH, runs))["learning_curves"]
    assert len({size for _, _, size in markers(figure, "o")}) == 1
