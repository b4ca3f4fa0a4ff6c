"""How every figure looks, and how it becomes a PNG and an SVG."""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from alexnet.files import replacing

# Okabe and Ito's colours, told apart with any colour vision; black and a brown close the row.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D46")
GREY = "#5F6368"
DOTS_PER_INCH = 160
_PADDING = 0.1  # inches

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
    "svg.fonttype": "none",  # text stays text: smaller, and found by a search
    "svg.hashsalt": "alexnet",  # the same figure again is the same file
}


def caption(figure: Figure, text: str) -> None:
    """Write what a reader must know to read the figure below it, wrapped to its width."""
    width = int(figure.get_figwidth() * 15)  # characters of size 8 to the width of the figure
    figure.text(
        0.01, -0.02, "\n".join(textwrap.wrap(text, width)), fontsize=8, color=GREY, va="top"
    )


def save(figures: Mapping[str, Figure], folder: Path) -> list[Path]:
    """Write each figure as SVG and as PNG, whole or not at all, and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    with matplotlib.rc_context(STYLE):
        for name, figure in figures.items():
            # Lay out and measure once: savefig would do both again for each format.
            figure.draw_without_rendering()
            figure.set_layout_engine("none")
            box = figure.get_tightbbox().padded(_PADDING)
            for suffix, metadata in (("svg", {"Date": None}), ("png", {"Software": None})):
                path = folder / f"{name}.{suffix}"
                with replacing(path, "wb") as file:
                    figure.savefig(
                        file,
                        format=suffix,
                        dpi=DOTS_PER_INCH,
                        bbox_inches=box,
                        facecolor="white",
                        metadata=metadata,
                    )
                files.append(path)
    return files
