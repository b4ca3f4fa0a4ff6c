from dataclasses import asdict
from typing import Any

from alexnet.config.experiment import Experiment
from alexnet.results.compare import Arm, Comparison, Effect


def verdict_content(comparison: Comparison, experiment: Experiment) -> dict[str, Any]:
    """What verdict.json holds. Errors are fractions; None where there is no number."""
    factor = list(comparison.factor)
    return {
        "experiment": experiment.name,
        "section": experiment.section,
        "claim": experiment.claim,
        "factor": factor[0] if len(factor) == 1 else factor,
        "measure": experiment.measure.plain(),
        "paper": experiment.paper.plain() if experiment.paper else None,
        "arms": [_arm_content(arm) for arm in comparison.arms],
        "effects": [_effect_content(effect) for effect in comparison.effects],
        "best": [asdict(best) for best in comparison.best],
        "contains_paper_value": comparison.contains_paper_value,
        "verdict": comparison.verdict,
    }


def _arm_content(arm: Arm) -> dict[str, Any]:
    levels = list(arm.levels.values())
    return {
        "level": levels[0] if len(levels) == 1 else arm.label,
        "arm": dict(arm.levels),
        "n": arm.n,
        "mean": arm.mean,
        "ci95": arm.ci95 and list(arm.ci95),
        "values": list(arm.values),
        "seeds": [each.seed for each in arm.finished],
        "censored": arm.censored,
        "limit": arm.limit,
        "diverged": arm.count("diverged"),
        "failed": arm.count("failed"),
        "unmeasured": arm.count("unmeasured"),
        "unfinished": arm.count("unfinished"),
        "missing": arm.count("missing"),
    }


def _effect_content(effect: Effect) -> dict[str, Any]:
    return {
        "of": effect.of,
        "factors": list(effect.levels),
        "levels": {key: list(pair) for key, pair in effect.levels.items()},
        "kind": effect.kind,
        "n": effect.n,
        "mean": effect.mean,
        "ci95": effect.ci95 and list(effect.ci95),
        "bound": effect.bound,
        "values": list(effect.values),
        "seeds": list(effect.seeds),
        "left_out_seeds": list(effect.left_out),
    }
