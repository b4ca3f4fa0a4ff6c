"""What is wrong with a configuration file, in one line with its name and the number of the line."""

import io
from pathlib import Path

import yaml
from omegaconf import DictConfig, OmegaConf

_MOST_VALUES = 100_000  # of a file, aliases expanded; those that are shipped have fewer than 100


def problem_of(file: Path) -> str | None:
    """None for a file that is one mapping of keys in UTF-8, as every configuration file is."""
    try:
        text = file.read_bytes().decode()
    except OSError as error:
        return f"{file} cannot be read: {error.strerror}"
    except UnicodeDecodeError as error:
        line = 1 + error.object.count(b"\n", 0, error.start)
        return f"{file}, line {line}: this is no text in UTF-8: save the file in UTF-8"
    if "\0" in text:
        line = 1 + text.count("\n", 0, text.index("\0"))
        return f"{file}, line {line}: there is a NUL byte: this is no text file, or it is damaged"
    try:
        if "*" in text and (what := _problem_of_aliases(text)):
            return f"{file}: {what}"
        content = OmegaConf.load(io.StringIO(text))
    except yaml.YAMLError as error:
        return f"{file}, {_explain(error)}"
    except (OSError, ValueError) as error:  # a single word, or a key that cannot be one
        return f"{file}: {str(error).splitlines()[0]}: write key: value"
    if not isinstance(content, DictConfig):
        return f"{file} holds a list: write key: value"
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
        problem += ": configuration files have plain values"
    return f"line {error.problem_mark.line + 1}: {problem}"


def _problem_of_aliases(text: str) -> str | None:
    """A few lines of aliases of aliases (*name) can stand for more values than fit in memory."""
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = [(None, 0)]
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                return f"*{event.anchor} stands for something that contains it, or for nothing"
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
            return f"its aliases (*name) stand for more than {_MOST_VALUES} values: write fewer"
    return None
