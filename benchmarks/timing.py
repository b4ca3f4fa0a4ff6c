"""Shared by the benchmarks: time several implementations in turn within one run."""

import resource
import statistics
import time
from collections.abc import Callable, Mapping

import torch


def now() -> float:
    """Processor seconds with one thread, which other programs hardly affect; else elapsed ones."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def seconds_of_children() -> float:
    """Processor seconds of child processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def alternate(
    ways: Mapping[str, Callable[[], float]], *, repeats: int, warm_up: int = 1
) -> dict[str, list[float]]:
    """Call each function `repeats` times in turn, so that other load affects all equally."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(warm_up + repeats):
        for name, way in ways.items():
            value = way()
            if repeat >= warm_up:
                found[name].append(value)
    return found


def ratio(values: list[float], others: list[float]) -> str:
    """Median, smallest and largest ratio of measurements that were made one after the other."""
    ratios = sorted(value / other for value, other in zip(values, others, strict=True))
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def spread(values: list[float], digits: int) -> str:
    """Median, smallest and largest value."""
    numbers = (statistics.median(values), min(values), max(values))
    middle, least, most = (f"{number:.{digits}f}" for number in numbers)
    return f"{middle} ({least} to {most})"
