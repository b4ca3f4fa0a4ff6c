"""Safe traversal of plain data from untrusted files."""

from collections.abc import Iterator, Mapping
from typing import Any

_DEEPEST = 50
_MOST = 100_000


def containers(plain: Any) -> list[Any]:
    """Return every mapping, list and tuple in the data, the outermost first.

    Raises ValueError if they are nested too deeply, or are too many. Repeated references to the
    same object are counted each time, because readers would visit each.
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
