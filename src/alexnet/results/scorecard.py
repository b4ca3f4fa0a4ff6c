import os
from collections.abc import Sequence
from pathlib import Path

from alexnet.files import replacing
from alexnet.results import wording
from alexnet.results.report import Report, _paper_number, _short_verdict, _table


def write_scorecard(folder: str | Path, reports: Sequence[Report]) -> str:
    """Write <folder>/scorecard.md, one row per sweep, and return its text.

    The claims come first; sweeps without a claim and rehearsals, which show nothing, are apart.
    """
    kinds: dict[str, list[Report]] = {
        "Claims of the paper": [],
        "Sweeps without a claim": [],
        "Trial runs, on a few batches: no evidence": [],
    }
    claims, others, rehearsals = kinds.values()
    for report in reports:
        has_claim = report.sweep.experiment.claim is not None
        kind = rehearsals if report.sweep.is_rehearsal else claims if has_claim else others
        kind.append(report)
    head = ["experiment", "section", "data", "effect", "95 % interval", "paper", "verdict", "n"]
    text = "\n\n".join(
        f"# {title}\n\n{_table(head, (_score(report, Path(folder)) for report in members))}"
        for title, members in kinds.items()
        if members
    )
    with replacing(Path(folder) / "scorecard.md") as file:
        file.write(f"{text}\n")
    return text


def _score(report: Report, folder: Path) -> list[str]:
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
        _paper_number(experiment) if experiment.paper else "-",
        _short_verdict(comparison),
        " / ".join(str(arm.n) for arm in comparison.arms),
    ]
