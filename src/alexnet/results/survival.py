"""Survival analysis of censored times: Kaplan-Meier curves, log-rank test, restricted mean.

Runs that never reached the error are censored, and so are those that diverged. These numbers use
every run, but not the pairing by seed, and no verdict depends on them.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from alexnet.config.experiment import Experiment
from alexnet.results.compare import Comparison
from alexnet.results.effects import Arm

PERMUTATIONS = 10_000


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The Kaplan-Meier estimate of one arm.

    `steps` are (epoch, share of runs that have not reached the error, from this epoch on), starting
    with (0, 1). `censored` are the epochs at which censored runs ended. `restricted_mean` is the
    area under the curve up to the epoch to which all arms are restricted: the mean of
    min(T, epoch).
    """

    label: str
    n: int
    steps: tuple[tuple[float, float], ...]
    censored: tuple[float, ...]
    restricted_mean: float


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two arms: p of the log-rank test, and the ratio of their restricted means.

    p comes from permutations of runs between the arms: exact if there are at most PERMUTATIONS of
    them, as for ten runs against three, and otherwise from that many random ones. It is None if no
    run reached the error, or an arm has fewer than two runs. The ratio is None if the baseline's
    restricted mean is zero.
    """

    of: str
    p: float | None
    ratio: float | None


@dataclass(frozen=True, kw_only=True)
class Survival:
    """All arms, restricted to the same epoch: the last up to which all curves are known."""

    until: float
    curves: tuple[Curve, ...]
    pairs: tuple[Pair, ...]

    def plain(self) -> dict[str, Any]:
        """Return the fields as plain data, for verdict.json."""
        return asdict(self)


def survival_of(comparison: Comparison, experiment: Experiment) -> Survival | None:
    """Analyse the times to an error; None for other measures, and if every run reached it."""
    if experiment.measure.kind != "epochs_to_error":
        return None
    baseline = {
        key: pair[1] for effect in comparison.effects for key, pair in effect.levels.items()
    }

    def is_other(arm: Arm) -> bool:
        return any(arm.levels.get(key) != level for key, level in baseline.items())

    return survival(sorted(comparison.arms, key=is_other))


def survival(arms: Sequence[Arm]) -> Survival | None:
    """Analyse arms whose measure is a time, the first as baseline; None if all runs reached it."""
    known = [arm for arm in arms if arm.n]
    if not any(arm.limits for arm in known):
        return None
    # If the last run of an arm is censored, nothing is known beyond it; otherwise the curve is 0.
    ends = [(max(arm.reached, default=0.0), max(arm.limits, default=0.0)) for arm in known]
    until = min(
        (limit for last, limit in ends if limit >= last), default=max(last for last, _ in ends)
    )
    curves = tuple(_curve(arm, until) for arm in known)
    return Survival(
        until=until,
        curves=curves,
        pairs=tuple(
            Pair(
                of=f"{other.label} vs {known[0].label}",
                p=_log_rank(known[0], other),
                ratio=curve.restricted_mean / curves[0].restricted_mean
                if curves[0].restricted_mean > 0
                else None,
            )
            for other, curve in zip(known[1:], curves[1:], strict=True)
        ),
    )


def _curve(arm: Arm, until: float) -> Curve:
    from scipy.stats import CensoredData, ecdf  # takes a second to import

    found = ecdf(CensoredData(uncensored=arm.reached, right=arm.limits)).sf
    drops = zip(found.quantiles.tolist(), found.probabilities.tolist(), strict=True)
    steps = [(0.0, 1.0), *((epoch, share) for epoch, share in drops if epoch in arm.reached)]
    within = [(epoch, share) for epoch, share in steps if epoch < until]
    ends = [epoch for epoch, _ in within[1:]] + [until]
    area = sum(share * (end - begin) for (begin, share), end in zip(within, ends, strict=True))
    return Curve(
        label=arm.label,
        n=arm.n,
        steps=tuple(steps),
        censored=tuple(sorted(arm.limits)),
        restricted_mean=area,
    )


def _log_rank(one: Arm, other: Arm) -> float | None:
    """Return p of a permutation test of log-rank scores: approximations are poor for three runs."""
    from scipy.stats import permutation_test

    both = [*one.measured, *other.measured]
    if (not one.reached and not other.reached) or min(one.n, other.n) < 2:
        return None
    times = sorted({each.value for each in both if each.value is not None and not each.censored})
    scores = []
    for run in both:
        assert run.value is not None
        hazard = 0.0  # up to its time, of all runs together (Nelson-Aalen)
        for time in times:
            if time <= run.value:
                there = sum(each.value == time and not each.censored for each in both)
                hazard += there / sum(each.value >= time for each in both if each.value is not None)
        scores.append((not run.censored) - hazard)
    found = permutation_test(
        (scores[: one.n], scores[one.n :]),
        lambda these, those, axis: these.mean(axis=axis) - those.mean(axis=axis),
        vectorized=True,
        n_resamples=PERMUTATIONS,
        random_state=0,
    )
    return float(found.pvalue)
