import csv
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from alexnet.config.schema import ConfigError, EvaluationConfig
from alexnet.evaluation.ensemble import Member
from alexnet.evaluation.errors import TOP, Tally, credits, interval
from alexnet.files import cell, replacing
from alexnet.model import SavedNet


def check_places(config: EvaluationConfig) -> None:
    """Raise ConfigError if a requested file cannot be written, before hours of work."""
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
            for each in made:  # removed again, because the request may still be refused
                each.rmdir()
        except OSError as error:
            raise ConfigError(f"{key}: {folder} cannot be created: {error.strerror}") from error


Write = Callable[[Iterable[Any], Tensor, Tensor | None], None]


@contextmanager
def predictions_file(file: str | None, names: Sequence[str]) -> Iterator[Write]:
    """Give the block a function that writes a batch: images, probabilities, and labels if known.

    The file appears when it is complete.
    """
    if file is None:
        yield lambda images, probabilities, labels: None
        return
    path = Path(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    count = min(TOP, len(names))
    # File names need not be valid Unicode.
    with replacing(path, newline="", encoding="utf-8", errors="surrogateescape") as opened:
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
                writer.writerow(map(cell, [image, *truth, *itertools.chain(*pairs)]))

        yield write


def as_table(config: EvaluationConfig, tally: Tally) -> str:
    """Format the errors with their intervals, a line for each."""
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
    """Format a count: 1,234, or 1,234.50 if classes tie."""
    return f"{wrong:,.0f}" if wrong == round(wrong) else f"{wrong:,.2f}"


def describe(
    config: EvaluationConfig, saved: Sequence[SavedNet], members: Sequence[Member], tally: Tally
) -> dict[str, Any]:
    """Return the content of the JSON file: errors by metric, and what was evaluated."""
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
