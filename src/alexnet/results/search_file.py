"""The result of a search as a file for conf/searches."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from alexnet.config.experiment import Experiment
from alexnet.config.names import flatten
from alexnet.config.searches import Search, Winner
from alexnet.config.searches import Trial as TrialFound
from alexnet.results.compare import Comparison
from alexnet.results.runs import Sweep
from alexnet.results.search import Trial, beaten_early, why_unfinished

_HEADER = """\
# {experiment} on {data}: the best {keys} of each arm; {state}
#
# Written by the report of {folder}. Copy it to conf/searches/NAME.yaml, or to
# searches/NAME.yaml in a folder of your own (--config-dir). An experiment reads from it with
# `override /searches: [NAME]` in its defaults and {key}: ${{searched:{dotted}}}
"""

_BUDGET = ("trainer.max_epochs", "trainer.max_steps", "learning.stop_at_train_error")


def write_search(sweep: Sweep, comparison: Comparison, path: Path) -> None:
    """Write what a search has found so far, under a key that names the sweep."""
    search = found(sweep, comparison)
    keys = list(comparison.trials[0].levels)
    header = _HEADER.format(
        experiment=search.experiment,
        data=search.data,
        keys=" and ".join(keys),
        state="unfinished" if search.unfinished else "finished",
        folder=f"{sweep.path.resolve().parent.name}/{sweep.path.resolve().name}",
        key=keys[0].rpartition(".")[2],
        dotted=keys[0],
    )
    name = f"{search.experiment}-{sweep.path.resolve().name}"
    text = yaml.dump({name: search.plain()}, Dumper=_Dumper, sort_keys=False, width=120)
    path.write_text(header + text)


def found(sweep: Sweep, comparison: Comparison) -> Search:
    """Return what a search has found, with its data, network, budget and commits."""
    experiment, trials = sweep.experiment, comparison.trials
    first = trials[0]
    configs = [flatten(config) for config in sweep.configs.values() if config]
    reasons = [f"runs were cut short ({', '.join(sweep.setting.cut)})"] if sweep.setting.cut else []
    if problem := why_unfinished(trials, comparison.best, experiment):
        reasons.append(problem.removeprefix("search unfinished: "))
    commits = dict.fromkeys(
        f"{each.get('commit') or each.get('version')}{' with changes' if each.get('dirty') else ''}"
        for each in sweep.provenance.values()
        if each
    )
    return Search(
        experiment=experiment.name,
        unfinished="; ".join(reasons) or None,
        data=sweep.data,
        network=sweep.setting.network,
        given={
            key: level
            for key, level in _same(configs).items()
            if key.startswith("model.") and key not in {*first.arm, *first.levels}
        },
        measure=experiment.measure,
        space=_space(trials, sweep.intervals),
        n_trials=len({tuple(each.levels.values()) for each in trials}),
        seeds=tuple(sorted({run.seed for trial in trials for run in trial.outcomes})),
        budget={key: level for key, level in _same(configs).items() if key in _BUDGET},
        commit=tuple(commits),
        plan=sweep.registered.sha256,
        notes=_notes(trials, experiment),
        winners=tuple(
            Winner(arm=dict(best.arm), levels=dict(best.levels), on_edge=best.on_edge,
                   reached=best.reached)
            for best in comparison.best
        ),
        trials=tuple(map(_trial, trials)),
    )  # fmt: skip


def _notes(trials: Sequence[Trial], experiment: Experiment) -> str:
    """Say which runs were not waited for."""
    if not (beaten := beaten_early(trials, experiment)):
        return ""
    listed = ", ".join(
        f"{run.run} ({'not started' if run.not_by is None else f'{run.not_by:.3g}'})"
        for run in beaten
    )
    return (
        "Runs that are not finished because their trials could no longer be the best of their "
        f"arms, with the epoch before which they could not reach the threshold: {listed}"
    )


def _trial(trial: Trial) -> TrialFound:
    content: dict[str, Any] = {
        "arm": dict(trial.arm),
        "levels": dict(trial.levels),
        "runs": len(trial.outcomes),
        "reached": len(trial.reached),
    }
    for key, number in (("mean", trial.value), ("error_reached", trial.error_reached)):
        if number is not None:
            content[key] = round(number, 4)
    if trial.is_bound:
        content["is_bound"] = True
    return TrialFound.model_validate(content)


def _same(configs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what all configurations have in common."""
    first = configs[0] if configs else {}
    return {
        key: level
        for key, level in first.items()
        if all(each.get(key, _same) == level for each in configs[1:])
    }


def _space(trials: tuple[Trial, ...], intervals: Any) -> dict[str, Any]:
    """Return the ends of each key that was given as an interval, else its ascending levels."""
    space: dict[str, Any] = {}
    for key in trials[0].levels:
        ends = [list(each[key]) for each in intervals if key in each]
        levels = list(dict.fromkeys(each.levels[key] for each in trials))
        if all(isinstance(level, int | float) for level in levels):
            levels.sort(key=lambda level: float(str(level)))
        space[key] = {"intervals": ends} if ends else levels
    return space


class _Dumper(yaml.SafeDumper):
    """Writes each trial and each winner in one line."""


def _mapping(dumper: _Dumper, content: Mapping[str, Any]) -> yaml.Node:
    is_row = "arm" in content and "levels" in content
    is_short = is_row or not any(isinstance(each, dict | list) for each in content.values())
    return dumper.represent_mapping("tag:yaml.org,2002:map", content.items(), flow_style=is_short)


def _sequence(dumper: _Dumper, content: list[Any]) -> yaml.Node:
    is_short = not any(isinstance(each, dict) for each in content)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", content, flow_style=is_short)


_Dumper.add_representer(dict, _mapping)
_Dumper.add_representer(list, _sequence)
