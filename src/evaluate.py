"""What trained networks are worth: errors, predictions, and the paper's Figures 3 and 4.

    python src/evaluate.py checkpoint=A[,B,...] [key=value ...]

checkpoint   a file, or the folder of a run (then its last.ckpt, whose errors result.json has);
             several, with a comma between them, are an ensemble
data         a data set as for train.py, with its keys: data=cifar10 data.root=FOLDER. Left out, it
             is what the run was trained on in whose folder the first checkpoint lies
split        test (default) or val
crops        1: the central view (default). 10: the corners, the centre and their reflections
weights      of the checkpoints, as 2,1; equal if left out, and divided by their sum
images       a folder of images instead of a split: no labels, predictions only
predictions  a CSV file: every image once, with its five best labels and their probabilities
out          a JSON file: the errors with their intervals, and what they are of
figures      a folder: Figure 3 (kernels of conv1), Figure 4 (predictions, nearest neighbours)
neighbours_among  the nearest of so many training images, evenly spread over all (10000)
layout       alexnet_lab (default): our checkpoints. torchvision or caffe: see below

The mean image, the class names and the kind of view (data.augmentation, unless given) come out of
the checkpoint. Classes in another order are put in order; other classes are refused.

Softmax is averaged over views, then over checkpoints. Classes that tie share the places left to
them, as in the program of 2012: of two that tie for the first place each has half of it, and so
half an error. Errors are over all images of the split, each once, with Wilson's 95 % interval: what
these images tell of all images like them, and nothing about other seeds.

layout=torchvision is torchvision.models.alexnet, of any widths. Its padding, and the mean and the
standard deviation of its pixels, are computed exactly. Give data.augmentation=crop224 with images
of 256 pixels, as it was trained.

layout=caffe is any AlexNet of ours under Caffe's names, whose conv1 takes BGR; model=alexnet with
its options says which. Caffe's mean colour is subtracted. What comes nearest to bvlc_alexnet has
model.lrn_k=1 model.lrn_alpha_is_divided_by_size=true model.dropout_is_inverted=true. Two
differences remain: its normalization also crosses from one column to the other, and its crops have
227 pixels where ours have 224 and then 3 of zeros. CaffeNet pools before it normalizes, which ours
cannot.
"""

import csv
import itertools
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException, InstantiationException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from alexnet import config as configuration
from alexnet.config import CONF, ConfigError, EvaluationConfig
from alexnet.rundir import Exit, find_checkpoint, run_of, write_json
from alexnet.suggest import explain_hydra

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from alexnet.data.image_module import ImageModule
    from alexnet.evaluation import Member, Tally
    from alexnet.model import SavedNet

log = logging.getLogger("alexnet.evaluate")

T = TypeVar("T")

PATHS = ("images", "predictions", "out", "figures")
AS_TRAINED = "as_trained"
FIGURE_4_LEFT, FIGURE_4_RIGHT, NEIGHBOURS = 8, 5, 6  # images, queries and columns in the paper


def main(arguments: Sequence[str]) -> int:
    """The command line; see the module's text."""
    if not arguments or {"-h", "--help"} & set(arguments):
        print((__doc__ or "").strip())
        return Exit.FINISHED if arguments else Exit.WRONG
    logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stdout)
    try:
        request = compose_request(arguments)
        saved = read_checkpoints(request)
        return evaluate(compose_data(arguments, saved), saved)
    except (HydraException, OmegaConfBaseException, ValueError, OSError) as error:
        if "HYDRA_FULL_ERROR" in os.environ:
            raise
        if isinstance(error, HydraException | OmegaConfBaseException):
            text = explain_hydra(error, configuration.sections(EvaluationConfig))
        else:
            text = str(error)
    for line in text.splitlines():
        print(f"error: {line}", file=sys.stderr)
    print("See python src/evaluate.py --help", file=sys.stderr)
    return Exit.WRONG


def compose_request(arguments: Sequence[str]) -> EvaluationConfig:
    """What is asked, without data: which they are depends on the checkpoints."""
    words = [word for word in map(_in_hydras_grammar, arguments) if not _is_of_data(word)]
    return _compose(words)


def compose_data(arguments: Sequence[str], saved: Sequence["SavedNet"]) -> EvaluationConfig:
    """The same with data: as named, else as the run had them whose folder the checkpoint lies in.

    How images are viewed and how large they become is up to the network.
    """
    words = [_in_hydras_grammar(word) for word in arguments]
    keys = {word.partition("=")[0].lstrip("+") for word in words}
    if "data.image_size" in keys:
        raise ConfigError("data.image_size is not for the command line here: the network has one")
    if "data" not in keys:
        first = saved[0].path
        if (run := run_of(first)) is None:
            raise ConfigError(f"data=NAME is missing: {first} does not lie in the folder of a run")
        trained_on = OmegaConf.load(run.config)
        ConfigStore.instance().store(group="data", name=AS_TRAINED, node=trained_on.data)
        words.insert(0, f"data={AS_TRAINED}")
    views = {each.augmentation for each in saved}
    if "data.augmentation" not in keys and views != {None}:
        if len(views) > 1:
            raise ConfigError(
                "these checkpoints have learnt from different views, data.augmentation="
                f"{', '.join(sorted(map(str, views)))}: evaluate them one by one"
            )
        words.append(f"data.augmentation={views.pop()}")
    return _compose([*words, f"data.image_size={saved[0].image_size}"])


def read_checkpoints(request: EvaluationConfig) -> list["SavedNet"]:
    """The networks, which must be of the same classes."""
    from alexnet.model import read_checkpoint

    model = request.model.plain() if request.model else None
    return [
        read_checkpoint(find_checkpoint(Path(path)), layout=request.layout, model=model)
        for path in request.checkpoint
    ]


def evaluate(config: EvaluationConfig, saved: Sequence["SavedNet"]) -> Exit:
    """Predict, count, and write what was asked for."""
    import torch

    from alexnet.evaluation import Tally, predictions

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    data = [_load_data(config, each) for each in saved]
    members = _members(config, saved, data, device)
    loader = data[0].evaluation_loader(config.split, views=config.crops)
    _announce(config, saved, members, data[0])
    tally = Tally()
    with _predictions_file(config.predictions, data[0].class_names) as write:
        batches = predictions(members, loader, device=device)
        for probabilities, labels in _with_progress(batches, total=len(loader)):
            write(map(str, range(tally.images, tally.images + len(labels))), probabilities, labels)
            tally.add(probabilities, labels)
    assert tally.images == data[0].size_of(config.split)

    result = _describe(config, saved, members, tally)
    print(_as_table(config, tally))
    if config.out:
        write_json(Path(config.out), result)
        print(f"errors: {config.out}")
    if config.predictions:
        print(f"predictions: {config.predictions}")
    if config.figures:
        _draw(config, members[0], data[0], device)
        print(f"figures: {config.figures}")
    return Exit.FINISHED


def _load_data(config: EvaluationConfig, saved: "SavedNet") -> "ImageModule":
    """The part to be evaluated, as this network wants to see it."""
    import hydra

    assert config.data is not None
    settings = config.data.plain() | {"image_size": saved.image_size}
    try:
        data: ImageModule = hydra.utils.instantiate(settings, _convert_="all")
    except InstantiationException as error:
        raise ConfigError(str(error.__cause__ or error)) from error
    data.prepare_data()
    data.setup_evaluation(config.split, saved.mean_image)
    return data


def _members(
    config: EvaluationConfig,
    saved: Sequence["SavedNet"],
    data: Sequence["ImageModule"],
    device: "torch.device",
) -> list["Member"]:
    from alexnet.evaluation import Member

    weights = config.weights or [1.0] * len(saved)
    return [
        Member(
            net=each.build().to(device),
            to_input=its_data.to_input,
            weight=weight,
            outputs=outputs_in_order(each, its_data.class_names),
        )
        for each, its_data, weight in zip(saved, data, weights, strict=True)
    ]


def outputs_in_order(saved: "SavedNet", names: Sequence[str]) -> list[int] | None:
    """For each class of the data the network's output; None: they are in the same order.

    Raises ConfigError if the classes are not the same.
    """
    if saved.class_names is None:
        if saved.num_classes != len(names):
            raise ConfigError(
                f"{saved.path} has {saved.num_classes} classes, the data have {len(names)}"
            )
        log.info("%s does not name its classes: taken to be in the order of the data", saved.path)
        return None
    if saved.class_names == tuple(names):
        return None
    if sorted(saved.class_names) != sorted(names):
        theirs, ours = set(saved.class_names), set(names)
        only_there, only_here = sorted(theirs - ours)[:3], sorted(ours - theirs)[:3]
        raise ConfigError(
            f"{saved.path} knows other classes ({saved.num_classes}, such as "
            f"{', '.join(only_there) or saved.class_names[0]}) than the data have ({len(names)}, "
            f"such as {', '.join(only_here) or names[0]})"
        )
    where = {name: output for output, name in enumerate(saved.class_names)}
    return [where[name] for name in names]


def _draw(
    config: EvaluationConfig, member: "Member", data: "ImageModule", device: "torch.device"
) -> None:
    """Figures 3 and 4, of images that are evenly spread over the split."""
    from alexnet.results.paper_figures import draw_kernels, draw_neighbours, draw_predictions

    from alexnet.evaluation import last_hidden, nearest, predict

    assert config.figures is not None
    folder, net, names = Path(config.figures), member.net, data.class_names
    kernels = net.get_parameter("conv1.weight").detach().cpu().numpy()
    draw_kernels(kernels, columns=getattr(net, "columns", 1), folder=folder)

    chosen = spread(FIGURE_4_LEFT, data.size_of(config.split))
    images, labels = _at_once(data.evaluation_loader(config.split, rows=chosen))
    probabilities = predict([member], images.to(device)).cpu()
    pictures = images[:, 0].numpy()
    draw_predictions(
        pictures,
        labels=labels.tolist(),
        names=names,
        probabilities=probabilities.numpy(),
        folder=folder,
    )

    def features(views: "Tensor") -> "Tensor":
        return last_hidden(net, member.to_input(views[:, 0].to(device)))

    data.setup_evaluation("train", data.mean_image)
    among = spread(config.neighbours_among, data.size_of("train"))
    loader = data.evaluation_loader("train", rows=among)
    batches = _with_progress((features(views) for views, _ in loader), total=len(loader))
    queries = features(images[:FIGURE_4_RIGHT])
    distances, numbers = nearest(queries, batches, count=NEIGHBOURS)
    rows = among[numbers.cpu().numpy()]  # (queries, neighbours)
    found, their_labels = _at_once(data.evaluation_loader("train", rows=rows.flatten()))
    draw_neighbours(
        pictures[:FIGURE_4_RIGHT],
        neighbours=found[:, 0].unflatten(0, rows.shape).numpy(),
        query_labels=[names[label] for label in labels[:FIGURE_4_RIGHT]],
        neighbour_labels=[
            [names[label] for label in row] for row in their_labels.view(rows.shape).tolist()
        ],
        distances=distances.cpu().numpy(),
        folder=folder,
    )
    log.info("Figure 4, right: the nearest of %s training images", f"{len(among):,}")


def _at_once(batches: Iterable[Sequence["Tensor"]]) -> tuple["Tensor", "Tensor"]:
    import torch

    images, labels = (torch.cat(each) for each in zip(*batches, strict=True))
    return images, labels


def spread(count: int, total: int) -> "np.ndarray":
    """At most `count` row numbers of `total`, evenly spread: of images in order of class, all."""
    import numpy as np

    return np.arange(total) if count >= total else np.arange(count) * total // count


Write = Callable[[Iterable[str], "Tensor", "Tensor"], None]


@contextmanager
def _predictions_file(file: str | None, names: Sequence[str]) -> Iterator[Write]:
    """A function that writes a batch: names of images, probabilities, labels.

    The file appears when it is complete.
    """
    from alexnet.evaluation import TOP, credits

    if file is None:
        yield lambda images, probabilities, labels: None
        return
    path = Path(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    count = min(TOP, len(names))
    with partial.open("w", newline="") as opened:
        writer = csv.writer(opened)
        best = [(f"class_{i}", f"probability_{i}") for i in range(1, count + 1)]
        shared = ("right_top1_ties_shared", "right_top5_ties_shared")
        writer.writerow(["image", "true_class", *shared, *itertools.chain(*best)])

        def write(images: Iterable[str], probabilities: "Tensor", labels: "Tensor") -> None:
            right = [credits(probabilities, labels, k).tolist() for k in (1, TOP)]
            values, classes = (each.tolist() for each in probabilities.topk(count))
            for row, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
                found = zip(classes[row], values[row], strict=True)
                pairs = ((names[output], f"{value:.6g}") for output, value in found)
                credit = (f"{each[row]:g}" for each in right)
                writer.writerow([image, names[label], *credit, *itertools.chain(*pairs)])

        yield write
    os.replace(partial, path)


def _with_progress(batches: Iterable[T], *, total: int) -> Iterator[T]:
    """The same, with a bar on a terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    yield from track(
        batches, "evaluating", total=total, console=console, transient=True,
        disable=not console.is_terminal,
    )  # fmt: skip


def _announce(
    config: EvaluationConfig,
    saved: Sequence["SavedNet"],
    members: Sequence["Member"],
    data: "ImageModule",
) -> None:
    for each, member in zip(saved, members, strict=True):
        steps = f", after {each.steps:,} steps" if each.steps is not None else ""
        weight = f", weight {member.weight:g}" if len(members) > 1 else ""
        log.info("%s%s%s", each.path, steps, weight)
    log.info(
        "%s: %s images of %s, %s, data.augmentation=%s",
        config.split, f"{data.size_of(config.split):,}", type(data).__name__,
        "the central view of each" if config.crops == 1 else f"{config.crops} views of each",
        data.augmentation,
    )  # fmt: skip


def _describe(
    config: EvaluationConfig,
    saved: Sequence["SavedNet"],
    members: Sequence["Member"],
    tally: "Tally",
) -> dict[str, Any]:
    """The JSON file: errors under the names that runs give them, and what they are of."""
    from alexnet.evaluation import interval

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


def _as_table(config: EvaluationConfig, tally: "Tally") -> str:
    from alexnet.evaluation import interval

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
    """1,234, or where classes tie 1,234.5."""
    return f"{wrong:,.0f}" if wrong == round(wrong) else f"{wrong:,.2f}"


def _in_hydras_grammar(word: str) -> str:
    """Paths as people type them: checkpoint=a,b -> checkpoint=['a','b']."""
    key, equals, value = word.partition("=")
    if not equals or value[:1] in ("[", "'", '"'):
        return word
    if key == "weights" and value != "null":
        return f"weights=[{value}]"
    if key == "checkpoint":
        return f"checkpoint=[{','.join(map(_quoted, value.split(',')))}]"
    return f"{key}={_quoted(value)}" if key in PATHS else word


def _quoted(text: str) -> str:
    escaped = text.replace("'", r"\'")
    return f"'{escaped}'"


def _is_of_data(word: str) -> bool:
    return word.lstrip("+~").partition("=")[0].partition(".")[0] == "data"


def _compose(words: Sequence[str]) -> EvaluationConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose("evaluate", list(words))
    return configuration.check_evaluation(composed)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)
