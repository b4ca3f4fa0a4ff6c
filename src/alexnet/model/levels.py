from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def choose(factor: str, level: str, levels: Mapping[str, T]) -> T:
    """What a level of a factor stands for.

    Raises ValueError naming the levels there are, if it is none of them.
    """
    if level not in levels:
        raise ValueError(f"unknown {factor} {level!r}: choose one of {', '.join(levels)}")
    return levels[level]
