"""Export trained networks for other programs, as a model card, or as a page in which they run.

    python src/export.py checkpoint=RUN_FOLDER format=FORMAT dest=FILE [key=value ...]

checkpoint   a file or a run folder (then its last.ckpt); for format=live also a sweep folder
format       onnx          for onnxruntime and other programs: opset 18, batches of any size, LRN
                           nodes. The file is compared with torch before it is written
             torch_export  a program for torch.export.load, which needs only torch
             safetensors   the parameters by name and the mean image, with a description of the
                           network as metadata. evaluate.py, alexnet.load and alexnet.hub read it
             card          a model card as the Hugging Face Hub expects it, from the run's files
             live          one HTML file in which a CifarNet runs: drop an image or draw a digit
dest         the file to write, which must not exist yet. It ends in .onnx, .pt2, .safetensors, .md
             or .html
preprocess   for onnx and torch_export. true (default): the network takes the central view of an
             image, uint8 RGB, and subtracts the mean image itself. false: it takes float32 RGB less
             the mean image, which is written as FILE.mean_image.npy, (3, height, width)
data.KEY     for format=live, which measures on test images how much the rounded weights change the
             probabilities: as for evaluate.py, such as data.root=FOLDER. Default: the run's data
allow        your classes that a checkpoint names and no configuration file here: allow=my_lab.Net

format=live takes one run of each arm of a sweep, the one with the lowest seed. The weights are
16-bit integers, or 8-bit integers if the page would be larger than 1 MB; the page states how far
its probabilities are from those of torch.

Exit status: 0 done; 2 the command was wrong, or a checkpoint, a package or data are missing.
"""

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from alexnet.cli._composing import check_files, what_to_type
from alexnet.cli.evaluate import compose_data, is_of_data
from alexnet.config.check import check_export
from alexnet.config.explain import keys_of
from alexnet.config.grammar import quoted
from alexnet.config.schema import ConfigError, ExportConfig
from alexnet.config.trust import allowed
from alexnet.folders.ending import Exit
from alexnet.folders.sweep import find_checkpoint
from alexnet.paths import CONF

ENDINGS = {
    "onnx": ".onnx",
    "torch_export": ".pt2",
    "safetensors": ".safetensors",
    "card": ".md",
    "live": ".html",
}


def main(arguments: Sequence[str]) -> int:
    """Run the command; the module's docstring is its help."""
    if not arguments or {"-h", "--help"} & set(arguments):
        print((__doc__ or "").strip())
        return Exit.FINISHED if arguments else Exit.WRONG
    logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stdout)
    try:
        check_files()
        own = [word for word in arguments if not is_of_data(word)]
        config = compose_request(own)
        of_data = [word for word in arguments if is_of_data(word)]
        _export(config, of_data)
    except (HydraException, OmegaConfBaseException, ValueError, OSError) as error:
        if "HYDRA_FULL_ERROR" in os.environ:
            raise
        text = what_to_type(error, lambda: {"": keys_of(ExportConfig)}) or str(error)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    else:
        return Exit.FINISHED
    for line in text.splitlines():
        print(f"error: {line}", file=sys.stderr)
    print("See python src/export.py --help", file=sys.stderr)
    return Exit.WRONG


def compose_request(words: Sequence[str]) -> ExportConfig:
    """Compose the request. Raises ConfigError, before torch is imported, if it is impossible."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose("export", [_in_hydras_grammar(word) for word in words])
    for key in ("checkpoint", "dest"):
        if OmegaConf.is_missing(composed, key):
            raise ConfigError(f"{key}=... is missing: name what to read, checkpoint, and dest")
    config = check_export(composed)
    dest, ending = Path(config.dest).expanduser(), ENDINGS[config.format]
    if dest.suffix != ending:
        raise ConfigError(f"dest={config.dest} must end in {ending} for format={config.format}")
    if not config.preprocess and config.format not in ("onnx", "torch_export"):
        raise ConfigError("preprocess=false is for format=onnx and format=torch_export")
    if dest.exists():
        raise ConfigError(f"dest={config.dest} exists already: choose another name, or remove it")
    folder = next(each for each in dest.absolute().parents if each.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ConfigError(
            f"dest={config.dest} cannot be written: {folder} is not a writable folder"
        )
    return config


def _export(config: ExportConfig, of_data: Sequence[str]) -> None:
    if of_data and config.format != "live":
        raise ConfigError(f"{of_data[0]} is for format=live only: no other format reads images")
    source, dest = Path(config.checkpoint).expanduser(), Path(config.dest).expanduser()
    allow = allowed(config.allow)
    if config.format == "card":
        from alexnet.export.card import write_card

        write_card(source, dest, allow=allow)
        return
    if config.format != "live":
        checkpoint = find_checkpoint(source)
        # Imported late, because torch takes seconds: a mistyped command is refused at once.
        from alexnet.export import write_network
        from alexnet.model import read_checkpoint

        saved = read_checkpoint(checkpoint, allow=allow)
        write_network(saved, dest, format=config.format, preprocess=config.preprocess)
        return
    from alexnet.export.live import chosen_runs, write_live
    from alexnet.model import read_checkpoint

    runs = chosen_runs(source)
    nets = [read_checkpoint(run.checkpoint, allow=allow) for run in runs]
    # The images of the first run: all arms of a sweep have the same.
    words = [f"checkpoint={runs[0].checkpoint}", *of_data]
    write_live(dest, runs, nets, compose_data(words, nets, allow=allow))


def _in_hydras_grammar(word: str) -> str:
    """Quote paths for Hydra."""
    key, equals, value = word.partition("=")
    if key in ("checkpoint", "dest") and equals and value[:1] not in ("'", '"'):
        return f"{key}={quoted(value)}"
    return word
