"""What train.py does, but for --help.

Hydra composes the configuration and our sweeper (src/hydra_plugins) plans the runs. Each run is a
process of its own (alexnet.run). Torch is imported there and nowhere else, so that
the command line answers at once.
"""

import logging
import os
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from alexnet.cli._composing import check_files, compose, parse, what_to_type, words_of
from alexnet.config.check import check, read_stored, without_hydra
from alexnet.config.explain import sections
from alexnet.config.schema import ConfigError
from alexnet.folders.ending import Exit
from alexnet.folders.files import DamagedFile, FolderInUse, hold
from alexnet.folders.run import RunDir
from alexnet.paths import CONF

log = logging.getLogger("alexnet.train")


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def _job(composed: DictConfig) -> Exit:
    """One run under a launcher that is not ours (joblib, submitit, Ray), in its worker.

    In a process of its own as under ours, so that nothing leaks into the worker's next run; from
    the configuration that the sweeper wrote, not from what the worker has composed since.
    Raises RuntimeError if the run failed, so that the launcher notes it.
    """
    run = RunDir(Path(HydraConfig.get().runtime.output_dir))
    if run.is_finished:  # by a job that an earlier command had left in the queue
        return Exit.FINISHED
    from alexnet.sweep.processes import run_process  # a mistyped key need not wait for it

    with hold(run.path):
        code = run_process(run)
    if code in (Exit.FAILED, Exit.WRONG):
        raise RuntimeError(f"the run ended {code.name.lower()}: see {run.log}")
    return code


def main(arguments: Sequence[str]) -> int:
    """The command line; see the module's text."""
    logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stdout)
    # conf/hydra/launcher/joblib.yaml and its like are whole files beside the plugins' own. Hydra
    # checks them against the plugins' dataclasses, and warns that some day it will not. Here and
    # not in our plugin: Hydra imports plugins with the filters of warnings set aside.
    warnings.filterwarnings(
        "ignore", r"\s*'hydra/launcher/\w+' is validated against ConfigStore schema"
    )
    if not arguments:
        log.info("the default: one run, offline, in under a minute; --help lists the experiments")
    wants_traceback = "HYDRA_FULL_ERROR" in os.environ
    # Hydra would print its errors and exit 1; so it raises them, and we say what to type instead.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        check_files()
        sys.argv[1:] = _checked_words(arguments)  # which Hydra reads
        _job()
    except KeyboardInterrupt:  # before anything was started
        return Exit.INTERRUPTED
    except Exception as error:
        if wants_traceback:
            raise
        if (text := what_to_type(error, sections)) is not None:
            return _complain(text)
        # The disk is full, the folder read-only.
        if isinstance(error, FolderInUse | DamagedFile | OSError):
            print(f"error: {error}", file=sys.stderr)
            return Exit.FAILED
        raise
    return Exit.FINISHED


def _checked_words(arguments: Sequence[str]) -> list[str]:
    """The command line for Hydra, once what it composes has been checked."""
    parsed = parse(arguments)
    # Hydra would look for a group arm; as a choice it is left to our sweeper.
    words = [re.sub(r"^\+arm=([\w,]+)$", r"+arm=choice(\1)", word) for word in parsed.overrides]
    parsed.overrides = _with_data_of_the_run(words)
    if not (parsed.hydra_help or parsed.info or parsed.shell_completion):
        composed = compose(parsed)
        if parsed.cfg:  # else the sweeper does
            check(without_hydra(composed))
    return words_of(parsed)


def _with_data_of_the_run(words: list[str]) -> list[str]:
    """With resume=RUN_FOLDER, keys such as data.root are those of the run's data set."""
    folders = (word[7:].strip("'\"") for word in words if word.startswith("resume="))
    folder = next(folders, None)
    names_another = any(word.startswith("data=") for word in words)
    if folder is None or names_another or not (file := RunDir(Path(folder)).config).is_file():
        return words
    try:
        node = read_stored(file).data
    except ConfigError as error:
        raise ConfigError(f"resume={folder}: {error}") from error
    ConfigStore.instance().store(group="data", name="as_trained", node=node)
    return ["data=as_trained", *words]


def _complain(text: str) -> Exit:
    for line in text.splitlines():
        print(f"error: {line}", file=sys.stderr)
    print("See python src/train.py --help", file=sys.stderr)
    return Exit.WRONG
