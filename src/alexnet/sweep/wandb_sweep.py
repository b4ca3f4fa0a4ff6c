"""The file of a W&B sweep for a search: the same trials, started by agents of W&B."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from alexnet.config.experiment import Experiment
from alexnet.config.schema import ConfigError
from alexnet.paths import PROJECT
from alexnet.sweep.plan import PlannedRun, plain_key

_HEAD = """\
# The trials of {name}, for agents of W&B. Written by src/dashboard.py --sweep-file.
#
#   wandb sweep {file}
#   wandb agent ENTITY/{project}/ID    on every machine that takes part, as printed by wandb sweep
#
# A trial is a run of the sweep folder that src/train.py would make. A folder takes one command at a
# time: agents that share a disk need an outputs=FOLDER of their own, in the command below.
"""


def sweep_file(
    experiment: Experiment,
    plan: Callable[[], Sequence[PlannedRun]],
    *,
    words: Sequence[str],
    project: str,
    file: Path,
) -> str:
    """Return the text of the file: every level of the swept keys, and the command of one trial.

    `plan` returns the runs of the command `words`. Raises ConfigError if W&B cannot search what the
    experiment searches.
    """
    if not experiment.searched:
        raise ConfigError(
            f"{experiment.name} searches nothing: add +tune=lr, or choose a search such as "
            "relu_vs_tanh_lr"
        )
    if len(experiment.searched) > 1:
        raise ConfigError(
            f"{experiment.name} tries {' and '.join(experiment.searched)} together, and W&B would "
            "combine each level of one with each of the other: use src/train.py"
        )
    levels = _levels(plan())
    # A trial has one level of each key, and needs no number of trials.
    left_out = {plain_key(key) for key in levels} | {"trials"}
    fixed = [word for word in words if plain_key(word.partition("=")[0]) not in left_out]
    if not any(word.startswith("logger=") for word in fixed):
        fixed += ["logger=wandb", "logger.wandb.mode=online", f"logger.wandb.project={project}"]
    program = "src/train.py" if PROJECT else "alexnet-lab"
    start = ["${interpreter}", "${program}"] if PROJECT else ["${program}", "train"]
    content = {
        "name": experiment.name,
        "project": project,
        "program": program,
        "method": "grid",
        "metric": {
            "name": "measure",
            "goal": "minimize" if experiment.measure.lower_is_better else "maximize",
        },
        "parameters": {key: {"values": values} for key, values in levels.items()},
        "command": ["${env}", *start, *fixed, "${args_no_hyphens}"],
    }
    head = _HEAD.format(name=experiment.name, file=file, project=project)
    return head + yaml.safe_dump(content, sort_keys=False, width=120)


def _levels(runs: Sequence[PlannedRun]) -> dict[str, list[Any]]:
    """Return the levels of the swept keys as they would be typed; numbers as numbers."""
    levels: dict[str, dict[Any, None]] = {}
    for run in runs:
        for key, value in _typed(run).items():
            levels.setdefault(key, {})[value] = None
    return {key: list(values) for key, values in levels.items()}


def _typed(run: PlannedRun) -> dict[str, Any]:
    typed = dict(word.split("=", 1) for word in run.overrides)
    found: dict[str, Any] = {}
    for key in (*run.arm, "seed"):
        word = key if key in typed else f"+{key}"
        value = yaml.safe_load(typed[word]) if word in typed else run.arm[key]
        found[word] = typed[word] if isinstance(value, list | dict) else value
    return found
