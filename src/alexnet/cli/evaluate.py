"""Evaluate trained networks: errors, predictions, and the paper's Figures 3 and 4.

    python src/evaluate.py checkpoint=A[,B,...] [key=value ...]

checkpoint   a file or a run folder (then its last.ckpt, whose errors are in result.json); several,
             separated by commas, form an ensemble
data         a data set with its keys, as for train.py: data=cifar10 data.root=FOLDER. Default: the
             data of the run that the first checkpoint belongs to; for images=FOLDER and a
             checkpoint outside a run folder, imagenet, of which only the settings matter
split        test (default) or val
crops        1: the central view (default). 10: corners, centre and their reflections
weights      weights of the checkpoints, such as 2,1; they are divided by their sum (default: equal)
images       a folder of images, with subfolders, to classify instead of a split: predictions only,
             because there are no labels. An image of the size of the training images is unchanged;
             the central square of any other is scaled to that size (section 2)
predictions  a CSV file to write: every image once, its five best labels and their probabilities
out          a JSON file to write: the errors with their intervals, what was evaluated, and commit,
             versions, hardware and command. Default: none, but ten views of a finished run's own
             test images with its last checkpoint are written to evaluation.json in its folder,
             where the report finds them (Tables 1 and 2)
figures      a folder to write Figure 3 (kernels of conv1) and Figure 4 (predictions, nearest
             neighbours) to, with provenance.json; for several checkpoints, Figure 3 of each, and
             whether one column specializes in colour in every run (section 6.1)
neighbours_among  Figure 4 searches the neighbours among this many training images, evenly spread
             (default: 10000; 0 omits them), by the input of the last layer: fc7 of AlexNet
allow        your classes that a checkpoint names and no configuration file here: allow=my_lab.Net
--config-dir a folder of your own configuration files; the classes that they name are allowed
layout       alexnet_lab (default): checkpoints of this project. torchvision or caffe: see below

The mean image, the class names and the kind of view (data.augmentation, unless given) come from the
checkpoint. If the data have the same classes in another order, the outputs are reordered; other
classes are refused.

Softmax is averaged over views, then over checkpoints. Classes of equal probability share the places
left to them, as in the program of 2012: if two tie for the first place, each has half of it, and
the image counts as half an error. Errors are counted over all images of the split, each once, with
Wilson's 95 % interval. The interval is over images like these; it says nothing about other seeds.

layout=torchvision reads torchvision.models.alexnet, of any widths. The network computes exactly
what torchvision's does, including its padding and the scaling of its pixels.

layout=caffe reads any of our AlexNets under Caffe's parameter names, with a conv1 that takes BGR;
model=alexnet and its options say which network it is. Caffe's mean colour is subtracted. The
nearest to bvlc_alexnet is model.lrn_k=1 model.lrn_alpha_is_divided_by_size=true
model.dropout_is_inverted=true. Two differences remain: its normalization crosses the boundary
between the columns, and its crops have 227 pixels, where ours have 224 and 3 zeros. CaffeNet pools
before it normalizes, which our network cannot do.

Exit status: 0 done; 1 some files in images=FOLDER were not images, listed at the end; 2 the command
was wrong, or a checkpoint or data are missing.
"""

import argparse
import logging
import os
import sys
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from alexnet.cli._composing import check_files, what_to_type
from alexnet.config.check import check_evaluation
from alexnet.config.explain import sections
from alexnet.config.grammar import quoted
from alexnet.config.schema import ConfigError, EvaluationConfig
from alexnet.config.trust import allowed, refuse_strangers, targets_of_files
from alexnet.folders.ending import Exit
from alexnet.folders.sweep import find_checkpoint, run_of
from alexnet.paths import CONF
from alexnet.run.images import contradiction, identify, images_of

if TYPE_CHECKING:
    from alexnet.model import SavedNet

log = logging.getLogger(__name__)

PATHS = ("images", "predictions", "out", "figures")
AS_TRAINED = "as_trained"


def main(arguments: Sequence[str]) -> int:
    """Run the command; the module's docstring is its help."""
    if not arguments or {"-h", "--help"} & set(arguments):
        print((__doc__ or "").strip())
        return Exit.FINISHED if arguments else Exit.WRONG
    logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stdout)
    try:
        check_files()
        arguments, folders = _own_folders(arguments)
        request = compose_request(arguments, folders)
        # Imported late, because torch takes seconds: a mistyped command is refused at once.
        import torch

        from alexnet.evaluation import evaluate
        from alexnet.run.provenance import command_line, provenance

        allow = allowed([*targets_of_files(folders), *request.allow])
        saved = read_checkpoints(request, allow)
        config = compose_data(arguments, saved, folders, allow)
        config = _kept_with_the_run(config, arguments, saved)
        _warn_of_other_images(config, saved)
        origin = provenance(threads=torch.get_num_threads(), command=command_line())
        bad = evaluate(config, saved, origin)
    except (HydraException, OmegaConfBaseException, ValueError, OSError) as error:
        if "HYDRA_FULL_ERROR" in os.environ:
            raise
        text = what_to_type(error, lambda: sections(EvaluationConfig)) or str(error)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    else:
        for text in bad:
            print(f"not an image: {text}", file=sys.stderr)
        return Exit.FAILED if bad else Exit.FINISHED
    for line in text.splitlines():
        print(f"error: {line}", file=sys.stderr)
    print("See python src/evaluate.py --help", file=sys.stderr)
    return Exit.WRONG


def _own_folders(arguments: Sequence[str]) -> tuple[list[str], list[Path]]:
    """Split off --config-dir: return the other words, and the folders of the user's files."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config-dir", "-cd", action="append", type=Path, default=[])
    given, words = parser.parse_known_args(list(arguments))
    for folder in given.config_dir:
        if not folder.is_dir():
            raise ConfigError(f"--config-dir {folder} is not a folder")
    return words, [folder.resolve() for folder in given.config_dir]


def compose_request(arguments: Sequence[str], folders: Sequence[Path] = ()) -> EvaluationConfig:
    """Compose the request without the data, which depend on the checkpoints."""
    words = [word for word in map(_in_hydras_grammar, arguments) if not is_of_data(word)]
    return _compose(words, folders)


def compose_data(
    arguments: Sequence[str],
    saved: Sequence["SavedNet"],
    folders: Sequence[Path] = (),
    allow: Collection[str] = (),
) -> EvaluationConfig:
    """Compose the request with the data: as given, or else those of the first checkpoint's run.

    The views and the size of the images are those of the networks.
    """
    words = [_in_hydras_grammar(word) for word in arguments]
    keys = {word.partition("=")[0].lstrip("+") for word in words}
    if "data.image_size" in keys:
        raise ConfigError("data.image_size cannot be set here: it is the network's input size")
    if "data" not in keys:
        first = saved[0].path
        if run := run_of(first):
            trained_on = _data_of(run.config)
            refuse_strangers(
                OmegaConf.to_container(trained_on), allow or allowed(), str(run.config)
            )
            ConfigStore.instance().store(group="data", name=AS_TRAINED, node=trained_on)
        elif "images" not in keys:
            raise ConfigError(f"data=NAME is missing: {first} does not belong to a run folder")
        words.insert(0, f"data={AS_TRAINED if run else 'imagenet'}")
    views = {each.augmentation for each in saved}
    if "data.augmentation" not in keys and views != {None}:
        if len(views) > 1:
            raise ConfigError(
                "these checkpoints were trained on different views, data.augmentation="
                f"{', '.join(sorted(map(str, views)))}: evaluate them one by one"
            )
        words.append(f"data.augmentation={views.pop()}")
    return _compose([*words, f"data.image_size={saved[0].image_size}"], folders)


def _data_of(file: Path) -> DictConfig:
    """Return the data section of a run. Raises ConfigError with a remedy if the file is damaged."""
    try:
        data = OmegaConf.load(file).data
        if not isinstance(data, DictConfig) or "_target_" not in data:
            raise ValueError("it names no data")
    # OmegaConf and YAML can raise anything for a file that is not a configuration.
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"{file} is damaged ({reason}), so the data of the run are not known: add data=NAME"
        ) from error
    return data


def read_checkpoints(request: EvaluationConfig, allow: Collection[str] = ()) -> list["SavedNet"]:
    """Read the networks of the request."""
    from alexnet.model import read_checkpoint

    model = request.model.plain() if request.model else None
    return [
        read_checkpoint(
            find_checkpoint(Path(path)),
            layout=request.layout,
            model=model,
            allow=allow,
        )
        for path in request.checkpoint
    ]


SAME_IMAGES = ("data.root", "data.verify", "data.workers", "data.batch_size")
"""Keys of data that do not change which images are in the test set."""


def _kept_with_the_run(
    config: EvaluationConfig, arguments: Sequence[str], saved: Sequence["SavedNet"]
) -> EvaluationConfig:
    """Set `out` to the run's evaluation.json for ten views of a finished run's own test images."""
    keys = {word.partition("=")[0] for word in arguments}
    run = run_of(saved[0].path)
    of_data = {key for key in keys if is_of_data(key)}
    is_its_own = (
        run is not None
        and len(saved) == 1
        and saved[0].path.absolute() == run.last_checkpoint
        and of_data <= set(SAME_IMAGES)
    )
    is_asked = config.crops == 10 and config.split == "test" and config.images is None
    if run is None or not is_its_own or not is_asked or "out" in keys:
        return config
    if not run.is_finished or not os.access(run.path, os.W_OK):
        return config
    return config.model_copy(update={"out": str(run.evaluation)})


def _warn_of_other_images(config: EvaluationConfig, saved: Sequence["SavedNet"]) -> None:
    """Warn if the images are not those of the run: only on these are the errors comparable."""
    runs = {str(run.path): run for each in saved if (run := run_of(each.path))}
    trained_on = {name: images for name, run in runs.items() if (images := images_of(run))}
    if config.images or config.data is None or not trained_on:
        return
    with suppress(ValueError, OSError):  # reported when the images are loaded
        here = identify(config.data)
        same = {name: each for name, each in trained_on.items() if here and each.name == here.name}
        if here and (problem := contradiction(here, same)):
            log.warning("%s", problem)


def _in_hydras_grammar(word: str) -> str:
    """Quote paths and lists for Hydra: checkpoint=a,b -> checkpoint=['a','b']."""
    key, equals, value = word.partition("=")
    if not equals or value[:1] in ("[", "'", '"'):
        return word
    if key == "weights" and value != "null":
        return f"weights=[{value}]"
    if key == "checkpoint":
        return f"checkpoint=[{','.join(map(quoted, value.split(',')))}]"
    return f"{key}={quoted(value)}" if key in PATHS else word


def is_of_data(word: str) -> bool:
    """Whether an argument is about the data set."""
    return word.lstrip("+~").partition("=")[0].partition(".")[0] == "data"


def _compose(words: Sequence[str], folders: Sequence[Path] = ()) -> EvaluationConfig:
    paths = ",".join(quoted(f"file://{folder}") for folder in folders)
    own = [f"hydra.searchpath=[{paths}]"] if folders else []
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose("evaluate", [*own, *words])
    return check_evaluation(composed)
