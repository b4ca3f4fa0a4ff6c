from collections.abc import Collection, Mapping
from typing import Any

DECAYS = ("weight_decay", "bias_weight_decay", "layer_weight_decay")
"""Settings that an optimizer takes as its weight_decay, for all or for some of the parameters."""


def refused_settings(
    optimizer_parameters: Collection[str], name: str, settings: Mapping[str, Any]
) -> list[str]:
    """What the keys under learning: ask of an optimizer that does not have it, one line each.

    `optimizer_parameters` are the names of the arguments of the optimizer called `name`; one that
    begins with ** takes everything. `settings` are the keys under learning:, of which lr, momentum
    and the decays are for the optimizer. null asks for nothing, and so does a decay of 0. A
    scheduler together with another schedule than constant is refused, too.
    """
    problems = []
    takes_all = any(each.startswith("**") for each in optimizer_parameters)
    for key in ("lr", "momentum", *DECAYS):
        value = settings.get(key)
        parameter = "weight_decay" if key in DECAYS else key
        if value is None or takes_all or parameter in optimizer_parameters:
            continue
        if key in DECAYS and not any(_numbers(value)):
            continue
        what = "not an argument" if key == parameter else "a weight_decay, not an argument"
        remedy = "choose another optimizer" if key == "lr" else f"set learning.{key}=null"
        problems.append(f"learning.{key}={value} is {what} of {name}: {remedy}")
    schedule = settings.get("schedule", "constant")
    if settings.get("scheduler") is not None and schedule != "constant":
        problems.append(
            f"learning.scheduler is for learning.schedule=constant, which is {schedule}: set "
            "learning.schedule=constant, or learning.scheduler=null"
        )
    return problems


def _numbers(decay: float | Mapping[str, float]) -> list[float]:
    return list(decay.values()) if isinstance(decay, Mapping) else [decay]
