"""Evaluate trained networks: errors, predictions, and the paper's Figures 3 and 4.

    python src/evaluate.py checkpoint=A[,B,...] [key=value ...]

checkpoint   a file, or the folder of a run (then its last.ckpt, whose errors result.json has);
             several, with a comma between them, are an ensemble
data         a data set as for train.py, with its keys: data=cifar10 data.root=FOLDER. Left out, it
             is what the run was trained on in whose folder the first checkpoint lies (or with
             images=FOLDER imagenet, of which only the settings matter)
split        test (default) or val
crops        1: the central view (default). 10: the corners, the centre and their reflections
weights      of the checkpoints, as 2,1; equal if left out, and divided by their sum
images       a folder of images instead of a split, with its folders: no labels, no errors, only
             predictions. An image of the size that the network has learnt from is unchanged; of
             any other the central square is scaled to that size (section 2)
predictions  a CSV file: every image once, with its five best labels and their probabilities
out          a JSON file: the errors with their intervals, and what they are of. Left out, ten views
             of a finished run's own test images, by its last checkpoint, go to evaluation.json in
             its folder, where its report finds them (Tables 1 and 2)
figures      a folder: Figure 3 (kernels of conv1), Figure 4 (predictions, nearest neighbours); of
             several checkpoints, Figure 3 of each, and whether one column specializes in colour
             time after time (section 6.1)
neighbours_among  Figure 4 shows the nearest of so many training images, evenly spread over all
             (10000; 0 leaves them out), by what the last layer sees: fc7 of AlexNet
allow        classes of yours that a checkpoint names and no configuration here: allow=my_lab.Net
--config-dir a folder with configurations of your own: their classes are allowed
layout       alexnet_lab (default): our checkpoints. torchvision or caffe: see below

The mean image, the class names and the kind of view (data.augmentation, unless given) come out of
the checkpoint. Classes in another order are put in order; other classes are refused.

Softmax is averaged over views, then over checkpoints. Classes that tie share the places left to
them, as in the program of 2012: of two that tie for the first place each has half of it, and so
half an error. Errors are over all images of the split, each once, with Wilson's 95 % interval: what
these images tell of all images like them, and nothing about other seeds.

layout=torchvision is torchvision.models.alexnet, of any widths. Its padding, and the mean and the
standard deviation of its pixels, are computed exactly.

layout=caffe is any AlexNet of ours under Caffe's names, whose conv1 takes BGR; model=alexnet with
its options says which. Caffe's mean colour is subtracted. What comes nearest to bvlc_alexnet has
model.lrn_k=1 model.lrn_alpha_is_divided_by_size=true model.dropout_is_inverted=true. Two
differences remain: its normalization also crosses from one column to the other, and its crops have
227 pixels where ours have 224 and then 3 of zeros. CaffeNet pools before it normalizes, which ours
cannot.

Exit status: 0 done; 1 some files in images=FOLDER were no images, listed at the end; 2 the command
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
    """The command line; see the module's text."""
    if not arguments or {"-h", "--help"} & set(arguments):
        print((__doc__ or "").strip())
        return Exit.FINISHED if arguments else Exit.WRONG
    logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stdout)
    try:
        check_files()
        arguments, folders = _own_folders(arguments)
        request = compose_request(arguments, folders)
        # Only now: torch takes seconds; a mistyped command is answered at once.
        from alexnet.evaluation import evaluate

        allow = allowed([*targets_of_files(folders), *request.allow])
        saved = read_checkpoints(request, allow)
        config = compose_data(arguments, saved, folders, allow)
        config = _kept_with_the_run(config, arguments, saved)
        _warn_of_other_images(config, saved)
        bad = evaluate(config, saved)
    except (HydraException, OmegaConfBaseException, ValueError, OSError) as error:
        if "HYDRA_FULL_ERROR" in os.environ:
            raise
        text = what_to_type(error, lambda: sections(EvaluationConfig)) or str(error)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    else:
        for text in bad:
            print(f"no image: {text}", file=sys.stderr)
        return Exit.FAILED if bad else Exit.FINISHED
    for line in text.splitlines():
        print(f"error: {line}", file=sys.stderr)
    print("See python src/evaluate.py --help", file=sys.stderr)
    return Exit.WRONG


def _own_folders(arguments: Sequence[str]) -> tuple[list[str], list[Path]]:
    """The other words, and the folders of --config-dir, where configurations of the user's lie."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config-dir", "-cd", action="append", type=Path, default=[])
    given, words = parser.parse_known_args(list(arguments))
    for folder in given.config_dir:
        if not folder.is_dir():
            raise ConfigError(f"--config-dir {folder} is no folder")
    return words, [folder.resolve() for folder in given.config_dir]


def compose_request(arguments: Sequence[str], folders: Sequence[Path] = ()) -> EvaluationConfig:
    """What is asked, without data: which they are depends on the checkpoints."""
    words = [word for word in map(_in_hydras_grammar, arguments) if not is_of_data(word)]
    return _compose(words, folders)


def compose_data(
    arguments: Sequence[str],
    saved: Sequence["SavedNet"],
    folders: Sequence[Path] = (),
    allow: Collection[str] = (),
) -> EvaluationConfig:
    """The same with data: as named, else as the run had them whose folder the checkpoint lies in.

    How images are viewed and how large they become is up to the network.
    """
    words = [_in_hydras_grammar(word) for word in arguments]
    keys = {word.partition("=")[0].lstrip("+") for word in words}
    if "data.image_size" in keys:
        raise ConfigError("data.image_size is not for the command line here: the network has one")
    if "data" not in keys:
        first = saved[0].path
        if run := run_of(first):
            trained_on = _data_of(run.config)
            refuse_strangers(
                OmegaConf.to_container(trained_on), allow or allowed(), str(run.config)
            )
            ConfigStore.instance().store(group="data", name=AS_TRAINED, node=trained_on)
        elif "images" not in keys:
            raise ConfigError(f"data=NAME is missing: {first} does not lie in the folder of a run")
        words.insert(0, f"data={AS_TRAINED if run else 'imagenet'}")
    views = {each.augmentation for each in saved}
    if "data.augmentation" not in keys and views != {None}:
        if len(views) > 1:
            raise ConfigError(
                "these checkpoints have learnt from different views, data.augmentation="
                f"{', '.join(sorted(map(str, views)))}: evaluate them one by one"
            )
        words.append(f"data.augmentation={views.pop()}")
    return _compose([*words, f"data.image_size={saved[0].image_size}"], folders)


def _data_of(file: Path) -> DictConfig:
    """What a run was trained on. Raises ConfigError with the way out if the file is damaged."""
    try:
        data = OmegaConf.load(file).data
        if not isinstance(data, DictConfig) or "_target_" not in data:
            raise ValueError("it names no data")
    # OmegaConf and YAML raise anything on what is no configuration.
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"{file} is damaged ({reason}), so that it is not known what the run was trained on: "
            "add data=NAME"
        ) from error
    return data


def read_checkpoints(request: EvaluationConfig, allow: Collection[str] = ()) -> list["SavedNet"]:
    """The networks, which must be of the same classes."""
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
"""Keys of data that do not change what the test images are."""


def _kept_with_the_run(
    config: EvaluationConfig, arguments: Sequence[str], saved: Sequence["SavedNet"]
) -> EvaluationConfig:
    """The same, with `out` in the run's folder if that is all an evaluation by ten views is of."""
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
    """Errors are those of result.json only on the same images."""
    runs = {str(run.path): run for each in saved if (run := run_of(each.path))}
    trained_on = {name: images for name, run in runs.items() if (images := images_of(run))}
    if config.images or config.data is None or not trained_on:
        return
    with suppress(ValueError, OSError):  # which is told when they are loaded
        here = identify(config.data)
        same = {name: each for name, each in trained_on.items() if here and each.name == here.name}
        if here and (problem := contradiction(here, same)):
            log.warning("%s", problem)


def _in_hydras_grammar(word: str) -> str:
    """Paths as people type them: checkpoint=a,b -> checkpoint=['a','b']."""
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
