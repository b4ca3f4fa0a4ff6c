import re
from collections.abc import Collection, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from alexnet.config.experiment import Claim, Experiment, Measure, Section, Size
from alexnet.config.schema import (
    OWNED,
    Checkpoint,
    Config,
    EvaluationConfig,
    learning_schema,
    part_schema,
    training_schema,
)
from alexnet.config.signature import NoSuchTarget
from alexnet.config.suggest import SYNONYMS, suggest_key
from alexnet.config.trust import targets_of_files
from alexnet.paths import CONF

_KINDS = ("int", "float", "str", "bool", "list", "dict", "tuple", "none")
"""Names that pydantic appends to a location for the members of a union."""

Sections = dict[str, set[str]]


def sections(schema: type[Section] = Config, plain: Mapping[str, Any] | None = None) -> Sections:
    """Return every section of the schema with its keys; "" is the top level.

    The sections of network and data have the keys of the class in `plain`, or without it those of
    all shipped classes.
    """
    known: Sections = {"": keys_of(schema)}
    for group in ("model", "data"):
        chosen = ((plain or {}).get(group) or {}).get("_target_")
        known[group] = _keys_of_targets(
            [chosen] if chosen else targets_of_files([CONF / group]), group
        )
    if issubclass(schema, EvaluationConfig):
        return known
    return known | {
        "learning": keys_of(learning_schema(None, None, None)),
        "trainer": keys_of(training_schema(None)),
        "checkpoint": keys_of(Checkpoint),
        "experiment": keys_of(Experiment),
        "experiment.measure": keys_of(Measure),
        "experiment.claims": keys_of(Claim),
        "experiment.claims.size": keys_of(Size),
    }


def keys_of(schema: type[Section]) -> set[str]:
    """Return the keys of a section, as users type them."""
    fields = schema.model_fields.items()
    return {field.alias or name for name, field in fields} - {"_target_"}


def _keys_of_targets(targets: Collection[str], kind: str) -> set[str]:
    keys: set[str] = set()
    for target in targets:
        try:
            keys |= keys_of(part_schema(target, kind))
        except NoSuchTarget:
            continue  # reported by the check of the section itself
    return keys


def explain(
    error: ValidationError, schema: type[Section] = Config, plain: Mapping[str, Any] | None = None
) -> str:
    """Explain each mistake in one line, with suggestions from the schema."""
    lines: dict[str, str] = {}  # by key: for a union, the line for its first member
    for each in error.errors(include_url=False):
        line = _explain(each, schema, plain or {})
        lines.setdefault(line.partition(" is not possible")[0], line)
    return "\n".join(lines.values())


def _explain(error: ErrorDetails, schema: type[Section], plain: Mapping[str, Any]) -> str:
    """Explain one of pydantic's errors in a line: the key, what is wrong, what was given."""
    # A location ends with [key] if the key itself is wrong, and with a type for a union's member.
    path = [str(part) for part in error["loc"] if re.fullmatch(r"-?\w+", str(part))]
    while path[1:] and path[-1] in _KINDS:
        path.pop()
    key, given = ".".join(path), error["input"]
    if error["type"] == "extra_forbidden":
        if path[-1] in SYNONYMS and isinstance(given, Mapping) and given:
            key = f"{key}.{next(iter(given))}"  # +optimizer.lr=0.1 means the key below it
        return f"unknown key {key}: {_suggest(key, schema, plain)}"
    if error["type"] == "missing" or given == "???":
        return f"{key} is missing"
    if error["type"] == "literal_error":
        allowed = error["ctx"]["expected"].replace("'", "")
        return f"{key}={given} is not possible: choose {allowed}"
    if error["type"] == "tuple_type":
        return f"{key}={given} is not possible: give a list, {key}=[{given}]"
    why = error["msg"].removeprefix("Value error, ")
    return f"{key}={given} is not possible: {why[0].lower()}{why[1:]}"


def _suggest(key: str, schema: type[Section], plain: Mapping[str, Any]) -> str:
    section, _, last = key.rpartition(".")
    if section == "trainer" and last in OWNED:
        return f"this program sets it; {OWNED[last]}"
    every, chosen = sections(schema), sections(schema, plain)
    here: set[str] = chosen.get(section, set())
    if section and section not in every:  # learning.optimizer, callbacks.early_stopping
        target = _dig(plain, section)
        if isinstance(target, Mapping) and "_target_" in target:
            here = keys_of(part_schema(target["_target_"], section.rpartition(".")[2]))
            every[section] = here
    return suggest_key(key, every, here)


def _dig(plain: Mapping[str, Any], section: str) -> Any:
    node: Any = plain
    for part in section.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node
