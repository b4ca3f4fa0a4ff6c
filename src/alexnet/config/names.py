import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

from alexnet.config.schema import Config

# Another place, another number of workers or another way of watching gives the same numbers.
NOT_PART_OF_THE_NAME = (
    "outputs",
    "fresh",
    "resume",
    "checkpoint",
    "logger",
    "data.root",
    "data.workers",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.strategy",
    "trainer.threads",
)


def sweep_name(data: str, base: Config, swept: Collection[str]) -> str:
    """Name of a sweep: the data set, and a hash of all that its runs have in common.

    `base` is the configuration without what is swept, so that more levels or seeds join the same
    folder. Of a swept group (trainer=cpu,two_columns) it holds the default's values, and those of
    the command line, which tell trainer.max_epochs=2 from 3.
    """
    plain = base.plain()
    groups = {key for key in swept if isinstance(plain.get(key), dict)}
    for key in {*NOT_PART_OF_THE_NAME, *swept} - groups:
        _remove(plain, key)
    text = json.dumps(plain, sort_keys=True)
    return f"{data}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def confounds(one: Config, other: Config) -> set[str]:
    """The dotted keys in which two configurations differ."""
    left, right = flatten(one.plain()), flatten(other.plain())
    return {key for key in left.keys() | right.keys() if left.get(key) != right.get(key)}


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"model": {"init": "he"}} -> {"model.init": "he"}."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _remove(plain: dict[str, Any], key: str) -> None:
    *sections, last = key.split(".")
    node: Any = plain
    for section in sections:
        node = node.get(section)
        if not isinstance(node, dict):
            return
    node.pop(last, None)
