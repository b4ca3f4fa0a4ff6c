import logging
from collections.abc import Collection, Sequence
from pathlib import Path

from alexnet.config.explain import sections
from alexnet.config.names import flatten
from alexnet.config.schema import Config, ConfigError
from alexnet.config.suggest import suggest_key
from alexnet.folders.files import DamagedFile
from alexnet.folders.sweep import SweepDir, find_checkpoint
from alexnet.run.images import REMEDY, contradiction, identify, images_before
from alexnet.run.ranks import Outside
from alexnet.sweep.plan import PlannedRun

log = logging.getLogger("alexnet.sweep")


def refuse_unknown_factors(runs: Sequence[PlannedRun], swept: Collection[str]) -> None:
    """What an experiment compares, or searches, is a key of some run, or is swept."""
    keys = {key for run in runs for key in flatten(run.config.plain())}
    known = {*keys, *swept, *Config.model_fields}
    experiment = runs[0].config.experiment
    named = [("factor", key) for key in experiment.factor]
    named += [("search", experiment.search)] if experiment.search else []
    for name, key in named:
        if key not in known and key != "arm":
            near = suggest_key(key, sections(plain=runs[0].config.plain()))
            raise ConfigError(f"experiment.{name}: unknown key {key}: {near}")


def refuse_missing_starts(runs: Sequence[PlannedRun]) -> None:
    """Before anything starts: a run that waits its turn would find out hours later."""
    for start in dict.fromkeys(run.config.init_from for run in runs):
        if start == "":  # or an empty variable of the shell
            raise ConfigError(
                f"init_from is missing: {runs[0].config.experiment.name} starts from a trained "
                "network. Give init_from=RUN_FOLDER or init_from=CHECKPOINT"
            )
        try:
            if start is not None:
                find_checkpoint(Path(start))
        except FileNotFoundError as error:
            raise ConfigError(f"init_from={start}: {error}") from error


def refuse_other_images(sweep: SweepDir, runs: Sequence[PlannedRun]) -> None:
    """Before anything starts: data.root does not tell in which folder a run lies.

    Images that are not here, as those of finished runs need not be, are not compared; a run looks
    at them once more before it trains.
    """
    problems = []
    roots = {(run.config.data.target, getattr(run.config.data, "root", None)): run for run in runs}
    for run in roots.values():
        try:
            before = images_before(sweep, run.config.data, run.arm)
            images = identify(run.config.data) if before else None
        except DamagedFile:
            raise
        except (ValueError, OSError) as error:
            why = str(error).splitlines()[0]
            log.info("not compared with the images of the runs before: %s", why)
            continue
        if images and (problem := contradiction(images, before)):
            problems.append(f"{sweep.path}: {problem}: {REMEDY}")
    if problems:
        raise ConfigError("\n".join(problems))


def refuse_outside(outside: Outside, runs: Sequence[PlannedRun]) -> str | None:
    """What cannot be done where every process of the job plans for itself."""
    if len(runs) > 1:
        return (
            f"these are {len(runs)} runs, but torchrun and srun start the processes of one: give "
            "every run a command of its own, or leave torchrun out and let us start the processes"
        )
    config = runs[0].config
    if config.fresh:
        return "fresh=true would give every process a folder of its own: set outputs=NEW_FOLDER"
    processes = config.trainer.devices * config.trainer.num_nodes
    if processes != outside.world_size:
        return (
            f"torchrun or srun has started {outside.world_size} processes, but trainer.devices="
            f"{config.trainer.devices} times trainer.num_nodes={config.trainer.num_nodes} are "
            f"{processes}"
        )
    return None
