"""Names as in print, for figures and charts: ReLU, non-overlapping, no normalization."""

from collections.abc import Mapping

from alexnet.config.experiment import Level
from alexnet.results.effects import Arm, Effect, level_label, short_key

_PRINTED = {
    "relu": "ReLU",
    "gelu": "GELU",
    "silu": "SiLU",
    "leaky_relu": "leaky ReLU",
    "lrn": "LRN",
    "non_overlapping": "non-overlapping",
    "batch": "batch norm",
}
_KEYS = {"lr": "learning rate"}
_DATA = {"cifar10": "CIFAR-10", "imagenet": "ImageNet", "mnist5k": "MNIST5k"}
_IN_TITLES = {**_PRINTED, **_DATA, "lr": "learning rates", "he": "with He's weights"}
LONGEST = 32
"""Maximum characters of a name; longer ones lose their middle, and are complete in the tables."""


def printed_key(key: str) -> str:
    """Return the name of a key as printed, for example "learning rate" for learning.lr."""
    name = short_key(key)
    return _KEYS.get(name, name.replace("_", " "))


def printed_level(key: str, level: Level) -> str:
    """Return a level as printed: a name alone; a number, a truth value or none with its key."""
    name = printed_key(key)
    if level in (None, "none"):
        return f"no {name}"
    if isinstance(level, str):
        return _shortened(_PRINTED.get(level, level.replace("_", " ")))
    return _shortened(f"{name} {level_label(level)}")


def printed_arm(arm: Arm) -> str:
    """Return the name of an arm, for example "ReLU", or "ReLU, LRN" in a grid."""
    levels = (printed_level(key, level) for key, level in arm.levels.items())
    return ", ".join(levels) or "all runs"


def printed_effect(effect: Effect) -> str:
    """Return the name of an effect: "tanh vs ReLU"; of an interaction, the level of each factor."""
    if effect.is_interaction:
        pairs = (printed_level(key, other) for key, (other, _) in effect.levels.items())
        return " x ".join(pairs)
    [(key, (other, baseline))] = effect.levels.items()
    return printed_pair({key: other}, {key: baseline})


def printed_pair(arm: Mapping[str, Level], against: Mapping[str, Level]) -> str:
    """For example "tanh vs ReLU, LRN": what differs, then what both have."""
    pairs = [
        f"{printed_level(key, level)} vs {printed_level(key, against[key])}"
        for key, level in arm.items()
        if level != against[key]
    ]
    same = [printed_level(key, level) for key, level in arm.items() if level == against[key]]
    return ", ".join([*pairs, *same])


def printed_title(experiment: str, section: str | None, data: str) -> str:
    """Return the title of a figure, for example "ReLU vs tanh (section 3.1), CIFAR-10"."""
    words = _shortened(" ".join(_IN_TITLES.get(word, word) for word in experiment.split("_")))
    where = ""
    if section:
        where = f" (section{'s' if ',' in section else ''} {section})"
    on = printed_data(data)
    return f"{words[:1].upper()}{words[1:]}{where}" + ("" if words.endswith(on) else f", {on}")


def printed_data(name: str) -> str:
    """Return the name of a data set, for example "CIFAR-10" for cifar10 or the class CIFAR10."""
    return _DATA.get(name.lower(), name)


def _shortened(name: str) -> str:
    name = name.replace("$", "")  # matplotlib reads text between two of them as a formula
    if len(name) <= LONGEST:
        return name
    half = LONGEST // 2  # names of one sweep often differ at their ends
    return f"{name[: half - 1]}\N{HORIZONTAL ELLIPSIS}{name[-half:]}"
