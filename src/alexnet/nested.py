"""Plain data out of files that anyone may have written."""

from collections.abc import Iterator, Mapping
from typing import Any

_DEEPEST = 50
_MOST = 100_000


def containers(plain: Any) -> list[Any]:
    """Every mapping, list and tuple in it, the outermost first.

    Raises ValueError if they are nested too deeply or are too many. What refers to itself, or many
    times to the same, is counted as if it were written out, because readers would go through all.
    """
    return list(_walk(plain))


def _walk(plain: Any) -> Iterator[Any]:
    stack, count = [(plain, 0)], 0
    while stack:
        value, depth = stack.pop()
        if isinstance(value, Mapping):
            children = list(value.values())
        elif isinstance(value, list | tuple):
            children = list(value)
        else:
            continue
        count += 1 + len(children)
        if depth > _DEEPEST:
            raise ValueError(f"nested too deeply, more than {_DEEPEST} levels")
        if count > _MOST:
            raise ValueError(f"too large, more than {_MOST} entries")
        yield value
        stack += ((child, depth + 1) for child in reversed(children))
