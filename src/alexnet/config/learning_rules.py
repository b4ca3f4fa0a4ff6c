from collections.abc import Collection, Mapping
from typing import Any

DECAYS = ("weight_decay", "bias_weight_decay", "layer_weight_decay")
"""Settings that become the optimizer's weight_decay, for all or some of the parameters."""


def refused_settings(
    optimizer_parameters: Collection[str], name: str, settings: Mapping[str, Any]
) -> list[str]:
    """List the keys under learning: that the optimizer has no argument for, a line for each.

    `optimizer_parameters` are the names of the arguments of the optimizer called `name`; a name
    that begins with ** accepts any argument. `settings` are the keys under learning:; lr, momentum
    and the decays are for the optimizer. null and a decay of 0 are never refused. A scheduler
    together with a schedule other than constant is refused, too.
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
            f"learning.scheduler needs learning.schedule=constant, but the schedule is {schedule}: "
            "set learning.schedule=constant, or learning.scheduler=null"
        )
    return problems


def _numbers(decay: float | Mapping[str, float]) -> list[float]:
    return list(decay.values()) if isinstance(decay, Mapping) else [decay]
