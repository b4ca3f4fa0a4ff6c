"""The plan of a sweep: its runs, their names and their folders."""

import hashlib
import itertools
import json
import logging
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import MISSING, Container, DictConfig, OmegaConf, open_dict

from alexnet.config.check import check_resolved, load, resolved, without_hydra
from alexnet.config.experiment import same_level
from alexnet.config.names import (
    NOT_PART_OF_THE_NAME,
    confounds,
    is_at_or_below,
    name_of_0_1,
    sweep_name,
    swept_beside_the_name,
)
from alexnet.config.registration import register
from alexnet.config.schema import FORMAT, Config, ConfigError
from alexnet.files import replacing
from alexnet.folders.files import DamagedFile
from alexnet.folders.run import RunDir
from alexnet.folders.sweep import SweepDir
from alexnet.paths import outputs_folder
from alexnet.run.provenance import command_line

log = logging.getLogger("alexnet.sweep")

_LONGEST_NAME = 200  # bytes; a file system has 255, and .partial and the like are added


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """One arm with one seed; `composed` is the arm's configuration from Hydra, with any seed."""

    name: str
    overrides: list[str]
    arm: dict[str, Any]
    composed: DictConfig
    config: Config

    @property
    def told(self) -> DictConfig:
        """The configuration of the run, not yet resolved."""
        return with_seed(self.composed, self.config.seed)


def with_seed(composed: DictConfig, seed: int) -> DictConfig:
    """Return the configuration of the run with that seed, not yet resolved."""
    told = without_hydra(composed)
    told.seed = seed
    if told.init_from:  # also valid if the command is repeated from another folder
        told.init_from = absolute(told.init_from)
    with open_dict(told):
        told.format = FORMAT
        # The arm's settings are already merged. Experiments of 0.1 take rates from arms.lr.
        told.arms = {key: arm for key, arm in (told.get("arms") or {}).items() if key == "lr"}
    return told


class ComposedArm:
    """The composed configuration of an arm, from which that of any seed is made."""

    def __init__(self, composed: DictConfig) -> None:
        self.composed = composed
        told = OmegaConf.to_yaml(with_seed(composed, 0))
        self._depends_on_seed = re.search(r"\$\{.*seed", told) is not None
        self._plain: dict[str, Any] | None = None

    def config(self, seed: int) -> Config:
        """Return the checked configuration for a seed.

        If no other value depends on the seed, interpolations are resolved only once.
        """
        if self._plain is None or self._depends_on_seed:
            self._plain = resolved(with_seed(self.composed, seed))
        return check_resolved({**self._plain, "seed": seed})


def plain_key(key: str) -> str:
    """Return a key without the + before it: +arm -> arm."""
    return key.lstrip("+")


def run_name(levels: Mapping[str, object]) -> str:
    """Return a name: {"model.nonlinearity": "relu", "seed": 0} -> nonlinearity-relu_seed-0.

    It depends on values and not on their spelling: 0.0 and 0 are the same dropout. If a value has
    to be shortened or changed to be part of a file name, a hash of it is added.
    """
    last = [key.rpartition(".")[2] for key in levels]
    words = zip(last, levels.items(), strict=True)
    parts = [
        f"{short if last.count(short) == 1 else key}-{_word(level)}"
        for short, (key, level) in words
    ]
    name = "_".join(parts)
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}-{_digits(levels)}"


def _word(level: object) -> str:
    items = level if isinstance(level, list) else [level]
    texts = [
        json.dumps(each) if each is None or isinstance(each, bool) else str(each) for each in items
    ]
    text = "-".join(texts)
    word = re.sub(r"[^A-Za-z0-9.+-]+", "-", text).strip("-")
    if isinstance(level, int | float) and level < 0:
        return text
    is_clear = items is not level or not any("-" in each for each in texts)
    return word if is_clear and word == text.replace("_", "-") else f"{word}-{_digits(level)}"


def _digits(value: object) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:6]


def spread(combinations: list[dict[str, str]], most: int | None) -> list[dict[str, str]]:
    """Choose at most `most` combinations that cover as many levels as possible, in grid order."""
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
    base: Config,
    data: str,
    swept: Collection[str],
    runs: Sequence[PlannedRun],
    starts: Mapping[str, str],
) -> SweepDir:
    """Return the newest folder with the sweep's name; with fresh=true the next: NAME, NAME-2, ...

    A folder with the name that version 0.1 gave the sweep is continued. The name depends on the
    content of `init_from`, by the fingerprints `starts`, and not on its path.

    The next folder is also returned if the newest one has a different run under the same name: the
    name of a sweep does not change if a file that it refers to was edited.
    """
    root = outputs_folder(base.outputs) / base.experiment.name
    held = starts.get(absolute(base.init_from), base.init_from) if base.init_from else None
    data = data.replace("/", "-")  # of a file in a folder of a group
    name = sweep_name(data, base.model_copy(update={"init_from": held}), swept)
    former = name_of_0_1(data, base, swept)
    if former and not (root / name).exists() and _has_swept(SweepDir(root / former), swept):
        name = former
        if base.init_from:
            log.warning(
                "%s is a sweep of version 0.1, which did not record the content of init_from=%s: "
                "fresh=true trains all runs again", root / former, base.init_from,
            )  # fmt: skip
    folder, numbers = root / name, itertools.count(2)
    while (following := root / f"{name}-{next(numbers)}").exists():
        folder = following
    if base.fresh and folder.exists():
        return SweepDir(following)
    if reason := _contradiction(SweepDir(folder), runs, starts):
        log.warning("%s %s: training in %s instead", folder, reason, following)
        return SweepDir(following)
    return SweepDir(folder)


def absolute(path: str) -> str:
    """Return the absolute path of a file or folder that a user gave."""
    return str(Path(path).expanduser().absolute())


def named_as_before(plan: Mapping[str, Any], runs: Sequence[PlannedRun]) -> list[PlannedRun]:
    """Return the runs, with the names that their arms and seeds already have in the plan.

    An earlier version may have named them differently.
    """
    known = {_key(each["arm"], each["seed"]): name for name, each in plan.get("runs", {}).items()}
    return [replace(run, name=known.get(_key(run.arm, run.config.seed), run.name)) for run in runs]


def _key(arm: Mapping[str, Any], seed: int) -> str:
    return json.dumps([arm, seed], sort_keys=True)


def _has_swept(former: SweepDir, swept: Collection[str]) -> bool:
    """Return whether a sweep of 0.1 is the same: its plan has the swept keys beside its name."""
    plan = former.read_plan()
    return bool(plan) and swept_beside_the_name(swept) <= set(plan.get("swept", ()))


def missing_root(config: Config) -> str | None:
    """Explain what is wrong with a given data.root, as far as is visible without reading data."""
    root = getattr(config.data, "root", None)
    if root is None or Path(root).expanduser().is_dir():
        return None
    name = config.data.target.rpartition(".")[2]
    return f"data.root={root} is not a folder: set data.root to the folder that holds {name}"


def _contradiction(
    sweep: SweepDir, runs: Sequence[PlannedRun], starts: Mapping[str, str]
) -> str | None:
    """Explain why a folder cannot take these runs; None if it can."""
    plan = sweep.read_plan()
    for path, fingerprint in plan.get("init_from", {}).items():
        if starts.get(path, fingerprint) != fingerprint:
            return f"has runs from an earlier content of init_from={path}"
    for run in named_as_before(plan, runs):
        if keys := _differences(sweep.run(run.name), run):
            return f"has {run.name} with different {', '.join(keys)}"
    return None


def _differences(there: RunDir, planned: PlannedRun) -> list[str]:
    """Return the keys in which a folder's run differs from the plan, except for its length.

    Raises DamagedFile if the run has begun and its configuration cannot be read.
    """
    if not there.config.exists():
        return []
    try:
        differ = confounds(load(there.config), planned.config)
    except ConfigError as error:
        if not there.has_begun:  # the configuration will be written again
            return []
        raise DamagedFile(
            f"{error}. The run in {there.path} cannot continue: restore the file, remove the "
            "folder to train the run again, or set fresh=true for a new folder"
        ) from error
    ignored = (
        *NOT_PART_OF_THE_NAME, "experiment", "init_from", "trainer.max_epochs", "trainer.max_steps"
    )  # fmt: skip
    return sorted(key for key in differ if not is_at_or_below(key, ignored))


def join_plan(
    old: Mapping[str, Any],
    experiment: Mapping[str, Any],
    swept: list[str],
    runs: Sequence[PlannedRun],
    levels: Mapping[str, Sequence[str]],
    starts: Mapping[str, str] | None = None,
    *,
    intervals: Mapping[str, Sequence[float]] | None = None,
    is_reported: bool = False,
    max_seeds: int | None = None,
) -> dict[str, Any]:
    """Return the plan of a folder: earlier and new runs, sorted by level and seed.

    A new plan is registered. If a report exists and seeds are added, this is recorded as a look.
    With `max_seeds`, seeds are added until a claim is settled, also by later commands. `starts` are
    fingerprints of the contents of init_from, by path. `intervals` are the ends of intervals that
    are searched by a sequence of trials; those of earlier commands are kept.
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
    spaces = list(old.get("intervals", []))
    if intervals:
        space = {key: list(ends) for key, ends in intervals.items()}
        spaces += [space] if space not in spaces else []
    most = max_seeds if max_seeds is not None else old.get("max_seeds")
    registered = old.get("registered")
    if not old:
        registered = register(experiment, ranked, budget=budget, max_seeds=most)
    return {
        "experiment": dict(experiment),
        "command": command_line(),
        "swept": swept,
        "init_from": {**old.get("init_from", {}), **(starts or {})},
        "registered": registered,
        "looks": looks,
        **({"intervals": spaces} if spaces else {}),
        **({} if most is None else {"max_seeds": most}),
        "runs": ranked,
    }


def prepare(planned: PlannedRun, run: RunDir) -> None:
    """Write .hydra/ with resolved values, from which the run can be started anywhere."""
    folder = run.config.parent
    folder.mkdir(parents=True, exist_ok=True)
    hydra = planned.composed.hydra  # of the arm's first seed
    hydra.sweep.dir, hydra.sweep.subdir = str(run.path.parent), run.name
    hydra.overrides.task = planned.overrides
    hydra.job.override_dirname = MISSING  # like other values that a job gets when it starts
    write_config(OmegaConf.create(planned.overrides), folder / "overrides.yaml", resolve=False)
    write_config(hydra, folder / "hydra.yaml", resolve=False)
    write_config(planned.told, run.config)


def write_config(config: Container, path: Path, *, resolve: bool = True) -> None:
    """Write a configuration atomically, so that no run can be started from half of one."""
    with replacing(path) as file:
        OmegaConf.save(config, file, resolve=resolve)
