"""The runs in a report: a table of all, their settings and their provenance."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from alexnet.results import wording
from alexnet.results.compare import Comparison
from alexnet.results.effects import Outcome
from alexnet.results.parts import Part, Table, Warning
from alexnet.results.runs import COSTS, Sweep


def runs(sweep: Sweep) -> Iterator[Part]:
    """Yield the table of planned runs, with their folders and the reasons for not finishing."""
    rows = []
    measure = sweep.experiment.measure
    for row, outcome in zip(sweep.runs.to_dict("records"), sweep.outcomes(), strict=True):
        cause = row["cause"]
        if row["state"] == "finished" and outcome.value is None:
            cause = sweep.why_unmeasured()
        fate = outcome.fate
        state = row["state"] if fate == "unfinished" else fate
        shown = wording.value(outcome.value, measure)
        if outcome.fate == "diverged" and outcome.value is not None and not outcome.censored:
            shown += " (guessing)"
        if outcome.censored:
            shown = f"more than {outcome.value:.4g}"
        rows.append(
            [
                f"[{outcome.run}](../{outcome.run})",
                "censored" if outcome.censored and fate == "finished" else state,
                shown,
                _number(row["epochs"], "g"),
                *(_number(row[name], ".0f") for name in COSTS),
                cause or "-",
            ]
        )
    costs = ["seconds", "images/s", "memory (MB)"]
    head = ["run", "state", wording.name_of_measure(measure), "epochs", *costs, "cause"]
    yield _tally(row[1] for row in rows)
    yield Table(head, rows)


def _tally(states: Iterable[str]) -> str:
    counts: dict[str, int] = {}
    for state in states:
        counts[state] = counts.get(state, 0) + 1
    listed = ", ".join(f"{count} {state}" for state, count in counts.items())
    return f"{sum(counts.values())} planned: {listed}."


def settings(sweep: Sweep, comparison: Comparison) -> Iterator[Part]:
    """Yield the keys that differ between runs apart from the swept ones, then all others."""
    configs = {run: dict(_flat(config)) for run, config in sweep.configs.items() if config}
    if not configs:
        yield "No run has recorded its configuration."
        return
    sections = ("model", "data", "learning", "trainer")
    swept = {key for arm in sweep.arms.values() for key in arm}
    distinct = {
        key: {config.get(key, "not set") for config in configs.values()}
        for key in dict.fromkeys(key for config in configs.values() for key in config)
        if key not in swept and key.partition(".")[0] in sections
    }
    differ = [
        [f"`{key}`", *(_values_in_arm(key, arm.outcomes, configs) for arm in comparison.arms)]
        for key, values in distinct.items()
        if len(values) > 1
    ]
    if differ:
        yield "Apart from what was varied, the runs differ in:"
        yield Table(["key", *(arm.label for arm in comparison.arms)], differ)
    else:
        yield "Apart from what was varied, the runs do not differ."
    yield "The same in all runs:"
    same = []
    for section in sections:
        equal = [
            f"`{key.partition('.')[2]}={''.join(values)}`"
            for key, values in distinct.items()
            if key.partition(".")[0] == section and len(values) == 1
        ]
        if equal:
            same.append(f"- {section}: {', '.join(equal)}")
    yield "\n".join(same)


def _values_in_arm(
    key: str, outcomes: Iterable[Outcome], configs: Mapping[str, Mapping[str, str]]
) -> str:
    mine = (configs[each.run].get(key, "not set") for each in outcomes if each.run in configs)
    return " / ".join(dict.fromkeys(mine))


def _flat(content: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the dotted keys of a configuration with their values as text."""
    if isinstance(content, dict) and content:
        for key, value in content.items():
            yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, content if isinstance(content, str) else json.dumps(content)


def _number(number: Any, form: str) -> str:
    is_number = isinstance(number, int | float) and number == number
    return format(number, form) if is_number else "-"


def provenance(sweep: Sweep) -> str:
    """List command, searches, commit, versions, hardware and threads, with numbers of runs."""
    lines = [f"- command: `{sweep.command}`"] if sweep.command else []
    lines += [_search_used(name, each, sweep) for name, each in sweep.searches.items()]
    for name, counts in _origins(sweep).items():
        shown = _by_count(counts) if len(counts) > 1 else "".join(counts)
        lines.append(f"- {name}: {shown or 'not recorded'}")
    return "\n".join(lines)


def _search_used(name: str, search: Mapping[str, Any], sweep: Sweep) -> str:
    state = f"unfinished: {search['unfinished']}" if search.get("unfinished") else "finished"
    seeds = wording.count(len(search.get("seeds") or []), "seed")
    where = f"made on {search.get('data')}"
    where += "" if search.get("data") == sweep.data else f", not on {sweep.data}"
    return f"- search: {name} (sha256 {str(search.get('sha256'))[:12]}), {where}, {seeds}; {state}"


def mixed(sweep: Sweep) -> Iterator[Part]:
    """Warn of runs made by different code, which may be the reason for different numbers."""
    for what, name in (("code", "commit"), ("libraries", "versions")):
        if len(counts := _origins(sweep)[name]) > 1:
            yield Warning(f"**Not all runs were made by the same {what}**: {_by_count(counts)}.")


def _origins(sweep: Sweep) -> dict[str, dict[str, int]]:
    """Count the runs by commit, versions, hardware and threads."""
    known = [provenance for provenance in sweep.provenance.values() if provenance]
    kinds = ("versions", "hardware", "threads")
    listed = {kind: dict(Counter(_listed(each.get(kind)) for each in known)) for kind in kinds}
    return {"commit": dict(Counter(map(_code, known))), **listed}


def _by_count(counts: Mapping[str, int]) -> str:
    return "; ".join(f"{text}: {wording.count(number, 'run')}" for text, number in counts.items())


def _code(provenance: Mapping[str, Any]) -> str:
    """Return the code that made a run: a commit, or without a checkout the version."""
    commit, version = provenance.get("commit"), provenance.get("version")
    if not commit and version and provenance.get("dirty") is False:  # installed
        return f"none (installed, version {version})"
    is_dirty = provenance.get("dirty")
    with_or_not = "perhaps with" if is_dirty is None else "with" if is_dirty else "without"
    return f"{commit} ({with_or_not} uncommitted changes)" if commit else "unknown"


def _listed(content: Any) -> str:
    if isinstance(content, dict):
        return ", ".join(
            f"no {key}" if value == [] else f"{key} {_listed(value)}"
            for key, value in content.items()
        )
    if isinstance(content, list):
        return " + ".join(map(_listed, content))
    return "not recorded" if content is None else str(content)
