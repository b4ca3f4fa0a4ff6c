import logging
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from alexnet.config.check import check, read_stored
from alexnet.config.schema import Config, ConfigError, Part
from alexnet.folders.run import RunDir
from alexnet.run.images import contradiction, identify, images_of
from alexnet.sweep.plan import missing_root, write_config
from alexnet.sweep.preflight import refuse_missing_packages, refuse_what_is_not_here

log = logging.getLogger("alexnet.sweep")

COSINE = "alexnet.learning.cosine_with_warmup"

# Keys that may change when a run is resumed, because it remains the same run.
MAY_CHANGE = (
    "trainer.max_epochs",
    "trainer.max_steps",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.strategy",
    "trainer.threads",
    "data.workers",
    "data.root",
    "checkpoint.minutes",
    "logger",
    "outputs",  # not used by a resumed run
)
# A file of the group trainer has a value for every key. Of trainer=NAME only these are meant.
DEVICES = ("trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy")


def find_run(folder: Path) -> RunDir:
    """Return the run of a folder. Raises ConfigError if it is not a run or has no checkpoint."""
    run = RunDir(folder)
    if not run.config.exists() or not (folder.parent / "sweep.json").exists():
        raise ConfigError(
            f"resume={folder} is not a run folder, which contains .hydra/config.yaml: give the "
            "folder of a run in a sweep"
        )
    if run.whole_checkpoint() is None:
        raise ConfigError(
            f"resume={folder} has no checkpoint to resume from (was it pruned?): train it again "
            "with the command of its sweep and fresh=true"
        )
    return run


def change_run(run: RunDir, overrides: Sequence[Override], composed: DictConfig) -> None:
    """Write the changed configuration of a run that is to be trained further.

    `composed` is the command's own configuration: only keys in MAY_CHANGE that the command names
    are taken, because the others have the defaults and not the run's values. trainer=NAME changes
    the devices, and data=NAME must be the run's data set. Raises ConfigError that names every
    other change.
    """
    stored = read_stored(run.config)
    before = OmegaConf.select(stored, "trainer.max_epochs")
    refused = []
    for override in overrides:
        key = override.get_key_element()
        if override.is_sweep_override():
            refused.append(f"{override.input_line}: a resumed run takes one value")
            continue
        value = override.value()
        if key in ("resume", "allow"):  # of the command, not of the run
            continue
        if key == "data" and isinstance(value, str):
            if composed.data.get("_target_") != stored.data.get("_target_"):
                refused.append(
                    f"{override.input_line} is another data set than the run's: leave it out"
                )
            continue
        if key == "trainer" and isinstance(value, str):
            changes = list(DEVICES)
        elif key in ("trainer", "data", "checkpoint") and isinstance(value, dict):
            changes = [f"{key}.{name}" for name in value]
        else:
            changes = [key]
        for each in changes:
            if each not in MAY_CHANGE and not each.startswith("logger."):
                refused.append(f"{each} cannot change on resume, only {', '.join(MAY_CHANGE)}")
            elif _has(composed, each):
                OmegaConf.update(stored, each, OmegaConf.select(composed, each), merge=False)
    if refused:
        raise ConfigError("\n".join(refused))
    OmegaConf.update(stored, "resume", None)
    _follow_max_epochs(stored, before)
    config = check(stored)
    problem = _trained_longer(run, config) or missing_root(config)
    if problem := problem or _other_images(run, config.data):
        raise ConfigError(problem)
    refuse_missing_packages([config])
    refuse_what_is_not_here([config])
    write_config(stored, run.config, resolve=False)


def _follow_max_epochs(stored: DictConfig, before: int) -> None:
    """Let a cosine schedule end with the run, as conf/learning/cosine.yaml does."""
    scheduler, now = OmegaConf.select(stored, "learning.scheduler"), stored.trainer.max_epochs
    if now == before or not scheduler or scheduler.get("_target_") != COSINE:
        return
    if scheduler.total == before:
        scheduler.total = now
        log.warning(
            "learning.scheduler.total=%s follows trainer.max_epochs: the learning rate rises to "
            "its value in a run of that length", now,
        )  # fmt: skip


def _trained_longer(run: RunDir, config: Config) -> str | None:
    """Explain what is wrong with max_epochs, if the run has already trained for longer."""
    rows = run.read_metrics()
    if rows and config.trainer.max_epochs < rows[-1]["epoch"]:
        return (
            f"trainer.max_epochs={config.trainer.max_epochs} is too few: the run has trained for "
            f"{rows[-1]['epoch']:g} epochs"
        )
    return None


def _has(config: DictConfig, key: str) -> bool:
    """Return whether a configuration has a key; not every data set has a root, for example."""
    section, _, name = key.rpartition(".")
    return name in (OmegaConf.select(config, section) if section else config)


def _other_images(run: RunDir, data: Part) -> str | None:
    """Explain what is wrong with data.root, if the run was trained on other images so far."""
    if (before := images_of(run)) is None:
        return None
    try:
        here = identify(data)
    except (ValueError, OSError) as error:
        return str(error)
    problem = contradiction(here, {run.name: before}) if here else None
    return f"{problem}: set data.root to their folder" if problem else None
