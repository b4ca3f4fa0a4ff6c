"""The command train.py, except for its --help.

Hydra composes the configuration and our sweeper (src/hydra_plugins) plans the runs. Each run is a
process of its own (alexnet.run). Torch is imported only there, so that the command line responds at
once.
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
    """Do one run in the worker of another launcher (joblib, submitit, Ray).

    As with our launcher, it has a process of its own, so that nothing leaks into the worker's next
    run, and the configuration that the sweeper wrote, not the one that the worker has composed.
    Raises RuntimeError if the run failed, so that the launcher records it.
    """
    run = RunDir(Path(HydraConfig.get().runtime.output_dir))
    if run.is_finished:  # by a job that an earlier command left in the queue
        return Exit.FINISHED
    from alexnet.sweep.processes import run_process  # not needed for a wrong command

    with hold(run.path):
        code = run_process(run)
    if code in (Exit.FAILED, Exit.WRONG):
        raise RuntimeError(f"the run ended {code.name.lower()}: see {run.log}")
    return code


def main(arguments: Sequence[str]) -> int:
    """Run the command and return the exit status."""
    logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stdout)
    # conf/hydra/launcher/joblib.yaml and others replace the plugins' own files. Hydra validates
    # them by the plugins' dataclasses, and warns that a future version will not. The filter is
    # here, because Hydra resets the filters of warnings while it imports our plugin.
    warnings.filterwarnings(
        "ignore", r"\s*'hydra/launcher/\w+' is validated against ConfigStore schema"
    )
    if not arguments:
        log.info("the default: one run, offline, in under a minute; --help lists the experiments")
    wants_traceback = "HYDRA_FULL_ERROR" in os.environ
    # Hydra would print its errors and exit with 1. With this it raises them, and we explain them.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        check_files()
        sys.argv[1:] = _checked_words(arguments)  # read by Hydra
        _job()
    except KeyboardInterrupt:  # before anything was started
        return Exit.INTERRUPTED
    except Exception as error:
        if wants_traceback:
            raise
        if (text := what_to_type(error, sections)) is not None:
            return _complain(text)
        # For example, the disk is full, or the folder read-only.
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
    parsed.overrides = _with_groups_of_the_run(words)
    if not (parsed.hydra_help or parsed.info or parsed.shell_completion):
        composed = compose(parsed)
        if parsed.cfg:  # else the sweeper does
            check(without_hydra(composed))
    return words_of(parsed)


def _with_groups_of_the_run(words: list[str]) -> list[str]:
    """With resume=RUN_FOLDER, choose the run's data set and loggers, so that their keys exist."""
    folders = (word[7:].strip("'\"") for word in words if word.startswith("resume="))
    folder = next(folders, None)
    if folder is None or not (file := RunDir(Path(folder).expanduser()).config).is_file():
        return words
    try:
        stored = read_stored(file)
    except ConfigError as error:
        raise ConfigError(f"resume={folder}: {error}") from error
    for group in ("data", "logger"):
        if stored.get(group) and not any(word.startswith(f"{group}=") for word in words):
            ConfigStore.instance().store(group=group, name="as_trained", node=stored[group])
            words = [f"{group}=as_trained", *words]
    return words


def _complain(text: str) -> Exit:
    for line in text.splitlines():
        print(f"error: {line}", file=sys.stderr)
    print("See python src/train.py --help", file=sys.stderr)
    return Exit.WRONG
