"""Registration of a sweep's plan before its first run, and comparison with what was done.

A claim, a margin or a number of seeds that was chosen after seeing results is weaker evidence than
one that was written down before. So sweep.json keeps the original plan, with its hash.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from alexnet import crossing

METHOD = (
    "two-sided paired t-tests over seeds at the 5 % level; two one-sided tests for equality; "
    "Holm's adjustment over the claims of an experiment"
)
"""How claims are judged. A different method counts as a change of the plan."""

METHOD_AT_ANY_LOOK = (
    "an e-value of paired effects that is valid at any look (normal mixture over standardized "
    "effects, deviation unknown), as p-values at the 5 % level; two one-sided tests for equality; "
    "Holm's adjustment over the claims of an experiment"
)
"""How claims are judged if seeds are added until a claim is settled (seed=auto)."""

_OF_EXPERIMENT = ("claims", "factor", "baseline", "measure", "effect", "search")


@dataclass(frozen=True, kw_only=True)
class Registered:
    """The registered plan, compared with the present one.

    `method` says how claims are judged. `sha256` is None for sweeps of earlier versions, which have
    no registration. `changed` lists the changes since. `looks` are the numbers of seeds at which a
    report was made before more were added; `n` is the number of seeds now. With `max_seeds`,
    seed=auto adds seeds up to this number, with tests that are valid at any look.
    """

    sha256: str | None
    method: str
    changed: tuple[str, ...] = ()
    looks: tuple[int, ...] = ()
    n: int = 0
    max_seeds: int | None = None

    @property
    def text(self) -> str:
        """Sentences that say whether the plan was registered and kept, and the looks at results."""
        looked = ""
        seen = [str(n) for n in (*self.looks, self.n)]
        if self.max_seeds is not None:
            looked = (
                f" seed=auto adds seeds until the first claim is settled, at most "
                f"{self.max_seeds}: looked at n = {', '.join(seen)}. The test is valid at any look."
            )
        elif self.looks:
            looked = (
                f" Seeds were added after a report: looked at n = {', then '.join(seen)}. Each "
                "further look raises the chance of a false verdict above 5 %."
            )
        if self.sha256 is None:
            return f"not registered before the first run.{looked}"
        if self.changed:
            changes = "; ".join(self.changed)
            return f"registered ({self.sha256[:12]}), and changed since: {changes}.{looked}"
        return f"registered before the first run ({self.sha256[:12]}), unchanged.{looked}"

    def plain(self) -> dict[str, Any] | None:
        """The entry in verdict.json; None if there is no registration."""
        if self.sha256 is None:
            return None
        return {
            "sha256": self.sha256,
            "changed": list(self.changed),
            "looks": list(self.looks),
            "max_seeds": self.max_seeds,
        }


def _method(experiment: Mapping[str, Any], max_seeds: int | None) -> str:
    """Describe how claims are judged, and how times are read off a curve if any are measured."""
    judged = METHOD if max_seeds is None else METHOD_AT_ANY_LOOK
    claims = experiment.get("claims") or ()
    measures = (experiment.get("measure"), *(claim.get("measure") for claim in claims))
    has_time = any((each or {}).get("kind") == "epochs_to_error" for each in measures)
    return f"{judged}; {crossing.METHOD}" if has_time else judged


def register(
    experiment: Mapping[str, Any],
    runs: Mapping[str, Any],
    *,
    budget: Mapping[str, Any],
    max_seeds: int | None = None,
) -> dict[str, Any]:
    """Register a sweep that has not begun: return `content` and its `sha256`.

    With `max_seeds`, seeds are added until the first claim is settled, up to this number.
    """
    content = _content(experiment, runs, budget, max_seeds)
    return {"sha256": _hash(content), "content": content}


def compare_plans(plan: Mapping[str, Any]) -> Registered:
    """Compare the plan in sweep.json with its registration.

    Raises ValueError if the registration was edited.
    """
    now = _seeds(plan["runs"])
    looks = tuple(plan.get("looks") or ())
    registered, most = plan.get("registered"), plan.get("max_seeds")
    if not registered:
        method = _method(plan["experiment"], most)
        return Registered(sha256=None, method=method, looks=looks, n=len(now), max_seeds=most)
    before = registered["content"]
    if _hash(before) != registered["sha256"]:
        raise ValueError("the registration was edited: its content does not match its sha256")
    after = _content(plan["experiment"], plan["runs"], before["budget"], most)
    old, new = _stated(before), _stated(after)
    changed = [f"{key}: {_added(old[key], new[key])}" for key in old if old[key] != new.get(key)]
    return Registered(
        sha256=registered["sha256"],
        method=after["method"],
        changed=tuple(changed),
        looks=looks,
        n=len(now),
        max_seeds=most,
    )


def _content(
    experiment: Mapping[str, Any],
    runs: Mapping[str, Any],
    budget: Mapping[str, Any],
    max_seeds: int | None,
) -> dict[str, Any]:
    levels: dict[str, list[Any]] = {}
    for run in runs.values():
        for key, level in run["arm"].items():
            if level not in levels.setdefault(key, []):
                levels[key].append(level)
    seeds = _seeds(runs)
    is_auto = max_seeds is not None and seeds[-1] < max_seeds
    content = {
        **{key: experiment.get(key) for key in _OF_EXPERIMENT},
        "method": _method(experiment, max_seeds),
        "levels": levels,
        "seeds": f"auto, at most {max_seeds}" if is_auto else seeds,
        "budget": dict(budget),
    }
    plain: dict[str, Any] = json.loads(json.dumps(content))
    return plain


def _stated(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content without the keys of claims that are null: later versions have more."""
    claims = [
        {key: value for key, value in claim.items() if value is not None}
        for claim in content.get("claims") or ()
    ]
    return {**content, "claims": claims}


def _seeds(runs: Mapping[str, Any]) -> list[int]:
    return sorted({run["seed"] for run in runs.values()})


def _added(before: Any, after: Any) -> str:
    if isinstance(before, list) and isinstance(after, list) and _has_all(after, before):
        more = [each for each in after if each not in before]
        return f"{', '.join(map(_text, more))} added"
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        differ = [key for key in {**before, **after} if before.get(key) != after.get(key)]
        return ", ".join(f"{key} {_added(before.get(key), after.get(key))}" for key in differ)
    return f"{_text(before)} before, {_text(after)} now"


def _has_all(these: Iterable[Any], those: Iterable[Any]) -> bool:
    return all(each in these for each in those)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _hash(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
