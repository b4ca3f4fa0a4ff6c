"""seed=auto: seeds are added one after the other until the first claim is settled.

The test between seeds uses e-values, which stay valid at any number of looks (results/anytime.py).
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from alexnet.folders.sweep import SweepDir

log = logging.getLogger("alexnet.sweep")

FIRST = 3
"""Seeds before the first look: fewer cannot settle a claim."""


@dataclass(frozen=True)
class AddedSeeds:
    """The seeds 0, 1, 2 and so on, at most `max_seeds` of them."""

    max_seeds: int

    def first(self, plan: Mapping[str, Any]) -> list[str]:
        """Return the seeds with which a sweep starts, or continues if its plan has more."""
        planned = {run["seed"] for run in plan.get("runs", {}).values()}
        there = next(n for n in count() if n not in planned)
        return [str(seed) for seed in range(max(there, min(FIRST, self.max_seeds)))]

    def needs_more(self, sweep: SweepDir, n: int) -> bool:
        """Look at the first n seeds, all of which have ended; log the result.

        Returns whether a further seed is needed.
        """
        seen, is_over = _look(sweep)
        if not is_over and n >= self.max_seeds:
            seen, is_over = f"{seen}, and these are all: max_seeds={self.max_seeds}", True
        log.info("looked at n = %d: %s%s", n, seen, "" if is_over else f"; seed {n} is added")
        return not is_over


def _look(sweep: SweepDir) -> tuple[str, bool]:
    """Return the result so far in words, and whether further seeds would be useless."""
    from alexnet.results.anytime import AnytimeEffect  # pandas takes a second
    from alexnet.results.findings import comparison_of
    from alexnet.results.runs import load_sweep
    from alexnet.results.statistics import LEVEL, holm

    comparison = comparison_of(load_sweep(sweep.path))
    if comparison.problem:
        return comparison.problem, True
    if comparison.claims:
        first = comparison.claims[0]
        verdict: str = first.direction.verdict
        why, effects = first.direction.why, first.effects
    else:
        effects = comparison.claimed
        adjusted = holm([effect.p for effect in effects])
        is_clear = bool(effects) and all(p is not None and p <= LEVEL for p in adjusted)
        verdict = "all effects are significant" if is_clear else "undecided"
        why = "an effect cannot be tested" if None in adjusted else ""
    known = [each for each in effects if isinstance(each, AnytimeEffect)]
    values = [
        f"{each.of}: e-value {each.e_value:.3g}" for each in known if each.e_value is not None
    ]
    seen = " (".join([verdict, f"{'; '.join(values)})"]) if values else verdict
    if verdict != "undecided":
        return seen, True
    return (f"{seen}: {why}, which more seeds do not change", True) if why else (seen, False)
