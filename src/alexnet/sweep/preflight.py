import logging
import os
import shutil
import sys
from collections.abc import Collection, Mapping, Sequence

from alexnet.config.check import refuse_16_bits_of_a_cpu, refuse_several_machines
from alexnet.config.explain import sections
from alexnet.config.names import flatten
from alexnet.config.schema import Config, ConfigError
from alexnet.config.suggest import suggest_key
from alexnet.folders.sweep import SweepDir
from alexnet.run.images import REMEDY, contradiction, identify, images_before
from alexnet.run.loggers import missing_package
from alexnet.run.ranks import Outside
from alexnet.run.start import fingerprint_of_start
from alexnet.sweep.devices import gpus_here
from alexnet.sweep.plan import PlannedRun

log = logging.getLogger("alexnet.sweep")


def refuse_unknown_factors(runs: Sequence[PlannedRun], swept: Collection[str]) -> None:
    """Raise ConfigError if a factor or searched key of the experiment is not a key of any run."""
    keys = {key for run in runs for key in flatten(run.config.plain())}
    known = {*keys, *swept, *Config.model_fields}
    experiment = runs[0].config.experiment
    named = [("factor", key) for key in experiment.factor]
    named += [("search", key) for key in experiment.searched]
    for name, key in named:
        if key not in known and key != "arm":
            near = suggest_key(key, sections(plain=runs[0].config.plain()))
            raise ConfigError(f"experiment.{name}: unknown key {key}: {near}")


def refuse_unsearched_intervals(
    runs: Sequence[PlannedRun], intervals: Mapping[str, tuple[float, float]]
) -> None:
    """Raise ConfigError if a key that is not searched has an interval, which has no levels."""
    experiment = runs[0].config.experiment
    for key, (low, high) in intervals.items():
        if key not in experiment.searched:
            keys = ",".join([*experiment.searched, key])
            raise ConfigError(
                f"{key}=interval({low:g},{high:g}) is for a key that is searched: list the levels "
                f"or use range(), or add experiment.search=[{keys}]"
            )


def starts_of(runs: Sequence[PlannedRun]) -> dict[str, str]:
    """Return the fingerprints of the networks from which runs start, by init_from.

    This is checked before any run starts: a run that waits for its turn would otherwise fail hours
    later. Raises ConfigError if one is missing.
    """
    starts = {}
    for start in dict.fromkeys(run.config.init_from for run in runs):
        if start == "":  # or an empty variable of the shell
            raise ConfigError(
                f"init_from is missing: {runs[0].config.experiment.name} starts from a trained "
                "network. Give init_from=RUN_FOLDER or init_from=CHECKPOINT"
            )
        if start is not None:
            try:
                starts[start] = fingerprint_of_start(start)
            except OSError as error:
                raise ConfigError(f"init_from={start}: {error}") from error
    return starts


def refuse_other_images(sweep: SweepDir, runs: Sequence[PlannedRun]) -> None:
    """Raise ConfigError if runs would join runs on other images, before any run starts.

    Images that are missing, which is possible if all runs have finished, are not compared. A run
    checks them again before it trains.
    """
    problems = []
    roots = {(run.config.data.target, getattr(run.config.data, "root", None)): run for run in runs}
    for run in roots.values():
        try:
            before = images_before(sweep, run.config.data, run.arm)
            images = identify(run.config.data) if before else None
        except (ValueError, OSError) as error:
            why = str(error).splitlines()[0]
            log.info("not compared with the images of earlier runs: %s", why)
            continue
        if images and (problem := contradiction(images, before)):
            problems.append(f"{sweep.path}: {problem}: {REMEDY}")
    if problems:
        raise ConfigError("\n".join(problems))


def refuse_outside(outside: Outside, runs: Sequence[PlannedRun]) -> str | None:
    """Explain what is impossible under torchrun or srun, where every process makes the plan."""
    if len(runs) > 1:
        return (
            f"these are {len(runs)} runs, but torchrun and srun start the processes of one run: "
            "give a command for each run, or leave torchrun or srun out"
        )
    config = runs[0].config
    if config.fresh:
        return "fresh=true would give each process its own folder: set outputs=NEW_FOLDER"
    processes = config.trainer.devices * config.trainer.num_nodes
    if processes != outside.world_size:
        return (
            f"torchrun or srun has started {outside.world_size} processes, but trainer.devices="
            f"{config.trainer.devices} times trainer.num_nodes={config.trainer.num_nodes} are "
            f"{processes}"
        )
    return None


def refuse_missing_packages(configs: Sequence[Config]) -> None:
    """Raise ConfigError if the package of a logger is missing, before any run starts."""
    parts = [part for config in configs for _, part in config.logger.items()]
    if problems := dict.fromkeys(filter(None, map(missing_package, parts))):
        raise ConfigError("\n".join(problems))


def refuse_what_is_not_here(configs: Sequence[Config]) -> None:
    """Raise ConfigError if this machine, where runs will start, lacks something that they need."""
    has_gpu = any(config.trainer.accelerator != "cpu" for config in configs) and bool(gpus_here())
    for config in configs:
        trainer, uses_gpu = config.trainer, has_gpu and config.trainer.accelerator != "cpu"
        refuse_several_machines(config)
        if not uses_gpu and sys.platform != "darwin":  # which may have MPS
            refuse_16_bits_of_a_cpu(config)
        if trainer.compile and (name := _missing_compiler(uses_gpu=uses_gpu)):
            raise ConfigError(
                f"trainer.compile=true needs the compiler {name}, which is not on this machine: "
                "install it, or set trainer.compile=false"
            )


def _missing_compiler(*, uses_gpu: bool) -> str | None:
    """Return the compiler that torch.compile lacks, or None: C++ for a CPU, C for a GPU."""
    if uses_gpu:
        names = [os.environ.get("CC") or "gcc", "clang"]
    else:
        names = [os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")]
    return None if any(map(shutil.which, names)) else names[0]
