"""The report for programs: verdict.json."""

from dataclasses import asdict
from typing import Any

from alexnet.results.anytime import AnytimeEffect
from alexnet.results.claims import ClaimResult
from alexnet.results.compare import Comparison
from alexnet.results.effects import Arm, Effect
from alexnet.results.findings import Findings
from alexnet.results.statistics import holm


def verdict_content(findings: Findings) -> dict[str, Any]:
    """Return the content of verdict.json. Errors are fractions; None where there is no number."""
    comparison, experiment = findings.comparison, findings.experiment
    registered = findings.sweep.registered
    adjusted = holm([effect.p for effect in comparison.effects])
    factor = list(comparison.factor)
    return {
        "experiment": experiment.name,
        "section": experiment.section,
        "claim": experiment.claim,
        "factor": factor[0] if len(factor) == 1 else factor,
        "measure": experiment.measure.plain(),
        "paper": experiment.paper.plain() if experiment.paper else None,
        "arms": [_arm_content(arm) for arm in comparison.arms],
        "effects": [
            {**_effect_content(effect), "p": effect.p, "p_adjusted": p}
            for effect, p in zip(comparison.effects, adjusted, strict=True)
        ],
        "best": [best.plain() for best in comparison.best],
        "tuning_budget": _budget_content(comparison),
        "contains_paper_value": comparison.contains_paper_value,
        "verdict": comparison.verdict,
        "analogue": comparison.analogue,
        "problem": comparison.problem,
        "claims": [_claim_content(result) for result in comparison.claims],
        "survival": findings.survival.plain() if findings.survival else None,
        "registered": registered.plain(),
        "method": registered.method,
        "acts": [norm.plain() for norm in findings.norms],
    }


def _budget_content(comparison: Comparison) -> dict[str, Any] | None:
    """Return the expected best of 1, 2, ... trials; None without a search."""
    if not comparison.budgets:
        return None
    return {
        "arms": [asdict(each) for each in comparison.budgets],
        "effects": [
            {"of": each.of, "values": each.values, "bounds": each.bounds}
            for each in comparison.budget_effects
        ],
    }


def _claim_content(result: ClaimResult) -> dict[str, Any]:
    """Return a claim with both verdicts, which are None if its runs were cut short.

    For an analogue, the direction is `analogue`, and the verdict is None.
    """
    claim, power = result.claim, result.power
    direction = asdict(result.direction)
    if not result.counts:
        direction["analogue"] = None if result.cut else direction["verdict"]
        direction["verdict"] = None
    size = None
    if claim.size is not None and result.size is not None:
        judged = asdict(result.size) if not result.cut else {"verdict": None}
        size = {**claim.size.model_dump(mode="json"), **judged}
    return {
        "by": claim.by,
        "text": claim.text,
        "measure": result.experiment.measure.plain(),
        "levels": [effect.level for effect in result.effects],
        "measured": [_value_content(effect) for effect in result.effects if effect.is_value],
        "elsewhere": list(result.elsewhere),
        "cut": list(result.cut),
        "direction": direction,
        "size": size,
        "power": asdict(power),
    }


def _value_content(effect: Effect) -> dict[str, Any]:
    """Return the value that a claim is about: over seeds, or for one run over its images."""
    return {
        "level": effect.level,
        "n": effect.n,
        "images": effect.images,
        "mean": effect.mean,
        "ci95": effect.ci95 and list(effect.ci95),
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
        "seeds": [each.seed for each in arm.measured],
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
        **({"e_value": effect.e_value} if isinstance(effect, AnytimeEffect) else {}),
        "bound": effect.bound,
        "conditional_on_finishing": effect.is_conditional,
        "values": list(effect.values),
        "seeds": list(effect.seeds),
        "left_out_seeds": list(effect.left_out),
    }
