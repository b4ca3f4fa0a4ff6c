import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from alexnet import __version__
from alexnet.config.schema import ConfigError, EvaluationConfig
from alexnet.data.batches import LabelledImages
from alexnet.evaluation import spread
from alexnet.evaluation.inputs import load_all, outputs_in_order
from alexnet.export.live.steps import Bits, base64_of, encoded, round_weights, steps_of
from alexnet.files import replacing
from alexnet.folders.run import RunDir
from alexnet.folders.sweep import SweepDir, find_checkpoint, run_of
from alexnet.plotting import COLOURS
from alexnet.results.names import printed_data, printed_level
from alexnet.vocabulary import TEST_ERROR

if TYPE_CHECKING:
    from markupsafe import Markup

    from alexnet.data.image_module import ImageModule
    from alexnet.model import SavedNet

log = logging.getLogger(__name__)

LARGEST = 1_000_000
"""Maximum size of a page in bytes."""

COMPARED = 1000
"""Number of test images on which rounded weights are compared with the trained ones."""

_BITS: tuple[Bits, ...] = (16, 8)
_DIGITS = tuple(str(digit) for digit in range(10))
_SAMPLES = 10


@dataclass(frozen=True, kw_only=True)
class LiveRun:
    """A network of the page: its file, its arm and seed, and its test error if known."""

    checkpoint: Path
    label: str
    seed: int | None
    error: float | None


@dataclass(frozen=True, kw_only=True)
class _Deviation:
    """How far probabilities with rounded weights are from those with trained weights."""

    largest: float
    mean: float
    same_class: float


def chosen_runs(source: Path) -> list[LiveRun]:
    """Choose the runs of a page: in a sweep, the finished run with the lowest seed of each arm.

    For a run folder or a checkpoint it is that run. Raises FileNotFoundError if there is none.
    """
    sweep = SweepDir(source)
    planned: Mapping[str, Any] = sweep.read_plan().get("runs", {}) if source.is_dir() else {}
    if not planned:
        return [_live(find_checkpoint(source))]
    chosen: dict[str, tuple[int, LiveRun]] = {}
    for name, plan in planned.items():
        run, arm, seed = sweep.run(name), json.dumps(plan["arm"], sort_keys=True), plan["seed"]
        is_lower = arm not in chosen or seed < chosen[arm][0]
        if run.is_finished and run.last_checkpoint.is_file() and is_lower:
            chosen[arm] = seed, _live(run.last_checkpoint)
    if not chosen:
        raise FileNotFoundError(f"{source} is a sweep without a finished run that has a checkpoint")
    return [live for _, live in chosen.values()]


def _live(checkpoint: Path) -> LiveRun:
    run = run_of(checkpoint) or RunDir(checkpoint.absolute().parent.parent)
    result = run.read_result()
    arm = result.get("arm", {})
    label = ", ".join(printed_level(key, level) for key, level in arm.items()) or "the network"
    return LiveRun(
        checkpoint=checkpoint,
        label=label,
        seed=result.get("seed"),
        error=result.get("metrics", {}).get(TEST_ERROR),
    )


def write_live(
    dest: Path, runs: Sequence[LiveRun], nets: Sequence["SavedNet"], config: EvaluationConfig
) -> None:
    """Write the page, and log its content and accuracy.

    `config` names the test images on which the accuracy of the rounded weights is measured. Raises
    ConfigError if the classes of the networks and the images differ, if a network cannot run in a
    page, or if the page would be larger than LARGEST.
    """
    trained = [each.build() for each in nets]
    for net in trained:
        steps_of(net)  # refuses unsupported layers before the data are loaded
    if len({each.class_names for each in nets}) > 1:
        raise ConfigError("these networks have different classes: export them one by one")
    data = load_all(config, nets)
    if outputs_in_order(nets[0], data[0].class_names) is not None:
        raise ConfigError("these networks have their classes in another order than the data")
    # Whole images, which the page crops as the evaluation does.
    store = data[0].load_test()
    rows = spread(COMPARED, np.arange(len(store)))
    images = store[rows]
    for bits in _BITS:
        deviations = [
            _compared(net, round_weights(saved.build(), bits), its_data, rows)
            for saved, net, its_data in zip(nets, trained, data, strict=True)
        ]
        text = _page(runs, nets, bits, deviations, images, data[0])
        if (size := len(text.encode())) <= LARGEST:
            break
    else:
        raise ConfigError(
            f"the page would have {size / 1e6:.1f} MB, more than {LARGEST / 1e6:g}, even with "
            f"8-bit weights, because it contains {len(runs)} networks: give the folder of one run"
        )
    dest.parent.mkdir(parents=True, exist_ok=True)
    with replacing(dest, encoding="utf-8") as file:
        file.write(text)
    lines = [f"  {run.label}: {_told(each)}" for run, each in zip(runs, deviations, strict=True)]
    log.info("%s  %.2f MB, weights of %d bits\n%s", dest, size / 1e6, bits, "\n".join(lines))


@torch.no_grad()
def _compared(
    trained: nn.Module, rounded: nn.Module, data: "ImageModule", rows: np.ndarray
) -> _Deviation:
    batches = data.evaluation_loader("test", rows=rows)
    inputs = torch.cat([data.to_input(views[:, 0]) for views, *_ in batches])
    exact, found = (
        torch.cat([net(part).double().softmax(1) for part in inputs.split(100)])
        for net in (trained, rounded)
    )
    difference = (exact - found).abs()
    return _Deviation(
        largest=float(difference.max()),
        mean=float(difference.mean()),
        same_class=float((exact.argmax(1) == found.argmax(1)).double().mean()),
    )


def _told(each: _Deviation) -> str:
    return (
        f"probabilities differ by {each.largest:.1e} at most, {each.mean:.1e} on average; the same "
        f"class for {100 * each.same_class:.1f} % of the images"
    )


def _page(
    runs: Sequence[LiveRun],
    nets: Sequence["SavedNet"],
    bits: Bits,
    deviations: Sequence[_Deviation],
    images: LabelledImages,
    data: "ImageModule",
) -> str:
    pixels, labels = images.images, images.labels
    views: list[dict[str, Any]] = []
    arms = []
    for run, saved in zip(runs, nets, strict=True):
        mean = saved.view_mean
        view = {
            "full": pixels.shape[-1],
            "pixels": mean.shape[-1],
            "size": saved.image_size,
            "mean": base64_of(mean.numpy().astype("<f4")),
        }
        if view not in views:
            views.append(view)
        arms.append(
            {
                "label": run.label,
                "about": _about(run),
                "view": views.index(view),
                "steps": encoded(steps_of(saved.build()), bits),
            }
        )
    is_grey = pixels.shape[1] == 1
    names = data.class_names
    samples = [
        {"label": int(labels[row]), "pixels": base64_of(pixels[row])}
        for row in _one_of_each_class(labels)
    ]
    content = {
        "classes": list(names),
        "full": pixels.shape[-1],
        "grey": is_grey,
        "digits": names == _DIGITS and is_grey,
        "views": views,
        "arms": arms,
        "samples": samples,
    }
    name = printed_data(type(data).__name__)
    return _rendered(
        title=f"{name}, live: {'networks' if len(runs) > 1 else 'a network'} in your browser",
        subtitle=(
            f"{type(nets[0].build()).__name__} of AlexNet Lab, trained on {name} "
            f"({len(names)} classes, images of {pixels.shape[-1]} x {pixels.shape[-1]} pixels). "
            f"{'They run' if len(runs) > 1 else 'It runs'} in this page."
        ),
        digits=content["digits"],
        kernels=len(steps_of(nets[0].build())[1]["weight"]),
        grey=is_grey,
        exactness=(
            f"The weights are rounded to {bits}-bit integers, with a scale for each output, so "
            f"that the page stays small. On {len(pixels):,} test images, against the trained "
            f"weights in torch {torch.__version__}:"
        ),
        deviations=list(zip(runs, deviations, strict=True)),
        data=_embedded(content),
    )


def _about(run: LiveRun) -> str:
    seed = f"Seed {run.seed}" if run.seed is not None else ""
    error = f"test error {100 * run.error:.1f} %" if run.error is not None else ""
    return ", ".join(filter(None, (seed, error)))


def _one_of_each_class(labels: np.ndarray) -> list[int]:
    """Return the row of the first image of each class, for at most _SAMPLES classes."""
    first = {int(label): row for row, label in reversed(list(enumerate(labels)))}
    return [first[label] for label in sorted(first)[:_SAMPLES]]


def _embedded(content: Mapping[str, Any]) -> "Markup":
    """Encode JSON for a script element, escaped so that no name in it can end the element."""
    from markupsafe import Markup

    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def _rendered(**content: Any) -> str:
    """Render the page in the style of the reports."""
    import jinja2
    from markupsafe import Markup

    loader = jinja2.ChoiceLoader(
        [
            jinja2.PackageLoader("alexnet.export.live", "static"),
            jinja2.PackageLoader("alexnet.results.page", "static"),
        ]
    )
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.globals |= {
        "colours": COLOURS,
        "static": lambda name: Markup(loader.get_source(environment, name)[0]),
        "version": __version__,
    }
    return environment.get_template("live.html.j2").render(**content)
