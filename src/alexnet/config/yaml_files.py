"""Explain in one line what is wrong with a configuration file, with its name and line number."""

import io
from pathlib import Path

import yaml
from omegaconf import DictConfig, OmegaConf

_MOST_VALUES = 100_000  # in a file, with aliases expanded; the shipped files have fewer than 100


def problem_of(file: Path) -> str | None:
    """Explain what is wrong with a file; None if it is one mapping of keys in UTF-8."""
    try:
        text = file.read_bytes().decode()
    except OSError as error:
        return f"{file} cannot be read: {error.strerror}"
    except UnicodeDecodeError as error:
        line = 1 + error.object.count(b"\n", 0, error.start)
        return f"{file}, line {line}: this is not valid UTF-8: save the file as UTF-8"
    if "\0" in text:
        line = 1 + text.count("\n", 0, text.index("\0"))
        return f"{file}, line {line}: there is a NUL byte: the file is damaged or not a text file"
    try:
        if "*" in text and (what := _problem_of_aliases(text)):
            return f"{file}: {what}"
        content = OmegaConf.load(io.StringIO(text))
    except yaml.YAMLError as error:
        return f"{file}, {_explain(error)}"
    except (OSError, ValueError) as error:  # a single word, or an invalid key
        return f"{file}: {str(error).splitlines()[0]}: write key: value"
    if not isinstance(content, DictConfig):
        return f"{file} contains a list: write key: value"
    return None


def _explain(error: yaml.YAMLError) -> str:
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return " ".join(str(error).split())
    problem = error.problem or "this is not YAML"
    if "\\t" in problem:
        problem = "there is a tab: indent with spaces"
    elif "another document" in problem:
        problem = "a second document begins (---): write one file for each"
    elif "could not determine a constructor" in problem:
        problem += ": configuration files contain plain values only"
    return f"line {error.problem_mark.line + 1}: {problem}"


def _problem_of_aliases(text: str) -> str | None:
    """Refuse nested aliases (*name): a few lines can expand to more values than memory holds."""
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = [(None, 0)]
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                return f"*{event.anchor} refers to something that contains it, or to nothing"
            anchor, size = None, sizes[event.anchor]
        elif isinstance(event, yaml.ScalarEvent):
            anchor, size = event.anchor, 1
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, 1))
            continue
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, size = open_nodes.pop()
        else:
            continue
        if anchor is not None:
            sizes[anchor] = size
        outer, so_far = open_nodes.pop()
        open_nodes.append((outer, so_far + size))
        if so_far + size > _MOST_VALUES:
            return f"its aliases (*name) expand to more than {_MOST_VALUES} values: write fewer"
    return None
