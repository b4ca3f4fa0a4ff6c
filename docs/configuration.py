"""Write docs/configuration.md, the reference of every configuration key.

    python docs/configuration.py

Keys, accepted values and defaults come from the schema and from conf/; meanings are the comments on
the lines of the keys there, and for the keys of an experiment the docstrings of the schema.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from inspect import getdoc
from itertools import takewhile
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from alexnet.config import experiment, schema
from alexnet.paths import CONF
from alexnet.vocabulary import LEVELS, METRICS, LevelOf

FILE = Path(__file__).with_suffix(".md")

_GROUPS = {
    "model": "The network (section 3): `model=NAME` selects a file of `conf/model`.",
    "data": "The images (section 2): `data=NAME` selects a file of `conf/data`.",
    "learning": "The learning rule (section 5): `learning=NAME` selects a file of `conf/learning`.",
    "trainer": "Devices and the length of a run: `trainer=NAME` selects a file of `conf/trainer`.",
    "callbacks": "Lightning callbacks: `callbacks=NAME`, or several: `callbacks=[NAME,NAME]`.",
    "logger": "Loggers beside the run's files: `logger=NAME`, or several: `logger=[NAME,NAME]`.",
    "hydra/launcher": "Where runs are started: `hydra/launcher=NAME`; the keys are "
    "`hydra.launcher.KEY`. See [Cluster](cluster.md).",
}

_HEAD = """\
# Configuration keys

<!-- Made by docs/configuration.py. Do not edit: change the comments in conf/ or the schema. -->

Every key that a command accepts. Set one with `key=value`; several values, `key=a,b`, make a sweep.
`python src/train.py --cfg job` prints the configuration of a command without running it. If you
mistype a key or a value, the command stops before anything starts and suggests the correct one.

A class named by `_target_` accepts the arguments of its constructor, and so do your own classes:
see [Your own question](own_question.md). Here `any` stands for a type that is not declared.
"""


def page() -> str:
    """The text of docs/configuration.md."""
    parts = [_HEAD, "## Top level", _top(), "## Experiment", _experiment()]
    for group, text in _GROUPS.items():
        parts += [f"## {group}", text, _choices(group), *_tables(group)]
    return (
        "\n\n".join(
            [*parts, "## Levels and metrics", _vocabulary(), "## Evaluation", _evaluation()]
        )
        + "\n"
    )


def _top() -> str:
    values, comments = _read(CONF / "config.yaml")
    fields = {
        key: field
        for key, field in schema.Config.model_fields.items()
        if key not in {*_GROUPS, "experiment", "checkpoint"}
    }
    # No file in conf/ has this key: only files from version 0.1 and of users do.
    comments["rates"] = "learning rates: {INIT: {NONLINEARITY: rate}}, read as ${rates....}"
    minutes = {"minutes": schema.Checkpoint.model_fields["minutes"]}
    return _table(
        _rows(fields, values, comments),
        _rows(minutes, values["checkpoint"], comments, "checkpoint."),
    )


def _experiment() -> str:
    parts = ["An experiment file sets these under `experiment:`. They are kept in `sweep.json`."]
    for model in (experiment.Experiment, experiment.Measure, experiment.Claim, experiment.Size):
        parts += [
            f"### {model.__name__}",
            *([] if model is experiment.Size else [getdoc(model) or ""]),
            *([f"```text\n{getdoc(model)}\n```"] if model is experiment.Size else []),
            _table(_rows(model.model_fields, {}, {}), meanings=False),
        ]
    return "\n\n".join(parts)


def _evaluation() -> str:
    values, comments = _read(CONF / "evaluate.yaml")
    fields = schema.EvaluationConfig.model_fields
    return "Keys of `python src/evaluate.py`.\n\n" + _table(_rows(fields, values, comments))


def _vocabulary() -> str:
    levels = [f"- `model.{key}`: {_words(list(LEVELS[key]))}" for key in LEVELS]
    metrics = [f"- `{key}`: {metric.printed}" for key, metric in METRICS.items()]
    return "\n".join(
        [
            "Levels of the factors; [`add_level`](python.md) adds more:\n",
            *levels,
            "\nMetrics, which an experiment can measure; [`add_metric`](python.md) adds more. "
            "An error is a fraction between 0 and 1:\n",
            *metrics,
        ]
    )


def _choices(group: str) -> str:
    """The files of a group and what the first line of each says."""
    lines = [f"| {group} | |", "|---|---|"]
    for file in _files(group):
        lines.append(f"| `{file.stem}` | {_cell(_header(file))} |")
    return "\n".join(lines)


def _header(file: Path) -> str:
    """The comment that a file begins with, up to its commands."""
    lines = takewhile(re.compile(r"# [^ @]").match, file.read_text().splitlines())
    return " ".join(line.removeprefix("# ") for line in lines)


def _tables(group: str) -> Iterator[str]:
    """Every key of each class that the files of a group name, with the values of that file."""
    for file in _files(group):
        values, comments = _read(file)
        if group == "data":
            shared, meanings = _read(CONF / "data" / "_every.yaml")
            values, comments = shared | values, meanings | comments
        if group in ("callbacks", "logger"):
            for name, entry in values.items():
                fields = schema.part_schema(entry["_target_"], group).model_fields
                yield f"### {group}={file.stem}"
                yield _table(_rows(fields, entry, comments, f"{group}.{name}."))
        elif group == "hydra/launcher":
            yield f"### {group}={file.stem}"
            yield _table(_rows(_untyped(values), values, comments, "hydra.launcher."))
        elif group == "learning" and file.stem == "constant":
            fields = schema.learning_schema(None, None, None).model_fields
            yield _table(_rows(fields, values, comments, "learning."))
        elif group == "trainer" and file.stem == "auto":
            fields = schema.training_schema(None).model_fields
            yield _table(_rows(fields, values, comments, "trainer."))
        elif group in ("model", "data") and "_target_" in values:
            fields = schema.part_schema(values["_target_"], group).model_fields
            yield f"### {group}={file.stem}"
            yield _table(_rows(fields, values, comments, f"{group}."))


def _files(group: str) -> list[Path]:
    return sorted((CONF / group).glob("[!_]*.yaml"))


def _untyped(values: dict[str, Any]) -> dict[str, FieldInfo]:
    return {key: FieldInfo(annotation=Any) for key in values if key != "_target_"}  # type: ignore[arg-type]


def _read(file: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The values of a file, and the comment on the line of each key; indented lines continue it."""
    comments: dict[str, str] = {}
    key = ""
    for line in file.read_text().splitlines():
        if match := re.match(r"\s*(?:- )?(\w+):[^#]*#\s*(.+)", line):
            key = match[1]
            comments[key] = match[2]
        elif key and (match := re.match(r"\s{20,}#\s*(.+)", line)):
            comments[key] += f" {match[1]}"
        else:
            key = ""
    values = yaml.safe_load(file.read_text()) or {}
    values.pop("defaults", None)
    return values, comments


def _rows(
    fields: Mapping[str, FieldInfo],
    values: Mapping[str, Any],
    comments: Mapping[str, str],
    prefix: str = "",
) -> Iterator[tuple[str, str, str, str]]:
    for name, field in fields.items():
        key = field.alias or name
        if key == "_target_":
            continue
        if key in values:
            default = _value(values[key])
        else:
            default = (
                "required"
                if field.is_required()
                else _value(field.get_default(call_default_factory=True))
            )
        yield (
            f"`{prefix}{key}`",
            _kind(field.annotation, field.metadata),
            default,
            _cell(comments.get(key, "")),
        )


def _table(*rows: Iterator[tuple[str, str, str, str]], meanings: bool = True) -> str:
    head = ("key", "values", "default", "meaning")
    width = 4 if meanings else 3
    lines = [head, ("---",) * 4, *(row for part in rows for row in part)]
    return "\n".join(f"| {' | '.join(line[:width])} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").strip()


def _value(value: Any) -> str:
    if value == "???":
        return "required"
    if isinstance(value, BaseModel):
        value = value.model_dump()
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("\n...\n")
    return f"`{text.strip()}`"


def _kind(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """What a key accepts, in words: `relu` or `tanh`; a whole number above 0; a list of text."""
    metadata = list(metadata)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(arguments[0], [*arguments[1:], *metadata])
    for each in metadata:
        if isinstance(each, LevelOf):
            return _words(list(LEVELS[each.factor]))
    if origin is Literal:
        return _words([_plain(value) for value in arguments])
    if origin in (Union, UnionType):
        kinds = list(dict.fromkeys(_kind(part) for part in arguments if part is not NoneType))
        limits = _limits(metadata)
        return ", ".join(kinds) + limits + (", or `null`" if NoneType in arguments else "")
    if origin in (tuple, list, set, frozenset):
        parts = [part for part in arguments if part is not Ellipsis]
        return f"list of {_kind(parts[0]) if parts else 'any'}"
    if origin in (dict, Mapping) or annotation is dict:
        return "mapping"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"mapping: {annotation.__name__}"
    words = {bool: "`true` or `false`", int: "whole number", float: "number", str: "text"}
    return words.get(annotation, "any") + _limits(metadata)


def _limits(metadata: Iterable[Any]) -> str:
    signs = {Gt: ("gt", "above"), Ge: ("ge", "from"), Lt: ("lt", "below"), Le: ("le", "up to")}
    found = [
        f" {word} {getattr(each, name):g}"
        for each in metadata
        for kind, (name, word) in signs.items()
        if isinstance(each, kind)
    ]
    return "".join(found)


def _words(levels: list[Any]) -> str:
    return ", ".join(f"`{level}`" for level in levels)


def _plain(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def main() -> None:
    """Write the page."""
    FILE.write_text(page())


if __name__ == "__main__":
    main()
