"""Which runs a sweep has, what they are called and where they lie."""

import itertools
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import MISSING, Container, DictConfig, OmegaConf, open_dict

from alexnet.config.check import load
from alexnet.config.experiment import same_level
from alexnet.config.names import NOT_PART_OF_THE_NAME, confounds, name_of_0_1, sweep_name
from alexnet.config.registration import register
from alexnet.config.schema import FORMAT, Config, ConfigError
from alexnet.files import replacing
from alexnet.folders.run import RunDir
from alexnet.folders.sweep import SweepDir
from alexnet.paths import outputs_folder
from alexnet.run.provenance import command_line


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """One arm with one seed; `composed` is what Hydra made of the arm, with whatever seed."""

    name: str
    overrides: list[str]
    arm: dict[str, Any]
    composed: DictConfig
    config: Config

    @property
    def told(self) -> DictConfig:
        """The configuration of the run, not yet resolved."""
        return with_seed(self.composed, self.config.seed)


def without_hydra(composed: DictConfig) -> DictConfig:
    """A copy without Hydra's own settings: what a run is told."""
    return OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])


def with_seed(composed: DictConfig, seed: int) -> DictConfig:
    """What the run of that seed is told."""
    told = without_hydra(composed)
    told.seed = seed
    with open_dict(told):
        told.format = FORMAT
        # What this arm sets is merged already. Experiments of 0.1 take rates from arms.lr.
        told.arms = {key: arm for key, arm in (told.get("arms") or {}).items() if key == "lr"}
    return told


def levels_of(override: Override) -> list[str]:
    """Of a swept key; one for a plain value. Raises ConfigError for an interval."""
    if not override.is_sweep_override():
        return [override.get_value_element_as_str()]
    if not override.is_discrete_sweep():
        raise ConfigError(
            f"{override.input_line}: an interval has no end of levels; list them, or use range()"
        )
    return list(override.sweep_string_iterator())


def plain_key(key: str) -> str:
    """+arm -> arm."""
    return key.lstrip("+")


def run_name(levels: Mapping[str, object]) -> str:
    """{"model.nonlinearity": "relu", "seed": 0} -> nonlinearity-relu_seed-0.

    By values and not by how they were typed: 0.0 and 0 are one dropout.
    """
    last = [key.rpartition(".")[2] for key in levels]
    parts = []
    for short, (key, level) in zip(last, levels.items(), strict=True):
        word = short if last.count(short) == 1 else key
        plain = json.dumps(level) if level is None or isinstance(level, bool) else str(level)
        parts.append(f"{word}-{re.sub(r'[^A-Za-z0-9.+-]+', '-', plain).strip('-')}")
    return "_".join(parts)


def spread(combinations: list[dict[str, str]], most: int | None) -> list[dict[str, str]]:
    """At most so many, each showing the most levels not yet seen, in the order of the grid."""
    if most is None or len(combinations) <= most:
        return combinations
    seen: set[tuple[str, str]] = set()
    chosen: list[dict[str, str]] = []
    while len(chosen) < most:
        left = [each for each in combinations if each not in chosen]
        best = max(left, key=lambda each: len(each.items() - seen))
        chosen.append(best)
        seen |= best.items()
    return [each for each in combinations if each in chosen]


def sweep_folder(
    base: Config, data: str, swept: Collection[str], runs: Sequence[PlannedRun]
) -> SweepDir:
    """The newest folder of the sweep's name; with fresh=true the next: NAME, NAME-2, NAME-3.

    A folder that has the name which version 0.1 gave the sweep is gone on with.

    The next one, too, if it has a run of the same name that is another run: the name of a sweep
    does not tell of a file in an experiment that was edited.
    """
    root = outputs_folder(base.outputs) / base.experiment.name
    name, former = sweep_name(data, base, swept), name_of_0_1(data, base, swept)
    if former and (root / former).exists() and not (root / name).exists():
        name = former
    folder, numbers = root / name, itertools.count(2)
    while (following := root / f"{name}-{next(numbers)}").exists():
        folder = following
    is_another = any(_contradicts(SweepDir(folder).run(run.name), run) for run in runs)
    return SweepDir(following if (base.fresh and folder.exists()) or is_another else folder)


def missing_root(config: Config) -> str | None:
    """What is wrong with data.root, if it was given, and can be seen without reading data."""
    root = getattr(config.data, "root", None)
    if root is None or Path(root).expanduser().is_dir():
        return None
    name = config.data.target.rpartition(".")[2]
    return f"data.root={root} is not a folder: set data.root to the folder that holds {name}"


def _contradicts(there: RunDir, planned: PlannedRun) -> bool:
    """Whether the folder is of a run with other numbers; a run may have been trained on."""
    if not there.config.exists():
        return False
    try:
        differ = confounds(load(there.config), planned.config)
    except ConfigError:  # written when there were other keys
        return True
    ignored = (*NOT_PART_OF_THE_NAME, "experiment", "trainer.max_epochs", "trainer.max_steps")
    return any(not f"{key}.".startswith(tuple(f"{each}." for each in ignored)) for key in differ)


def join_plan(
    old: Mapping[str, Any],
    experiment: Mapping[str, Any],
    swept: list[str],
    runs: Sequence[PlannedRun],
    levels: Mapping[str, Sequence[str]],
    *,
    is_reported: bool = False,
) -> dict[str, Any]:
    """The plan of the folder: what was there and what is new, first levels first.

    A new plan is registered. Seeds that join one of which there is a report are noted as a look.
    """
    before = {each["seed"] for each in old.get("runs", {}).values()}
    looks = list(old.get("looks", []))
    if is_reported and {run.config.seed for run in runs} - before:
        looks.append(len(before))
    planned = dict(old.get("runs", {}))
    for run in runs:
        planned[run.name] = {"arm": run.arm, "seed": run.config.seed}

    def rank(entry: tuple[str, dict[str, Any]]) -> tuple[Any, ...]:
        arm, seed = entry[1]["arm"], entry[1]["seed"]
        places = [
            next(
                (place for place, level in enumerate(order) if same_level(level, arm[key])),
                len(order),
            )
            for key, order in levels.items()
            if key in arm
        ]
        return (*places, seed)

    ranked = dict(sorted(planned.items(), key=rank))
    trainer = runs[0].config.trainer
    budget = {"max_epochs": trainer.max_epochs, "max_steps": trainer.max_steps}
    registered = old.get("registered") if old else register(experiment, ranked, budget=budget)
    return {
        "experiment": dict(experiment),
        "command": command_line(),
        "swept": swept,
        "registered": registered,
        "looks": looks,
        "runs": ranked,
    }


def prepare(planned: PlannedRun, run: RunDir) -> None:
    """Write .hydra/ with everything resolved, from which the run can be started anywhere."""
    folder = run.config.parent
    folder.mkdir(parents=True, exist_ok=True)
    hydra = planned.composed.hydra  # of the arm's first seed
    hydra.sweep.dir, hydra.sweep.subdir = str(run.path.parent), run.name
    hydra.overrides.task = planned.overrides
    hydra.job.override_dirname = MISSING  # as the other things that a job gets when it starts
    write_config(OmegaConf.create(planned.overrides), folder / "overrides.yaml", resolve=False)
    write_config(hydra, folder / "hydra.yaml", resolve=False)
    write_config(planned.told, run.config)


def write_config(config: Container, path: Path, *, resolve: bool = True) -> None:
    """Write a configuration, whole or not at all: a run could be started from half of one."""
    with replacing(path) as file:
        OmegaConf.save(config, file, resolve=resolve)
