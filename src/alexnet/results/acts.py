"""How normalization layers change their input: a section of the report, from acts.json of the runs.

If these layers are nearly the identity, an experiment cannot show an effect of normalization.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from alexnet.config.experiment import Level
from alexnet.folders.sweep import SweepDir
from alexnet.results.effects import level_label
from alexnet.results.runs import Sweep

NEXT_TO_NOTHING = 0.02
"""Reshaped share of a layer's output (Euclidean norm) below which the layer only scales its input.
The share is 0 for a normalization that is the identity, or multiplies everything by one number."""

HOW_TO_READ_ACTS = f"""
A normalization layer *multiplies by* the mean size of its output divided by that of its input. It
*reshapes* the part of its output (Euclidean norm) that is not a constant multiple of the input: the
weights of the next layer could not do this alone. Less than {100 * NEXT_TO_NOTHING:g} % at the end
counts as next to nothing. Values are means over runs, measured on a few validation images; batch
normalization uses the statistics of these images."""


@dataclass(frozen=True, kw_only=True)
class NormAtWork:
    """The effect of one normalization layer on its input: means over n runs of an arm.

    Values at the start are None if they were not measured, as in runs begun by an older version.
    """

    arm: Mapping[str, Level]
    layer: str
    n: int
    factor_at_start: float | None
    factor_at_end: float
    reshaping_at_start: float | None
    reshaping_at_end: float

    @property
    def label(self) -> str:
        """The levels of the arm, as on the command line."""
        return ", ".join(map(level_label, self.arm.values())) or "-"

    @property
    def is_next_to_nothing(self) -> bool:
        """True if the layer only scales its input at the end of training."""
        return self.reshaping_at_end < NEXT_TO_NOTHING

    def plain(self) -> dict[str, Any]:
        """Return the fields as plain data, for verdict.json."""
        return {**asdict(self), "is_next_to_nothing": self.is_next_to_nothing}


def norms_at_work(sweep: Sweep) -> tuple[NormAtWork, ...]:
    """Return the normalization layers of the finished runs, arm by arm and layer by layer."""
    found: dict[tuple[tuple[str, Level], ...], list[Mapping[str, Any]]] = {}
    finished = set(sweep.runs.loc[sweep.runs["state"] == "finished", "run"])
    for name, arm in sweep.arms.items():
        if name in finished:
            with suppress(OSError, ValueError):  # a damaged file does not affect the outcome
                acts = SweepDir(sweep.path).run(name).read_acts()
                found.setdefault(tuple(arm.items()), []).append(acts)
    return tuple(
        norm
        for arm, runs in found.items()
        for layer in dict.fromkeys(each for acts in runs for each in acts.get("end", {}))
        if (norm := _norm(dict(arm), layer, runs))
    )


def _norm(
    arm: Mapping[str, Level], layer: str, runs: Sequence[Mapping[str, Any]]
) -> NormAtWork | None:
    def mean(when: str, what: str) -> float | None:
        effects = [acts.get(when, {}).get(layer) for acts in runs]
        values = [each.get(what) for each in effects if isinstance(each, dict)]
        known = [float(each) for each in values if isinstance(each, int | float)]
        return fmean(known) if known else None

    factor, reshaping = mean("end", "factor"), mean("end", "reshaping")
    if factor is None or reshaping is None:
        return None
    return NormAtWork(
        arm=arm,
        layer=layer,
        n=sum(layer in acts.get("end", {}) for acts in runs),
        factor_at_start=mean("start", "factor"),
        factor_at_end=factor,
        reshaping_at_start=mean("start", "reshaping"),
        reshaping_at_end=reshaping,
    )


def warning(norms: Iterable[NormAtWork]) -> str | None:
    """Name the arms whose normalization layers all do next to nothing; None if there are none."""
    by_arm: dict[str, list[NormAtWork]] = {}
    for norm in norms:
        by_arm.setdefault(norm.label, []).append(norm)
    idle = {
        label: mine
        for label, mine in by_arm.items()
        if all(each.is_next_to_nothing for each in mine)
    }
    if not idle:
        return None
    if len(idle) == 1:
        [(of, mine)] = idle.items()
        what = _listed(mine)
    else:
        of = f"{len(idle)} arms"
        most = max(each.reshaping_at_end for mine in idle.values() for each in mine)
        names = "each" if len(idle) > 4 else "; ".join(idle)  # the table has them all
        what = f"it reshapes at most {_percent(most)} in {names}"
    return (
        f"**The normalization of {of} does next to nothing**: at the end of training {what}. Arms "
        "with and without it are nearly the same network: choose initial weights (model.init) or "
        "constants that fit the size of the activities."
    )


def _listed(norms: Iterable[NormAtWork]) -> str:
    return ", ".join(
        f"{each.layer} multiplies by {each.factor_at_end:.3g}"
        + ("" if each.factor_at_start is None else f" ({each.factor_at_start:.3g} at the start)")
        + f" and reshapes {_percent(each.reshaping_at_end)}"
        for each in norms
    )


def rows(norms: Iterable[NormAtWork]) -> list[list[str]]:
    """Return the rows of the table, with the columns of HEAD."""
    return [
        [
            each.label,
            each.layer,
            str(each.n),
            "-" if each.factor_at_start is None else f"{each.factor_at_start:.3g}",
            f"{each.factor_at_end:.3g}",
            "-" if each.reshaping_at_start is None else _percent(each.reshaping_at_start),
            _percent(each.reshaping_at_end)
            + (" (next to nothing)" if each.is_next_to_nothing else ""),
        ]
        for each in norms
    ]


HEAD = [
    "arm", "layer", "n", "multiplies by, at the start", "at the end", "reshapes, at the start",
    "at the end",
]  # fmt: skip


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
