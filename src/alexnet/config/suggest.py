"""Suggestions for names that do not exist. Imports nothing heavy."""

import difflib
import re
from collections.abc import Collection, Iterable, Mapping

# Names that other frameworks use.
SYNONYMS = {
    "activation": "nonlinearity",
    "norm": "normalization",
    "pool": "pooling",
    "towers": "columns",
    "groups": "columns",
    "learning_rate": "lr",
    "optimizer": "learning",
    "epochs": "max_epochs",
    "steps": "max_steps",
    "gpus": "devices",
    "dataset": "data",
    "datamodule": "data",
    "batch": "batch_size",
    "num_workers": "workers",
    "data_dir": "root",
    "output_dir": "outputs",
}

ADDED = ("experiment", "tune", "debug")
"""Groups without a default, which are added with +."""


def did_you_mean(word: str, candidates: Iterable[str], prefix: str = "") -> str:
    """Suggest the nearest candidate, or list all of them, as the end of an error message."""
    names = sorted(candidates)
    known = {old: new for old, new in SYNONYMS.items() if new in names} | {n: n for n in names}
    if near := difflib.get_close_matches(word, known, n=1, cutoff=0.6):
        return f"did you mean {prefix}{known[near[0]]}?"
    return f"available: {', '.join(prefix + name for name in names)}"


def suggest_key(
    key: str, sections: Mapping[str, Iterable[str]], chosen: Collection[str] = ()
) -> str:
    """Suggest a dotted key; `sections` maps each section ("" is the top level) to its keys.

    A section such as `model` can have the keys of any of several classes, all of which are in
    `sections`; `chosen` are the keys of the class that is used here.
    """
    section, _, last = key.rpartition(".")
    if last in sections.get(section, ()):
        return f"the chosen {section} does not have this key"
    if chosen:
        sections = {**sections, section: chosen}
    word = SYNONYMS.get(last, last)
    holders = [name for name, keys in sections.items() if word in keys and name]
    if section not in sections or (not section and holders):
        dotted = [f"{name}.{each}" for name, keys in sections.items() if name for each in keys]
        if near := [f"{name}.{word}" for name in holders] or difflib.get_close_matches(
            key, dotted, 1
        ):
            return f"did you mean {near[0]}?"
        section, last = "", key.partition(".")[0]
    return did_you_mean(last, sections[section], prefix=f"{section}." if section else "")


def explain_hydra(error: Exception, sections: Mapping[str, Iterable[str]]) -> str:
    """Explain an error of Hydra or OmegaConf in one or two lines, with a suggestion."""
    text = str(error)
    if override := getattr(error, "override", None):  # Hydra's grammar cannot parse it
        return (
            f"{override} cannot be read: write key=value; for a value with spaces, brackets, = or "
            f"commas, '{override.partition('=')[0]}=\"value\"'"
        )
    if again := re.search(
        r"(?:Multiple values for |not supported: '\+\+)([\w/]+)|(\w+) appears more than once", text
    ):
        group = again[1] or again[2]
        if group in ADDED:
            return f"one {group} at a time: give +{group}=NAME once"
        return f"{group} has a value already: {group}=NAME without a plus sign replaces it"
    if "Config group override must be a string" in text:
        return "a group takes the name of a file, as in model=alexnet: --help lists them"
    if group := re.search(r"Could not find '(?:(\S+)/)?([^'/]*)'", text):
        options = re.findall(r"^\t(\S+)$", text, flags=re.MULTILINE)
        name = group[1] or "config"
        return f"no file {name}={group[2]}: {did_you_mean(group[2], options)}"
    if file := re.search(r"Could not load '([^']+)'", text):
        return f"there is no conf/{file[1]}.yaml"
    if key := re.search(r"Could not (?:override|delete from config\.) '([^']+)'", text):
        if key[1] in ADDED:
            return f"{key[1]} needs a plus sign: +{key[1]}=NAME"
        if f"full_key: {key[1]}." in f"{text}\n{error.__cause__}":
            return (
                f"{key[1]} has entries already, and these would be mixed with them: "
                f"choose a {key[1].partition('.')[0]} without entries"
            )
        # The keys of its section, if the key is missing in it and not the section itself.
        missing = getattr(error.__cause__, "full_key", None)
        section = getattr(error.__cause__, "parent_node", None) if missing == key[1] else None
        chosen = [str(each) for each in section or () if "." in key[1] and each != "_target_"]
        return f"unknown key {key[1]}: {suggest_key(key[1], sections, chosen)}"
    if "Ambiguous value" in text:
        return f"{text.splitlines()[0]}: --cfg shows one run; give one value, or [a,b] for a list"
    if "already at" in text:
        return text.splitlines()[0]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    cause = str(error.__cause__).splitlines()[0] if error.__cause__ else ""
    return "\n".join([*lines[:4], cause] if cause and cause not in text else lines[:4])
