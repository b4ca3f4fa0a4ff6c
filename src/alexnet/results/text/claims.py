"""The claims of a report, with both verdicts, and what a decision would take."""

from collections.abc import Iterator

from alexnet.config.experiment import Experiment
from alexnet.results import wording
from alexnet.results.anytime import SETTLES, AnytimeEffect
from alexnet.results.claims import ClaimResult
from alexnet.results.compare import Comparison
from alexnet.results.parts import Part, Table


def claims(comparison: Comparison) -> Iterator[Part]:
    """Yield each claim with its source, both verdicts, and what a decision would take."""
    if not comparison.claims:
        return
    yield "## Claims"
    rows = []
    for number, result in enumerate(comparison.claims, start=1):
        claim, size = result.claim, result.size
        text = " ".join(claim.text.split())
        about = f"> {number}. {text} ({wording.WHOSE[claim.by]}"
        yield about + (f": {claim.note})" if claim.note else ")")
        rows.append(
            [
                str(number),
                wording.name_of_measure(result.experiment.measure),
                result.direction.verdict if claim.direction in ("better", "worse") else "-",
                wording.p_value(result.direction.p),
                wording.p_value(result.direction.p_adjusted),
                wording.size_claimed(result),
                size.verdict if size else "-",
                wording.p_value(size.p_adjusted) if size else "-",
            ]
        )
    head = ["claim", "measure", "direction", "p", "adjusted", "claimed size", "size", "adjusted"]
    yield Table(head, rows)
    for number, result in enumerate(comparison.claims, start=1):
        if result.elsewhere:
            yield (
                f"Claim {number} was made in another setting ({'; '.join(result.elsewhere)}): this "
                "is an analogue."
            )
        yield from _measured(number, result)
        why = result.direction.why or (result.size.why if result.size else "")
        if why:
            yield f"Claim {number}: {why}."
        undecided = "undecided" in (result.direction.verdict, result.size and result.size.verdict)
        if undecided and result.effects:
            yield f"Claim {number} is undecided: {wording.power_in_words(result)}"


def _measured(number: int, result: ClaimResult) -> Iterator[str]:
    """Yield the values of a claim about a value, and what their intervals cover."""
    measure = result.experiment.measure
    for effect in result.effects:
        if not effect.is_value or effect.mean is None:
            continue
        of = f" ({effect.level})" if len(result.effects) > 1 else ""
        ends = wording.interval(effect.ci95, lambda end: wording.value(end, measure))
        over = (
            f"over the {effect.images:,} test images of one run: other seeds would differ"
            if effect.images
            else f"over seeds, n = {effect.n}"
        )
        yield (
            f"Claim {number}{of}: {wording.value(effect.mean, measure)}, 95 % interval {ends} "
            f"{over}."
        )


def e_values(comparison: Comparison, experiment: Experiment) -> Iterator[Part]:
    """Yield the e-values of a sweep whose seeds were added until its first claim was settled."""
    effects = [each for each in comparison.claimed if isinstance(each, AnytimeEffect)]
    shown = [
        f"{effect.of}: e-value {effect.e_value:.3g}, anytime-valid 95 % interval "
        + wording.interval(effect.ci95, lambda number: wording.effect_value(number, experiment))
        for effect in effects
        if effect.e_value is not None
    ]
    if shown:
        yield (
            f"{'; '.join(shown)}. An e-value of {SETTLES:g} settles the direction of a claim that "
            "is the only one."
        )
