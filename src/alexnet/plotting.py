"""The style of all figures, and saving them as PNG and SVG."""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from alexnet.files import replacing

# Okabe and Ito's colours, distinguishable with any colour vision, then black and a brown.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D46")
GREY = "#5F6368"
DOTS_PER_INCH = 160
_PADDING = 0.1  # inches
_BELOW_AXES = 0.5  # inches, for the numbers and the name of an axis

STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": "black",
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": "black",
    "ytick.labelcolor": "black",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titley": 1.0,  # else it is looked for at every drawing, which takes a sixth of the time
    "svg.fonttype": "none",  # text stays text: a smaller file, which can be searched
    "svg.hashsalt": "alexnet",  # the same figure gives the same file
}

# Nothing that changes from one report to the next; PNGs that are a tenth larger in half the time.
_OPTIONS: dict[str, dict[str, Any]] = {
    "svg": {"metadata": {"Date": None}},
    "png": {"metadata": {"Software": None}, "pil_kwargs": {"compress_level": 3}},
}


def caption(figure: Figure, text: str) -> None:
    """Write a caption below the figure, wrapped to its width."""
    width, height = figure.get_size_inches()
    if figure.get_layout_engine() is None:
        figure.subplots_adjust(bottom=_BELOW_AXES / height)
    lines = textwrap.wrap(text, int(15 * width))  # characters of size 8
    figure.text(0.01, -0.08 / height, "\n".join(lines), fontsize=8, color=GREY, va="top")


def save(figures: Mapping[str, Figure], folder: Path) -> list[Path]:
    """Write each figure as SVG and PNG, each file completely or not at all; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    with matplotlib.rc_context(STYLE):
        for name, figure in figures.items():
            # Lay out and measure once: savefig would do both again for each format.
            if (layout := figure.get_layout_engine()) is not None:
                layout.execute(figure)
                figure.set_layout_engine(None)  # with "none", savefig would draw twice
            box = figure.get_tightbbox().padded(_PADDING)
            for suffix, options in _OPTIONS.items():
                path = folder / f"{name}.{suffix}"
                with replacing(path, "wb") as file:
                    figure.savefig(
                        file,
                        format=suffix,
                        dpi=DOTS_PER_INCH,
                        bbox_inches=box,
                        facecolor="white",
                        **options,
                    )
                files.append(path)
    return files
