"""Conversion of configurations that earlier versions wrote.

A key that a later version added has a default in the schema: the behaviour before the key existed.
"""

from collections.abc import Mapping
from typing import Any

from alexnet.config.schema import FORMAT, WANDB, ConfigError


def read_forward(stored: Mapping[str, Any], where: str = "the configuration") -> dict[str, Any]:
    """Convert a configuration or an experiment's file of any version to the present format.

    Raises ConfigError for the format of a later version.
    """
    plain = dict(stored)
    number = plain.pop("format", 1)
    if number not in range(1, FORMAT + 1):
        raise ConfigError(
            f"{where} has format {number}, this version reads up to {FORMAT}: update alexnet-lab"
        )
    arms = plain.get("arms")
    if isinstance(arms, Mapping) and "lr" in arms:  # the rates, in version 0.1
        plain["rates"] = arms["lr"]
        arms = {name: arm for name, arm in arms.items() if name != "lr"}
    plain["arms"] = arms or {}
    plain["callbacks"] = _entries(plain.get("callbacks"))
    plain["logger"] = {
        name: {"_target_": WANDB, **entry} if name == "wandb" and "_target_" not in entry else entry
        for name, entry in _entries(plain.get("logger")).items()
    }
    return plain


def _entries(group: Any) -> dict[str, Any]:
    """Return the entries that are not null: in version 0.1, logger=csv had wandb: null."""
    return {name: each for name, each in (group or {}).items() if each is not None}
