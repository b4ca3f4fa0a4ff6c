"""Figures of a sweep whose parts are crowded."""

import math
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


def test_the_effects_of_fewer_trials_have_printed_names_and_count_in_points(sweep_folder: Path):
    errors = {"relu": (0.31, 0.30, 0.32), "tanh": (0.36, 0.35, 0.37)}
    runs = [
        Run(arm={"model.nonlinearity": arm, "learning.lr": 10.0**-power}, val_errors=[0.9, error])
        for arm, values in errors.items()
        for power, error in enumerate(values, start=1)
    ]
    factors = {"factor": ["model.nonlinearity"], "search": "learning.lr"}
    figure = figures_of(write_sweep(sweep_folder, {**LRN_ON_OFF, **factors}, runs))["tuning_budget"]
    upper, lower = figure.axes
    assert [text.get_text() for text in lower.texts] == ["tanh vs ReLU"]
    assert lower.yaxis.get_major_formatter()(0.05) == "+5"
    assert lower.yaxis.get_major_formatter()(-0.025) == "\N{MINUS SIGN}2.5"
    assert upper.get_ylim()[0] > 0.2  # around the data


def test_a_run_that_is_missing_from_a_search_is_marked_above_all_values(sweep_folder: Path):
    runs = [
        Run(arm={"model.nonlinearity": arm, "learning.lr": lr}, val_errors=[error])
        for arm, error in (("relu", 0.3), ("tanh", 0.8))
        for lr in (0.001, 0.01)
    ]
    runs[1].state = None
    factors = {"factor": ["model.nonlinearity"], "search": "learning.lr"}
    axes = figures_of(write_sweep(sweep_folder, {**LRN_ON_OFF, **factors}, runs))["search"].axes[0]
    [cross] = [line for line in axes.lines if line.get_marker() == "x"]
    at = axes.transData.inverted().transform(cross.get_transform().transform((0.01, 1.0)))
    bottom, top = axes.get_ylim()
    assert at[1] == pytest.approx(top)
    assert top > 0.8 + 0.08 * (top - bottom)
    assert axes.get_xlabel() == "learning rate"


def test_the_line_of_a_search_has_a_gap_where_a_mean_is_unknown_and_notes_stay_in_the_axes(
    sweep_folder: Path,
):
    runs = [
        Run(arm={"model.nonlinearity": "tanh", "learning.lr": lr}, val_errors=[error])
        for lr, error in ((0.001, 0.8), (0.01, 0.3), (0.1, 0.02), (1.0, 0.9))
    ]
    runs[1].state = None
    factors = {"factor": ["model.nonlinearity"], "search": "learning.lr"}
    figure = figures_of(write_sweep(sweep_folder, {**LRN_ON_OFF, **factors}, runs))["search"]
    FigureCanvasAgg(figure).draw()
    axes = figure.axes[0]

    [heights] = [line.get_ydata() for line in axes.lines if len(line.get_xdata()) == 4]
    assert heights == pytest.approx([0.8, math.nan, 0.02, 0.9], nan_ok=True)
    [note] = [text for text in axes.texts if text.get_text() == "best: 0.1"]
    assert note.get_window_extent().y0 > axes.get_window_extent().y0


def test_the_axis_of_a_single_value_is_as_wide_as_a_fifth_of_it(sweep_folder: Path):
    run = Run(arm={"model.normalization": "lrn"}, val_errors=[0.5])
    figure = figures_of(write_sweep(sweep_folder, LRN_ON_OFF, [run]))["arms_and_effects"]
    assert figure.axes[0].get_xlim() == pytest.approx((0.45, 0.55))


@pytest.mark.parametrize(("seeds", "has_arrow"), [(2, True), (5, False)])
def test_an_arrow_is_explained_where_there_is_one(sweep_folder: Path, seeds: int, has_arrow: bool):
    runs = [
        Run(arm={"model.normalization": level}, seed=seed, val_errors=[0.5 + seed % 2 / 100])
        for level in ("lrn", "none")
        for seed in range(seeds)
    ]
    figure = figures_of(write_sweep(sweep_folder, LRN_ON_OFF, runs))["arms_and_effects"]

    lines = [line for axes in figure.axes for line in axes.lines if len(line.get_xdata())]
    assert any(line.get_marker() in ("<", ">") for line in lines) == has_arrow
    assert any("Arrow:" in text.get_text() for text in figure.texts) == has_arrow


def test_long_names_that_differ_at_their_ends_stay_different(sweep_folder: Path):
    names = [f"{'a long name of a level ' * 2}{index}" for index in range(2)]
    runs = [Run(arm={"model.name": name}, val_errors=[0.5]) for name in names]
    figure = figures_of(write_sweep(sweep_folder, {**LRN_ON_OFF, "factor": ["model.name"]}, runs))
    shown = [label.get_text() for label in figure["arms_and_effects"].axes[0].get_yticklabels()]
    assert len(set(shown)) == 2
    assert all(len(each) <= 32 for each in shown)
