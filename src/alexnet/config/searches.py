"""Results of searches: files of conf/searches, and how an experiment reads values from them.

The report of a search writes such a file, `search.yaml`. An experiment chooses files
(`override /searches: [NAME]`), and a key takes the value that was found for its own arm:

    learning:
      lr: ${searched:learning.lr}
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from omegaconf import Container, DictConfig, OmegaConf
from pydantic import ValidationError

from alexnet.config.experiment import Level, Measure, Section, same_level


class NothingFound(ValueError):
    """No chosen search has a value for an arm; the message is written for the user."""


class Trial(Section):
    """The result of one arm at some levels of the searched keys, over all seeds.

    Of `runs` runs, `reached` finished with a value that is not censored. `mean` is over all runs
    with a value; a censored run counts with its limit, and the mean is then a lower bound
    (`is_bound`). `error_reached` is the mean of the best errors.
    """

    arm: dict[str, Level]
    levels: dict[str, Level]
    runs: int
    reached: int
    mean: float | None = None
    is_bound: bool = False
    error_reached: float | None = None


class Winner(Section):
    """The best levels of an arm; for keys in `on_edge`, better ones may lie outside the search."""

    arm: dict[str, Level]
    levels: dict[str, Level]
    on_edge: tuple[str, ...] = ()
    reached: bool = True


class Search(Section):
    """The content of a file of conf/searches.

    `unfinished` says why a winner may not be the best of its arm; None for a finished search.
    `data` and `network` say where it was made. `given` are the settings of the network that no arm
    changed: the search has no values for other settings. `space` contains the levels of each key,
    or the ends of its interval, `n_trials` the number of trials per arm, `budget` the length of
    the runs, and `plan` the SHA-256 of the registered plan.
    """

    experiment: str
    unfinished: str | None
    data: str
    network: str | None
    given: dict[str, Any]
    measure: Measure
    space: dict[str, Any]
    n_trials: int
    seeds: tuple[int, ...]
    budget: dict[str, Any]
    commit: tuple[str, ...]
    plan: str | None = None
    notes: str = ""
    winners: tuple[Winner, ...]
    trials: tuple[Trial, ...]

    @property
    def sha256(self) -> str:
        """SHA-256 of the content, independent of how the file is formatted."""
        return hashlib.sha256(json.dumps(self.plain(), sort_keys=True).encode()).hexdigest()

    def winner(self, value_of: Callable[[str], Any]) -> Winner | str:
        """Return the winner of the arm with these values of keys, or a text why there is none."""
        for key, level in self.given.items():
            if not same_level(value_of(key), level):
                return f"was made with {key}={_text(level)}, not {_text(value_of(key))}"
        for winner in self.winners:
            if all(same_level(value_of(key), level) for key, level in winner.arm.items()):
                return winner
        keys = dict.fromkeys(key for winner in self.winners for key in winner.arm)
        arm = ", ".join(f"{key}={_text(value_of(key))}" for key in keys) or "any arm"
        return f"has no winner for {arm}"


def searches_used(searches: Mapping[str, Search], flat: Mapping[str, Any]) -> dict[str, Search]:
    """Return the searches whose winner's levels a configuration (by dotted keys) has."""

    def is_used(search: Search) -> bool:
        winner = search.winner(flat.get)
        return isinstance(winner, Winner) and all(
            same_level(flat.get(key), level) for key, level in winner.levels.items()
        )

    return {name: search for name, search in searches.items() if is_used(search)}


def value_found(key: str, *, _root_: DictConfig) -> Level:
    """Resolve ${searched:KEY}: return the best level of the key for the arm that is composed.

    Raises NothingFound if the chosen searches have no level for it, or different ones.
    """

    def value_of(dotted: str) -> Any:
        value = OmegaConf.select(_root_, dotted)
        return OmegaConf.to_container(value) if isinstance(value, Container) else value

    remedy = f"Set {key}=VALUE, or search for it (docs/statistics.md, Searches)"
    reasons, found = [], {}
    for name, search in _searches(_root_).items():
        winner = search.winner(value_of)
        if isinstance(winner, str):
            reasons.append(f"{name} {winner}")
        elif key not in winner.levels:
            reasons.append(f"{name} is a search of {', '.join(winner.levels)}")
        else:
            found[name] = winner.levels[key]
    if not found:
        why = "; ".join(reasons) or "no file of conf/searches is chosen"
        raise NothingFound(f"no search has found a {key} for this arm: {why}. {remedy}")
    if any(not same_level(level, next(iter(found.values()))) for level in found.values()):
        listed = ", ".join(f"{level} by {name}" for name, level in found.items())
        raise NothingFound(f"several {key} were found for this arm: {listed}. Choose one search")
    return next(iter(found.values()))


def _searches(root: DictConfig) -> dict[str, Search]:
    node = root.get("searches")
    plain: Any = OmegaConf.to_container(node) if isinstance(node, Container) else {}
    searches = {}
    for name, content in plain.items():
        try:
            searches[str(name)] = Search.model_validate(content)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, (name, *first["loc"])))
            raise NothingFound(f"searches.{where} is damaged: {first['msg']}") from error
    return searches


def _text(level: Any) -> str:
    return level if isinstance(level, str) else json.dumps(level)
