import os
from collections.abc import Sequence
from pathlib import Path

from alexnet.files import replacing
from alexnet.results import wording
from alexnet.results.compare import Comparison
from alexnet.results.parts import Table
from alexnet.results.report import Report, _paper_number, _short_verdict
from alexnet.results.statistics import LEVEL, holm


def write_scorecard(folder: str | Path, reports: Sequence[Report]) -> str:
    """Write <folder>/scorecard.md, one row per sweep, and return its text.

    The paper's claims come first, with Holm's adjustment over all of them. Analogues, questions of
    our own, sweeps without a claim, and runs that were cut short, which show nothing, are apart.
    """
    kinds: dict[str, list[Report]] = {
        "Claims of the paper": [],
        "Analogues: other data or another network than the claim's": [],
        "Claims that are not the paper's": [],
        "Sweeps without a claim": [],
        "Trial runs, on a few batches: no evidence": [],
    }
    names = list(kinds)
    for report in reports:
        kinds[names[_kind(report)]].append(report)
    scored = kinds[names[0]]
    adjusted = holm([_p(report) for report in scored])
    head = ["experiment", "section", "data", "effect", "95 % interval", "paper", "verdict"]
    parts = []
    for title, members in kinds.items():
        over_all = adjusted if members is scored else [None] * len(members)
        rows = [
            _score(report, Path(folder), p) for report, p in zip(members, over_all, strict=True)
        ]
        if rows:
            parts.append(f"# {title}\n\n{Table([*head, 'adjusted p', 'n'], rows)}")
    if scored:
        parts.append(
            f"Holm's adjustment is made over the {wording.count(len(scored), 'claim')} of the "
            "first table, each by the direction of its experiment's first claim; one that does "
            f"not stand at {100 * LEVEL:g} % is marked."
        )
    text = "\n\n".join(parts)
    with replacing(Path(folder) / "scorecard.md") as file:
        file.write(f"{text}\n")
    return text


def _kind(report: Report) -> int:
    """In which of the tables."""
    claims = report.comparison.claims
    if report.sweep.setting.cut:
        return 4
    if not claims:
        return 3
    if claims[0].claim.by == "us":
        return 2
    return 1 if claims[0].elsewhere else 0


def _p(report: Report) -> float | None:
    return report.comparison.claims[0].direction.p


def _score(report: Report, folder: Path, adjusted: float | None) -> list[str]:
    experiment, comparison = report.sweep.experiment, report.comparison
    prefix = {"lower": "at least ", "upper": "at most "}
    several = len(comparison.claimed) > 1
    unit = wording.effect_unit(experiment)
    means = [
        (f"{effect.of} " if several else "")
        + prefix.get(effect.bound or "", "")
        + wording.effect_value(effect.mean, experiment)
        for effect in comparison.claimed
    ]
    intervals = [
        wording.interval(effect.ci95, lambda number: wording.effect_value(number, experiment))
        for effect in comparison.claimed
    ]
    link = os.path.relpath(report.folder / "README.md", folder)
    return [
        f"[{experiment.name}]({link})",
        experiment.section or "-",
        report.sweep.data,
        f"{'; '.join(means)} {unit}" if means else "-",
        "; ".join(intervals) or "-",
        _paper_number(experiment) if comparison.papers_effect is not None else "-",
        _stands(comparison, adjusted),
        wording.p_value(adjusted),
        " / ".join(str(arm.n) for arm in comparison.arms),
    ]


def _stands(comparison: Comparison, adjusted: float | None) -> str:
    """The verdict, marked if it does not stand among all claims of the scorecard."""
    verdict = _short_verdict(comparison)
    is_decided = comparison.verdict in ("agrees", "disagrees")
    if is_decided and adjusted is not None and adjusted > LEVEL:
        return f"{verdict} (undecided among all claims)"
    return verdict
