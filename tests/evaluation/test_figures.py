"""Figures 3 and 4, and the colour specificity of kernels made by hand."""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from alexnet.evaluation.figures import draw_kernels, draw_neighbours, draw_predictions, short_name
from alexnet.evaluation.specialization import (
    UNTRAINED,
    KernelReport,
    color_specificity,
    report_kernels,
    specialization,
)

GREY, RED_GREEN, RED = (1, 1, 1), (1, -1, 0), (1, 0, 0)


def blob(*colours: Sequence[float], size: int = 5) -> np.ndarray:
    """One kernel per colour, (K, 3, size, size): the colour times one random pattern."""
    pattern = np.random.default_rng(3).normal(size=(size, size))
    return np.array(colours, dtype=float)[:, :, None, None] * pattern


def random_kernels(count: int, size: int = 11) -> np.ndarray:
    return np.random.default_rng(1).normal(0, 0.01, size=(count, 3, size, size))


def slow_specificity(kernel: np.ndarray) -> float:
    """The definition, weight by weight: the length of the part of (r, g, b) that is not grey."""
    colour = energy = 0.0
    for y in range(kernel.shape[1]):
        for x in range(kernel.shape[2]):
            weight = kernel[:, y, x]
            mean = sum(weight) / 3
            colour += sum((part - mean) ** 2 for part in weight)
            energy += sum(part**2 for part in weight)
    return colour / energy


# Colour specificity


@pytest.mark.parametrize(
    ("colour", "score"),
    [
        (GREY, 0),
        (RED_GREEN, 1),
        ((1, 1, -2), 1),  # yellow against blue
        (RED, 2 / 3),  # one channel: r**2 - r**2 / 3
        # grey of length 1 and an opponent colour of length 1
        (np.array(GREY) / 3**0.5 + np.array(RED_GREEN) / 2**0.5, 0.5),
        ((0, 0, 0), 0),
    ],
)
def test_grey_has_none_opponent_colours_are_all_colour(colour: Sequence[float], score: float):
    assert color_specificity(blob(colour)) == pytest.approx([score], abs=1e-12)


def test_the_score_is_the_definition_weight_by_weight():
    kernels = random_kernels(4, size=3)
    expected = [slow_specificity(kernel) for kernel in kernels]
    assert color_specificity(kernels) == pytest.approx(expected)


def test_scale_sign_places_and_the_order_of_channels_do_not_matter():
    kernels = random_kernels(6, size=4)
    scores = color_specificity(kernels)
    moved = kernels[:, :, ::-1].transpose(0, 1, 3, 2)
    for same in (1000 * kernels, -kernels, moved, kernels[:, [2, 0, 1]]):
        assert color_specificity(same) == pytest.approx(scores)


def test_random_weights_have_two_thirds_as_the_docstring_says():
    scores = color_specificity(random_kernels(500))
    assert scores.mean() == pytest.approx(UNTRAINED, abs=0.01)
    assert scores.std() == pytest.approx(0.035, abs=0.003)


def test_scores_stay_between_0_and_1_in_single_precision():
    kernels = np.repeat(random_kernels(50)[:, :1], 3, axis=1).astype(np.float32)
    scores = color_specificity(kernels)
    assert scores.min() >= 0
    assert scores.max() < 1e-6


# Columns


def grey_and_coloured(*, coloured_first: bool = False, count: int = 12) -> np.ndarray:
    halves = [blob(*[GREY] * count), blob(*[RED_GREEN] * count)]
    return np.concatenate(halves[::-1] if coloured_first else halves)


def test_each_column_has_its_part_of_the_kernels():
    report = report_kernels(blob(GREY, GREY, GREY, RED_GREEN, RED, RED_GREEN), columns=2)
    first, second = report.columns
    assert first.scores == pytest.approx((0, 0, 0), abs=1e-12)
    assert second.scores == pytest.approx((1, 2 / 3, 1))
    assert (first.mean, second.mean) == pytest.approx((0, 8 / 9), abs=1e-12)
    assert (first.specific, second.specific) == (0, 2)
    assert (first.agnostic, second.agnostic) == (3, 0)
    assert report.difference == pytest.approx(8 / 9)


def test_the_p_value_is_the_share_of_divisions_as_far_apart():
    # Of the 20 ways to divide 6 kernels only 2 put all coloured ones together.
    report = report_kernels(blob(*[GREY] * 3, *[RED_GREEN] * 3), columns=2)
    assert report.p_value == pytest.approx(2 / 20, abs=0.01)


def test_columns_that_are_alike_do_not_differ_beyond_chance():
    alike = report_kernels(blob(*[GREY, RED_GREEN] * 12), columns=2)
    assert alike.difference == pytest.approx(0, abs=1e-12)
    assert alike.p_value == 1
    untrained = report_kernels(random_kernels(96), columns=2)
    assert untrained.p_value > 0.05
    assert not untrained.differs


@pytest.mark.parametrize("coloured_first", [False, True])
def test_a_divided_network_is_as_in_the_paper_whichever_column_it_is(coloured_first: bool):
    report = report_kernels(grey_and_coloured(coloured_first=coloured_first), columns=2)
    assert report.p_value < 0.001
    assert report.most_specific is report.columns[0 if coloured_first else 1]
    assert report.is_as_in_the_paper


def test_random_kernels_are_neither_specific_nor_agnostic():
    # A hundred untrained networks: their kernels are where random ones are, as often as chance has.
    random = np.random.default_rng(5)
    columns = [
        column
        for _ in range(100)
        for column in report_kernels(random.normal(size=(32, 3, 11, 11)), columns=2).columns
    ]
    assert not any(each.is_largely_specific or each.is_largely_agnostic for each in columns)
    kernels = sum(len(each.scores) for each in columns)
    assert sum(each.specific for each in columns) / kernels == pytest.approx(0.05, abs=0.01)
    assert sum(each.agnostic for each in columns) / kernels == pytest.approx(0.05, abs=0.01)
    beyond = [min(each.p_specific, each.p_agnostic) <= 0.025 for each in columns]
    assert np.mean(beyond) == pytest.approx(0.05, abs=0.04)


def test_a_kernel_is_compared_with_random_ones_of_its_own_size():
    # 0.79 of its energy is colour: as of many kernels of one pixel, of hardly any of 5 x 5.
    faint = np.array(RED_GREEN) + 0.42 * np.array(GREY)
    one_pixel, many = (report_kernels(blob(faint, size=size), columns=1) for size in (1, 5))
    assert one_pixel.columns[0].scores == pytest.approx(many.columns[0].scores)
    assert one_pixel.columns[0].p_specific > 0.3
    assert many.columns[0].p_specific < 0.06


def test_an_untrained_column_beside_an_agnostic_one_is_not_the_papers():
    report = report_kernels(
        np.concatenate([blob(*[GREY] * 48, size=11), random_kernels(48)]), columns=2
    )
    assert report.differs
    assert not report.most_specific.is_largely_specific
    assert not report.is_as_in_the_paper


def test_a_difference_between_two_agnostic_columns_is_not_the_papers():
    faint = np.array(GREY) + 0.3 * np.array(RED_GREEN)  # 0.18 of 3.18
    report = report_kernels(blob(*[GREY] * 12, *[faint] * 12), columns=2)
    assert report.differs
    assert not report.is_as_in_the_paper


def test_one_column_has_a_score_and_no_difference():
    report = report_kernels(blob(GREY, RED_GREEN), columns=1)
    assert report.columns[0].mean == pytest.approx(0.5)
    assert (report.difference, report.p_value, report.differs) == (None, None, False)


@pytest.mark.parametrize(
    ("kernels", "columns", "message"),
    [
        (np.zeros((4, 48, 5, 5)), 2, r"red, green and blue, but have \(4, 48, 5, 5\)"),
        (np.zeros((0, 3, 5, 5)), 1, "shape"),
        (np.zeros((7, 3, 5, 5)), 2, "7 kernels cannot be divided into 2"),
        (np.full((2, 3, 5, 5), np.nan), 2, "diverged"),
    ],
)
def test_what_are_no_kernels_is_refused(kernels: np.ndarray, columns: int, message: str):
    with pytest.raises(ValueError, match=message):
        report_kernels(kernels, columns=columns)


# Run after run


def reports(*kernels: np.ndarray) -> list[KernelReport]:
    return [report_kernels(each, columns=2) for each in kernels]


def test_networks_that_divide_the_work_run_after_run_are_said_to():
    three = reports(grey_and_coloured(), grey_and_coloured(coloured_first=True), random_kernels(24))
    summary = specialization(three)
    assert (summary.runs, summary.differing, summary.as_in_the_paper) == (3, 2, 2)
    assert summary.sentence == (
        "Column specialization: the columns differ in colour beyond chance in 2 of 3 runs "
        "(p <= 0.05), as section 6.1 says (one column largely colour-specific, the other largely "
        "colour-agnostic, each against random kernels) "
        f"in 2; colour specificity {summary.highest:.2f} in the more specific column against "
        f"{summary.lowest:.2f} on average, where untrained kernels have 0.67."
    )
    assert summary.highest == pytest.approx((2 + three[2].most_specific.mean) / 3)


def test_one_run_is_in_the_singular():
    assert "in 1 of 1 run (" in specialization(reports(grey_and_coloured())).sentence


def test_runs_of_one_column_have_nothing_to_compare():
    one = report_kernels(random_kernels(8), columns=1)
    assert specialization([one]).sentence == "One column: nothing to compare."
    assert specialization([one, *reports(grey_and_coloured())]).runs == 1


# Figure 3


@pytest.mark.parametrize(
    ("shape", "columns"),
    [((96, 3, 11, 11), 2), ((32, 3, 5, 5), 1), ((12, 3, 7, 5), 4), ((1, 3, 1, 1), 1)],
)
def test_kernels_of_any_number_and_size_are_drawn(tmp_path: Path, shape: tuple, columns: int):
    kernels = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    report = draw_kernels(kernels, columns=columns, folder=tmp_path / "new")
    files = {path.name: path for path in (tmp_path / "new").iterdir()}
    assert set(files) == {"figure_3.png", "figure_3.svg", "figure_3.json"}
    assert report == report_kernels(kernels, columns=columns)
    content = json.loads(files["figure_3.json"].read_text())
    assert content == json.loads(json.dumps(asdict(report)))
    assert content["columns"][0]["mean"] == report.columns[0].mean


def test_a_weight_is_a_square_of_its_own_colour_around_grey(tmp_path: Path):
    kernels = np.zeros((2, 3, 2, 2))
    kernels[0, :, 0, 0] = [0.5, -0.5, 0]  # the largest weights: full red, no green, half blue
    kernels[0, :, 1, 1] = [0, 0.25, 0]
    draw_kernels(kernels, columns=1, folder=tmp_path)
    pixels = (imread(tmp_path / "figure_3.png")[..., :3] * 255).round().astype(int)

    def dots(colour: tuple[int, int, int]) -> int:
        return int((np.abs(pixels - colour).max(axis=-1) <= 1).sum())

    square = 16 * 16  # dots per weight, at most
    assert dots((255, 0, 128)) == square
    assert dots((128, 191, 128)) == square
    assert dots((128, 128, 128)) >= 6 * square  # the other weights of both; the text has greys too


def test_the_same_kernels_give_the_same_files(tmp_path: Path):
    for folder in ("a", "b"):
        draw_kernels(random_kernels(4), columns=2, folder=tmp_path / folder)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


# Figure 4


@pytest.mark.parametrize(
    ("name", "characters", "text"),
    [
        ("great white shark, white shark, man-eater", 24, "great white shark"),
        ("black-and-tan coonhound", 15, "black-and-tan…"),
        ("sea_anemone", 24, "sea anemone"),
        ("n01440764", 24, "n01440764"),
        ("", 24, ""),
    ],
)
def test_a_name_is_the_first_synonym_cut_to_fit(name: str, characters: int, text: str):
    assert short_name(name, characters) == text
    assert len(text) <= characters


def images(*shapes: tuple[int, int, int]) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]


def names_of(path: Path) -> list[str]:
    """The texts of an SVG in order."""
    return re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text())


def test_predictions_show_the_true_label_and_the_five_best_in_order(tmp_path: Path):
    names = [f"class {letter}, synonym" for letter in "abcdefg"]
    probabilities = np.array([[0.02, 0.3, 0.01, 0.2, 0.4, 0.05, 0.02]])
    png, svg = sorted(
        draw_predictions(
            images((3, 8, 8)), labels=[2], names=names, probabilities=probabilities, folder=tmp_path
        )
    )
    assert (png.name, svg.name) == ("figure_4_left.png", "figure_4_left.svg")
    # c is the true label, which is not among the five; of a and g, equal, the first is
    shown = {name for name in names_of(svg) if name.startswith("class")}
    assert shown == {"class c", "class e", "class b", "class d", "class f", "class a"}
    places = [names_of(svg).index(f"class {letter}") for letter in "ebdfa"]
    assert places == sorted(places)
    assert not {path.suffix for path in tmp_path.iterdir()} - {".png", ".svg"}


def test_the_bar_of_the_true_label_has_another_colour(tmp_path: Path):
    def reds(label: int | None) -> int:
        draw_predictions(
            images((1, 8, 8)),
            labels=[label],
            names=["a", "b"],
            probabilities=np.array([[0.25, 0.75]]),
            folder=tmp_path,
        )
        return (tmp_path / "figure_4_left.svg").read_text().count("fill: #f2a98a")

    assert [reds(label) for label in (0, 1, None)] == [1, 1, 0]


def test_any_number_of_images_of_any_size_with_awkward_names_is_drawn(tmp_path: Path):
    shapes = [(3, 8, 12), (1, 20, 3), (3, 1, 1), (3, 8, 8), (3, 9, 9)]
    not_unicode = os.fsdecode(b"caf\xe9\n")
    draw_predictions(
        images(*shapes),
        labels=[0, 1, 2, None, 3],
        names=["", "$x", "</svg> & <b>", not_unicode],
        probabilities=np.full((5, 4), 1 / 4),
        folder=tmp_path,
    )
    assert imread(tmp_path / "figure_4_left.png").shape[0] > 0
    assert r"caf\xe9\n" in names_of(tmp_path / "figure_4_left.svg")


def test_neighbours_show_labels_and_distances(tmp_path: Path):
    queries = images((3, 8, 8), (1, 5, 9))
    files = draw_neighbours(
        queries,
        neighbours=[queries * 3, queries * 3],
        query_labels=["cat, true cat", ""],
        neighbour_labels=[["cat, true cat", "dog", "", "", "", ""], [""] * 6],
        distances=[[0, 1.25, 27.04, 30, 31, 32]] * 2,
        folder=tmp_path,
    )
    assert {path.name for path in files} == {"figure_4_right.png", "figure_4_right.svg"}
    shown = set(names_of(tmp_path / "figure_4_right.svg"))
    assert {"Test image", "cat", "dog", "1.2", "27.0"} <= {
        line for text in shown for line in text.split("\n")
    }


def test_what_does_not_belong_together_is_refused(tmp_path: Path):
    some = images((3, 8, 8), (3, 8, 8))
    with pytest.raises(ValueError, match=r"2 images, 1 labels and 3 names"):
        draw_predictions(
            some,
            labels=[0],
            names=["a", "b", "c"],
            probabilities=np.ones((2, 3)) / 3,
            folder=tmp_path,
        )
    with pytest.raises(ValueError, match="no images"):
        draw_predictions([], labels=[], names=["a"], probabilities=np.ones((0, 1)), folder=tmp_path)
    with pytest.raises(ValueError, match="each neighbour needs a label and a distance"):
        draw_neighbours(
            some,
            neighbours=[some, some],
            query_labels=["", ""],
            neighbour_labels=[["", ""], ["", ""]],
            distances=[[1.0], [1.0, 2.0]],
            folder=tmp_path,
        )
    with pytest.raises(ValueError, match="must have the shape"):
        draw_predictions(
            [np.zeros((8, 8, 3))],
            labels=[0],
            names=["a"],
            probabilities=np.ones((1, 1)),
            folder=tmp_path,
        )
    assert not list(tmp_path.iterdir())
