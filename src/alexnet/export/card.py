"""Model cards in the Hugging Face Hub's layout: YAML, then Markdown. Nothing is uploaded."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from alexnet import __version__
from alexnet.config.check import read_stored, resolved
from alexnet.config.names import flatten
from alexnet.files import replacing
from alexnet.folders.files import read_json
from alexnet.folders.run import RunDir
from alexnet.folders.sweep import SweepDir, find_checkpoint, run_of
from alexnet.model import SavedNet, read_checkpoint
from alexnet.results.names import printed_data, printed_level
from alexnet.results.parts import Table
from alexnet.results.statistics import exact_interval, t_interval
from alexnet.vocabulary import METRICS, TEN_VIEWS_ERROR, TEST_ERROR

log = logging.getLogger(__name__)

_PAPER = """\
@inproceedings{krizhevsky2012imagenet,
  title     = {ImageNet Classification with Deep Convolutional Neural Networks},
  author    = {Krizhevsky, Alex and Sutskever, Ilya and Hinton, Geoffrey E.},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {25},
  pages     = {1097--1105},
  year      = {2012},
  url       = {https://papers.nips.cc/paper/4824}
}"""
_SOFTWARE = f"""\
@software{{alexnet_lab,
  title   = {{AlexNet Lab}},
  author  = {{{{AlexNet Lab contributors}}}},
  version = {{{__version__}}},
  url     = {{https://github.com/alexnet-lab/alexnet-lab}}
}}"""

# By the data module's class: the name on the Hub, a description, and a limit of use.
_DATA = {
    "CIFAR10": (
        "uoft-cs/cifar10",
        "60,000 photographs of 32 x 32 pixels in 10 classes, 10,000 of them for the test.",
        "Photographs of other sizes are reduced to 32 x 32 pixels. The network assigns one of the "
        "ten classes to any image, including images of something else.",
    ),
    "ImageNet": (
        "ILSVRC/imagenet-1k",
        "ILSVRC-2012: 1.2 million photographs in 1000 classes. The official validation set is the "
        "test set here; validation images are cut from the training set.",
        "ImageNet's photographs and labels are known to be unrepresentative of people and places. "
        "Do not use the network to judge people.",
    ),
    "MNIST5k": (
        "ylecun/mnist",
        "5,000 handwritten digits of MNIST, 28 x 28 pixels: 4,000 for training, 500 for "
        "validation, 500 for the test. The paper does not use them.",
        "500 test images: the interval of the error is wide.",
    ),
    "Synthetic": (None, "Generated images, for trial runs.", "It has learned nothing useful."),
}
_MOST_NAMED = 20
_PLACES = ("outputs=", "data.root=")
_NOT_OF_THE_RECIPE = ("data.root", "data.workers", "data.verify")


def write_card(source: Path, dest: Path, *, allow: set[str]) -> None:
    """Write the card of one run, from its folder and the report of its sweep.

    Raises FileNotFoundError if there is no such run, ValueError if it is not finished or its files
    are damaged.
    """
    checkpoint = find_checkpoint(source)
    run = run_of(checkpoint)
    if run is None or not run.is_finished:
        raise ValueError(
            f"{source} is {'not the folder of a run' if run is None else 'not finished'}: a model "
            "card reports what a finished run has measured. Give the folder of a finished run"
        )
    saved = read_checkpoint(checkpoint, allow=allow)
    text = _card(run, saved)
    dest.parent.mkdir(parents=True, exist_ok=True)
    with replacing(dest, encoding="utf-8") as file:
        file.write(text)
    log.info("%s  model card of %s", dest, run.path)


def _card(run: RunDir, saved: SavedNet) -> str:
    config, result = resolved(read_stored(run.config)), run.read_result()
    data = _class_name(config.get("data", {}))
    hub_name, what_data, limit = _DATA.get(data, (None, f"The data module {data}.", None))
    arm = ", ".join(printed_level(k, v) for k, v in result.get("arm", {}).items())
    network = _class_name(saved.model)
    title = f"{network} on {printed_data(data)}" + (f": {arm}" if arm else "")
    parameters = sum(value.numel() for value in saved.state.values() if value.is_floating_point())
    return "\n\n".join(
        [
            f"---\n{_front_matter(title, network, data, hub_name, result)}---",
            f"# {title}",
            f"{network} of [AlexNet Lab](https://github.com/alexnet-lab/alexnet-lab) "
            f"{__version__}, which reproduces the experiments of [Krizhevsky, Sutskever and Hinton "
            f"(2012)](https://papers.nips.cc/paper/4824). {parameters:,} parameters; it takes RGB "
            f"images of {saved.image_size} x {saved.image_size} pixels, in 0..255 less the mean "
            f"image, and returns logits of {saved.num_classes} classes.",
            *_use(),
            "## Data",
            " ".join([what_data, *_data_facts(run, config, saved)]),
            "## Recipe",
            *_recipe(run, config, result),
            "## Results",
            *_results(run, result),
            "## Limits",
            "\n".join(f"- {line}" for line in _limits(config, result, network, data, limit)),
            "## Citation",
            f"```bibtex\n{_PAPER}\n\n{_SOFTWARE}\n```\n",
        ]
    )


def _front_matter(
    title: str, network: str, data: str, hub_name: str | None, result: Mapping[str, Any]
) -> str:
    """Return the Hub's metadata, whose metric is accuracy; the text below it reports errors."""
    content: dict[str, Any] = {
        "license": "mit",
        "library_name": "alexnet-lab",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "alexnet", network.lower(), "reproducibility"],
    }
    if hub_name:
        content["datasets"] = [hub_name]
    error = result["metrics"].get(TEST_ERROR)
    if error is not None:
        content["metrics"] = ["accuracy"]
        measured = {
            "task": {"type": "image-classification", "name": "Image Classification"},
            "dataset": {
                "type": hub_name or data.lower(),
                "name": printed_data(data),
                "split": "test",
            },
            "metrics": [{"type": "accuracy", "value": round(1 - error, 6), "name": "Accuracy"}],
        }
        content["model-index"] = [{"name": title, "results": [measured]}]
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def _use() -> Iterator[str]:
    yield (
        "```python\nimport alexnet\n\nnet = alexnet.load(PATH)  # a run folder, a checkpoint or a "
        "safetensors file\nlogits = net(net.preprocess(image))  # a file or a Pillow image\n```"
    )


def _data_facts(run: RunDir, config: Mapping[str, Any], saved: SavedNet) -> Iterator[str]:
    data = config.get("data", {})
    if saved.class_names and len(saved.class_names) <= _MOST_NAMED:
        yield f"Classes: {', '.join(saved.class_names)}."
    if data.get("fraction", 1.0) != 1:
        yield f"Trained on {100 * data['fraction']:g} % of each class's training images."
    if data.get("augmentation", "none") != "none":
        yield f"Views: `data.augmentation={data['augmentation']}` (section 4.1)."
    known = run.read_provenance().get("data")
    if known:
        yield f"Fingerprint of the files: `{known.get('fingerprint')}`."


def _recipe(run: RunDir, config: Mapping[str, Any], result: Mapping[str, Any]) -> Iterator[str]:
    provenance = run.read_provenance()
    if words := str(provenance.get("command") or "").split():
        # Paths on the author's machine are of no use to others.
        yield f"```\n{' '.join(word for word in words if not word.startswith(_PLACES))}\n```"
    flat = flatten({key: config.get(key, {}) for key in ("model", "data", "learning", "trainer")})
    lines = []
    for section in ("model", "data", "learning", "trainer"):
        settings = ", ".join(
            f"`{key.partition('.')[2]}={value}`"
            for key, value in flat.items()
            if key.startswith(f"{section}.")
            and value not in (None, {}, "")
            and key not in _NOT_OF_THE_RECIPE
        )
        lines.append(f"- {section}: {settings}")
    lines.append(f"- seed: `{result.get('seed', config.get('seed'))}`")
    yield "\n".join(lines)
    versions = provenance.get("versions", {})
    hardware = provenance.get("hardware", {})
    where = [*hardware.get("gpus", []), hardware.get("cpu")]
    told = [
        f"{result['epochs']:g} epochs" if "epochs" in result else "",
        f"{result['seconds'] / 60:,.1f} minutes" if "seconds" in result else "",
        f"on {where[0]}" if where and where[0] else "",
        f"commit {str(provenance['commit'])[:12]}" if provenance.get("commit") else "",
        ", ".join(
            f"{name} {versions[name]}" for name in ("torch", "lightning") if name in versions
        ),
    ]
    yield "; ".join(filter(None, told)) + "."


def _results(run: RunDir, result: Mapping[str, Any]) -> Iterator[str]:
    rows = list(_rows(run, result))
    yield str(Table(("measured", "value", "95 % interval", "over"), rows))
    yield (
        "Errors are per cent of the images. An interval over images (Clopper and Pearson) says "
        "nothing about other seeds; an interval over seeds is a t-interval of their mean. The test "
        "images were used once, after training."
    )
    verdict = read_json(SweepDir(run.path.parent).report / "verdict.json")
    for claim in verdict.get("claims", []):
        direction = claim.get("direction") or {}
        word = direction.get("verdict") or "not judged"
        if direction.get("analogue"):  # not in the setting of the claim
            word = f"analogue: {direction['analogue']}"
        text = " ".join(str(claim.get("text")).split())
        yield f"The sweep `{verdict.get('experiment')}` on the claim \u201c{text}\u201d: {word}."


def _rows(run: RunDir, result: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    images: int = result.get("test_images") or 0
    for key, value in result["metrics"].items():
        metric = METRICS.get(key)
        if metric is None or not metric.is_fraction:
            continue
        of_test = metric.stage == "test" and images > 0
        interval = exact_interval(value * images, images) if of_test else None
        yield (
            f"{metric.printed}, this run",
            _percent(value),
            _interval(interval),
            f"{images:,} images" if of_test else "-",
        )
    evaluation = run.read_evaluation()
    for key, its in (("test/error", TEN_VIEWS_ERROR), ("test/error_top5", "ten_views/error_top5")):
        value = evaluation.get("metrics", {}).get(key)
        if evaluation.get("crops") == 10 and value is not None:
            count = evaluation["images"]
            interval = exact_interval(value * count, count)
            name = f"{METRICS[its].printed}, this run"
            yield name, _percent(value), _interval(interval), f"{count:,} images"
    for key, values in _over_seeds(run, result).items():
        if len(values) > 1:
            yield (
                f"{METRICS[key].printed}, mean",
                _percent(sum(values) / len(values)),
                _interval(t_interval(values)),
                f"{len(values)} seeds",
            )


def _over_seeds(run: RunDir, result: Mapping[str, Any]) -> dict[str, list[float]]:
    """Return the errors of all finished runs of the same arm in the sweep."""
    found: dict[str, list[float]] = {}
    for other in SweepDir(run.path.parent).runs():
        if not other.is_finished:
            continue
        its = other.read_result()
        if its.get("arm") == result.get("arm"):
            for key, value in its["metrics"].items():
                if key in METRICS and METRICS[key].stage in ("val", "test"):
                    found.setdefault(key, []).append(value)
    return {key: values for key, values in found.items() if METRICS[key].is_fraction}


def _limits(
    config: Mapping[str, Any],
    result: Mapping[str, Any],
    network: str,
    data: str,
    limit: str | None,
) -> Iterator[str]:
    trainer = config.get("trainer", {})
    cut = [
        f"`trainer.{key}={trainer[key]}`"
        for key in ("limit_train_batches", "limit_val_batches", "limit_test_batches")
        if trainer.get(key) is not None
    ]
    if cut:
        yield f"This was a trial run on a few batches per epoch ({', '.join(cut)}), not evidence."
    yield "Trained for research into the paper's claims, not for use in a product."
    if limit:
        yield limit
    if network != "AlexNet":
        yield (
            "The paper does not say which network it used on CIFAR-10; this one is a guess "
            "(docs/deviations.md)."
        )
    elif data != "ImageNet":
        yield "The paper's network on other data than the paper's: its errors are not the paper's."
    if "test_images" not in result:
        yield ("This run did not record the number of its test images, so there is no interval.")
    yield "Other seeds give other weights and errors; this is a single run."


def _class_name(section: Mapping[str, Any]) -> str:
    return str(section.get("_target_", "")).rpartition(".")[2]


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f} %"


def _interval(ends: tuple[float, float] | None) -> str:
    return f"{_percent(ends[0])} to {_percent(ends[1])}" if ends else "-"
