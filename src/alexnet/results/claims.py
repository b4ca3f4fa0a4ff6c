"""Verdicts on the claims of an experiment: direction, size and power.

Claims are tested by Student's t over paired seeds; a claim about the error of a single run is
tested by the binomial distribution over its images. A claim about several levels agrees only if
each of its effects agrees (an intersection-union test); a single effect contradicts it if it does
so after Bonferroni's correction for their number. "About" and "within" are confirmed by two
one-sided tests. Holm's adjustment is made over the directions of an experiment's claims, and over
their sizes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean
from typing import Any, Generic, Literal, TypeVar

from alexnet.config.experiment import Claim, Experiment, Size
from alexnet.results import anytime, statistics
from alexnet.results.effects import Effect
from alexnet.results.statistics import LEVEL, POWER, holm

DirectionVerdict = Literal["agrees", "disagrees", "undecided"]
SizeVerdict = Literal["compatible", "smaller", "larger", "equivalent", "different", "undecided"]

V = TypeVar("V")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The setting of a sweep: data set, class of the network, number of test images, epochs.

    `epochs` are those of the run with the fewest. `cut` lists the settings that shortened its runs,
    such as trainer.limit_train_batches=2.
    """

    data: str | None = None
    network: str | None = None
    images: int | None = None
    epochs: int | None = None
    cut: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Power:
    """The power of the n seeds that were run, and how many more a decision would take.

    `smallest_effect` is the effect that n seeds show with 80 % power, a factor for a ratio.
    `more_seeds` (None: more than a thousand) would have that power for the effect `assumed`.
    `more_for_size` would confirm a claimed size within its margin, if the effect has that size
    (None: no margin is claimed, or more than a thousand).
    """

    n: int
    smallest_effect: float | None = None
    more_seeds: int | None = None
    assumed: str = ""
    more_for_size: int | None = None


@dataclass(frozen=True, kw_only=True)
class Judged(Generic[V]):
    """The answer to one question about one claim.

    The verdict is based on the adjusted p. `why` gives the reason where p does not explain it.
    """

    verdict: V
    p: float | None = None
    p_adjusted: float | None = None
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class ClaimResult:
    """A claim with its effects and verdicts. `experiment` has the measure of the claim.

    `elsewhere` lists how the setting of the sweep differs from that of the claim; if it does, the
    result is an analogue, which neither supports nor contradicts the claim. `cut` lists the
    settings that shortened runs; shortened runs are no evidence.
    """

    claim: Claim
    experiment: Experiment
    effects: tuple[Effect, ...]
    direction: Judged[DirectionVerdict]
    size: Judged[SizeVerdict] | None
    elsewhere: tuple[str, ...] = ()
    cut: tuple[str, ...] = ()

    @cached_property
    def power(self) -> Power:
        """The power of the seeds that were run."""
        return _power(self.claim, self.effects)

    @property
    def counts(self) -> bool:
        """True if the sweep has the setting of the claim, and its runs were not shortened."""
        return not self.elsewhere and not self.cut


def elsewhere(claim: Claim, setting: Setting | None) -> tuple[str, ...]:
    """Return how the setting of a sweep differs from that of the claim."""
    if setting is None:
        return ()
    enough = claim.epochs and max(claim.epochs, setting.epochs or 0)  # more epochs are no reason
    settings = (
        (setting.data, claim.data, ""),
        (setting.network, claim.network, ""),
        (setting.images, claim.images, " test images"),
        (setting.epochs, enough, " epochs"),
    )
    return tuple(
        f"{_with_commas(here)} instead of {_with_commas(there)}{unit}"
        for here, there, unit in settings
        if there is not None and here is not None and here != there
    )


def _with_commas(value: str | int) -> str:
    return value if isinstance(value, str) else f"{value:,}"


def judge(
    of_claims: Sequence[tuple[Claim, Experiment, Sequence[Effect]]], setting: Setting | None
) -> tuple[ClaimResult, ...]:
    """Judge each claim by the effects that it is about.

    `of_claims` are claims, each with the experiment that has its measure, and its effects. Without
    a setting, every claim is taken as made in the setting of the sweep.
    """
    directions = [_direction(claim, about, effects) for claim, about, effects in of_claims]
    sizes = [
        _size(claim.size, about, effects) if claim.size else None
        for claim, about, effects in of_claims
    ]
    p_directions = holm([each.p for each in directions])
    p_sizes = holm([each.p if each else None for each in sizes])
    results = []
    for (claim, about, effects), direction, size, p, p_size in zip(
        of_claims, directions, sizes, p_directions, p_sizes, strict=True
    ):
        settled = _settled(direction, p)
        settled_size = _settled(size, p_size) if size else None
        if claim.direction in ("equal", "value") and settled_size is not None:
            is_so = settled_size.verdict in ("equivalent", "compatible")
            is_undecided = settled_size.verdict == "undecided"
            verdict: DirectionVerdict = "agrees" if is_so else "disagrees"
            verdict = "undecided" if is_undecided else verdict
            settled = Judged(
                verdict=verdict,
                p=settled_size.p,
                p_adjusted=settled_size.p_adjusted,
                why=settled_size.why,
            )
        results.append(
            ClaimResult(
                claim=claim,
                experiment=about,
                effects=tuple(effects),
                direction=settled,
                size=settled_size,
                elsewhere=elsewhere(claim, setting),
                cut=setting.cut if setting else (),
            )
        )
    return tuple(results)


def _settled(question: Judged[Any], p_adjusted: float | None) -> Judged[Any]:
    """Set the adjusted p; the verdict becomes undecided if it exceeds LEVEL."""
    if p_adjusted is not None and p_adjusted > LEVEL:
        return replace(question, verdict="undecided", p_adjusted=p_adjusted)
    return replace(question, p_adjusted=p_adjusted)


def _direction(
    claim: Claim, about: Experiment, effects: Sequence[Effect]
) -> Judged[DirectionVerdict]:
    if claim.direction in ("equal", "value") or not effects:
        return Judged(verdict="undecided", why=_why_untested(effects))
    is_above = about.measure.lower_is_better == (claim.direction == "better")
    sides = [effect.evidence(about.no_effect) for effect in effects]
    tested = [side if is_above else side[::-1] for side in sides if side is not None]
    if not tested:
        return Judged(verdict="undecided", why=_why_untested(effects))
    against = min(1.0, 2 * len(effects) * min(other for _, other in tested))
    in_favour = min(1.0, 2 * max(ours for ours, _ in tested))
    if len(tested) < len(effects) or against < in_favour:
        why = _why_untested(effects) if len(tested) < len(effects) else ""
        verdict: DirectionVerdict = "disagrees" if against <= LEVEL else "undecided"
        return Judged(verdict=verdict, p=against, why=why)
    if any(effect.is_conditional for effect in effects):
        return Judged(verdict="undecided", p=in_favour, why=CONDITIONAL)
    return Judged(verdict="agrees" if in_favour <= LEVEL else "undecided", p=in_favour)


CONDITIONAL = "some runs diverged and have no value, so the effect is only about the other runs"


def _why_untested(effects: Sequence[Effect]) -> str:
    """Explain why the first effect without a test has none."""
    for effect in effects:
        if effect.is_value and effect.n < 2:
            if effect.images is None:
                return "one run, on an unknown number of images" if effect.n else "not measured yet"
            continue
        if effect.n < 2:
            return "fewer than two seeds have a value in both arms"
        if effect.bound == "neither":
            return "runs on both sides never reached the threshold"
        if effect.mean is None:
            is_ratio = effect.kind == "ratio"
            return f"a value is {'zero, so that there is no ratio' if is_ratio else 'not a number'}"
        if effect.spread is None:
            return "all seeds gave the same effect: without spread there is no test"
    return "" if effects else "nothing was compared"


def _size(size: Size, about: Experiment, effects: Sequence[Effect]) -> Judged[SizeVerdict]:
    low, high = region(size, about)
    yes: SizeVerdict = "equivalent" if size.kind == "within" else "compatible"
    if size.kind == "within" and effects and all(map(_is_nothing, effects)):
        return Judged(verdict=yes, why="identical in every seed")
    lows = [effect.evidence(low) for effect in effects]
    highs = [(1.0, 1.0) if high is None else effect.evidence(high) for effect in effects]
    if not effects or None in lows or None in highs:
        return Judged(verdict="undecided", why=_why_untested(effects))
    k = len(effects)
    # p-values of three statements: every effect is inside, one is below, one is above.
    upper_ends = [0.0 if high is None else side[1] for side in highs if side]
    inside = max([side[0] for side in lows if side] + upper_ends)
    below = min(1.0, 2 * k * min(side[1] for side in lows if side))
    above = min(1.0, 2 * k * min(side[0] for side in highs if side))
    if size.kind == "about" and size.margin is None:
        inside = 1.0
    is_turned = _is_negative(size, about)
    smaller: SizeVerdict = "larger" if is_turned else "smaller"
    larger: SizeVerdict = "smaller" if is_turned else "larger"
    if size.kind == "within":
        smaller = larger = "different"
    found = [(inside, yes), (below, smaller), (above, larger)]
    p, verdict = min(found, key=lambda each: each[0])
    if any(effect.is_conditional for effect in effects):
        return Judged(verdict="undecided", p=p, why=CONDITIONAL)
    return Judged(verdict=verdict if p <= LEVEL else "undecided", p=p)


def region(size: Size, about: Experiment) -> tuple[float, float | None]:
    """Return the (low, high) between which an effect has the claimed size; high None: unbounded."""
    value = about.no_effect if size.kind == "within" else size.value
    assert value is not None
    if size.kind == "at_least":
        return value, None
    if about.effect == "ratio":
        factor = size.margin or 1.0
        return value / factor, value * factor
    margin = size.margin or 0.0
    return value - margin, value + margin


def _is_negative(size: Size, about: Experiment) -> bool:
    """Return whether a larger effect of the claimed kind is a lower number."""
    return size.value is not None and size.value < about.no_effect


def _is_nothing(effect: Effect) -> bool:
    """Return whether all seeds have exactly equal results: then no chance is involved."""
    return effect.n >= 2 and effect.bound is None and set(effect.scale) == {0.0}


def _power(claim: Claim, effects: Sequence[Effect]) -> Power:
    """Return the power for the effect that varies most between seeds."""
    n = min((effect.n for effect in effects), default=0)
    deviation = max((effect.spread or 0.0 for effect in effects), default=0.0)
    if deviation == 0.0:
        return Power(n=n)
    is_ratio = effects[0].kind == "ratio"
    is_anytime = any(isinstance(effect, anytime.AnytimeEffect) for effect in effects)
    needed = anytime.seeds_needed if is_anytime else statistics.seeds_needed
    shown = anytime.smallest_effect if is_anytime else statistics.smallest_effect

    def on_scale(value: float) -> float:
        return abs(math.log(value)) if is_ratio else abs(value)

    size = claim.size
    # Within a margin both one-sided tests have to succeed.
    for_margin = None
    if size is not None and size.margin is not None and on_scale(size.margin) > 0:
        margin, power = on_scale(size.margin), 1 - (1 - POWER) / 2
        for_margin = needed(margin, deviation, level=2 * LEVEL, power=power)
    more_for_size = None if for_margin is None else max(0, for_margin - n)
    enough = for_margin
    if claim.direction in ("equal", "value"):
        assumed = "no difference" if claim.direction == "equal" else "the claimed size"
    elif size is not None and size.value is not None and on_scale(size.value) > 0:
        enough, assumed = needed(on_scale(size.value), deviation), "the claimed size"
    else:
        target = min(abs(fmean(effect.scale)) for effect in effects if effect.scale)
        enough = needed(target, deviation) if target else None
        assumed = "the measured effect"
    smallest = shown(deviation, n)
    return Power(
        n=n,
        smallest_effect=math.exp(min(smallest, 700)) if is_ratio and smallest else smallest,
        more_seeds=None if enough is None else max(0, enough - n),
        assumed=assumed,
        more_for_size=more_for_size,
    )
