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
"""Members of unions, which pydantic tries one by one."""

Sections = dict[str, set[str]]


def sections(schema: type[Section] = Config, plain: Mapping[str, Any] | None = None) -> Sections:
    """Every section of the schema with its keys; "" is the top.

    A network or a data set has the keys of what `plain` chooses, or of all that are shipped.
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
    """As people type them."""
    fields = schema.model_fields.items()
    return {field.alias or name for name, field in fields} - {"_target_"}


def _keys_of_targets(targets: Collection[str], kind: str) -> set[str]:
    keys: set[str] = set()
    for target in targets:
        try:
            keys |= keys_of(part_schema(target, kind))
        except NoSuchTarget:
            continue  # the section's own check names it
    return keys


def explain(
    error: ValidationError, schema: type[Section] = Config, plain: Mapping[str, Any] | None = None
) -> str:
    """One line for each mistake, with suggestions from the schema."""
    lines: dict[str, str] = {}  # by key: the first of those for the members of a union
    for each in error.errors(include_url=False):
        line = _explain(each, schema, plain or {})
        lines.setdefault(line.partition(" is not possible")[0], line)
    return "\n".join(lines.values())


def _explain(error: ErrorDetails, schema: type[Section], plain: Mapping[str, Any]) -> str:
    """One line for one error of pydantic's: the key, what is wrong, what was given."""
    # [key] stands behind a key that is wrong itself; members of unions have parts of their own.
    path = [str(part) for part in error["loc"] if re.fullmatch(r"-?\w+", str(part))]
    while path[1:] and path[-1] in _KINDS:
        path.pop()
    key, given = ".".join(path), error["input"]
    if error["type"] == "extra_forbidden":
        if path[-1] in SYNONYMS and isinstance(given, Mapping) and given:
            key = f"{key}.{next(iter(given))}"  # +optimizer.lr=0.1: what was meant is a key
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
