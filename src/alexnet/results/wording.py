"""Wording of numbers and verdicts: the only place where fractions become per cent."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from alexnet import vocabulary
from alexnet.config.experiment import Experiment, Measure, unknown_metric
from alexnet.results.claims import ClaimResult
from alexnet.results.compare import Comparison
from alexnet.results.effects import Arm, Effect, Fate, Interval, level_label, short_key

STAGES = {"train": "training", "val": "validation", "test": "test", "ten_views": "ten-view test"}


def metric_named(key: str, measure: Measure) -> vocabulary.Metric:
    """Return the description of a metric, in a report about a measure.

    Reports do not import the user's modules, so the curve of a user's val/margin is described by
    the measure test/margin.
    """
    measured = measure.described
    (stage, _, name), (its_stage, _, its_name) = key.partition("/"), measured.key.partition("/")
    if key == measured.key:
        return measured
    if key not in vocabulary.METRICS and name == its_name:
        printed = measured.printed.replace(STAGES[its_stage], STAGES[stage], 1)
        return replace(measured, key=key, printed=printed)
    return vocabulary.METRICS.get(key) or unknown_metric(key)


def count(number: float, noun: str) -> str:
    """Return a number with its noun: "1 run", "2 runs", "2.5 epochs"."""
    return f"{number:.4g} {noun}{'' if number == 1 else 's'}"


def name_of_measure(measure: Measure) -> str:
    """Return the name of a measure, for example "epochs to 25 % training error"."""
    if measure.kind == "final":
        return f"final {measure.described.printed}"
    return f"epochs to {_threshold(measure)}"


def value(number: float | None, measure: Measure) -> str:
    """Return a value of the measure, with its unit if that is per cent."""
    if number is None:
        return "-"
    if measure.kind == "epochs_to_error":
        return f"{number:.1f}" if number >= 1 else f"{number:.2f}"
    return f"{100 * number:.1f} %" if measure.described.is_fraction else f"{number:.3g}"


def values(arm: Arm, measure: Measure) -> str:
    """Return one value per finished run; "never" where censored, "-" without any."""
    shown = [value(v, measure) if v is not None else "never" for v in arm.values]
    return ", ".join(shown) or "-"


def arm_mean(arm: Arm, measure: Measure) -> str:
    """Return the mean of an arm's runs; if some are censored, how long they were trained."""
    if arm.limit is not None:
        return f"more than {arm.limit:.4g} in {len(arm.limits)} of {arm.n}"
    return value(arm.mean, measure)


def lost_in(arm: Arm) -> str:
    """List the runs that are not in n, or have no value: "1 diverged, 2 censored"."""
    fates: tuple[Fate, ...] = ("diverged", "failed", "unmeasured", "unfinished", "missing")
    counts = [(arm.censored, "censored"), *((arm.count(fate), fate) for fate in fates)]
    return ", ".join(f"{count} {name}" for count, name in counts if count)


def effect_value(number: float | None, experiment: Experiment) -> str:
    """Return a ratio, or a signed difference, in percentage points for errors."""
    if number is None:
        return "-"
    if experiment.effect == "ratio":
        return f"{number:.2f}" if number < 10 else f"{number:.1f}"
    if _is_in_points(experiment):
        return f"{100 * number:+.2f}"
    return f"{number:+.3g}"


def paper_value(number: float, experiment: Experiment) -> str:
    """Return the paper's effect with its unit, to as many places as the paper prints."""
    unit = effect_unit(experiment)
    scale = 100 if unit == "percentage points" else 1
    return f"{scale * number:{'' if unit == 'times' else '+'}.3g} {unit}"


def effect_unit(experiment: Experiment) -> str:
    """Return the unit of effects: "times", "percentage points", "epochs" or the metric's own."""
    if experiment.effect == "ratio":
        return "times"
    if _is_in_points(experiment):
        return "percentage points"
    if experiment.measure.kind == "epochs_to_error":
        return "epochs"
    return experiment.measure.described.printed


def bound(side: str | None) -> str:
    """Return the words before a number that is only a "lower" or "upper" bound, else nothing."""
    return {"lower": "at least ", "upper": "at most "}.get(side or "", "")


def interval(ci95: Interval | None, write: Callable[[float | None], str]) -> str:
    """Return an interval in words: "1 to 2", or "at least 1" if it is open; "-" without one."""
    if ci95 is None:
        return "-"
    low, high = ci95
    if high is None:
        return f"at least {write(low)}"
    if low is None:
        return f"at most {write(high)}"
    return f"{write(low)} to {write(high)}"


def answer(comparison: Comparison, experiment: Experiment) -> str:
    """Return the outcome in one sentence, with its numbers and n."""
    if not comparison.claimed:
        alone = f"{_arms_alone(comparison.arms, experiment.measure)}."
        return f"{alone[0].upper()}{alone[1:]}" if alone.startswith("all runs") else alone
    sentence = "; ".join(
        _effect_clause(effect, comparison, experiment) for effect in comparison.claimed
    )
    paper = experiment.paper
    if comparison.papers_effect is not None and paper is not None:
        sentence += f"; the paper: {paper_value(paper.value, experiment)}"
    for arm in comparison.arms:
        if arm.limit is not None:
            runs = f"{len(arm.limits)} of {count(arm.n, 'run')} of {arm.label}"
            sentence += f"; {runs} did not reach the threshold in {count(arm.limit, 'epoch')}"
    return f"{sentence}."


def _what_is_needed(comparison: Comparison, experiment: Experiment) -> str:
    """Return what a run must have done to be part of an effect: "finished" or "recorded X"."""
    is_unmeasured = any(arm.count("unmeasured") for arm in comparison.arms)
    return f"recorded {experiment.measure.metric}" if is_unmeasured else "finished"


def _effect_clause(effect: Effect, comparison: Comparison, experiment: Experiment) -> str:
    other, baseline = (_level_in_words(effect, side) for side in (0, 1))
    pair = f"{other} against {baseline}"
    if effect.n == 0:
        return f"{pair}: no seed has {_what_is_needed(comparison, experiment)} in both arms"
    if effect.mean is None:
        why = (
            "runs on both sides never reached the threshold"
            if effect.bound == "neither"
            else "a value is zero, so that there is no ratio"
            if effect.kind == "ratio"
            else "a value is not a number"
        )
        return f"{pair}: {why} (n = {count(effect.n, 'seed')})"
    # A difference of at least -3 is "at most 3 fewer".
    is_less = experiment.effect == "difference" and effect.mean < 0
    bounds = ("at most ", "at least ") if is_less else ("at least ", "at most ")
    bound = dict(zip(("lower", "upper"), bounds, strict=True)).get(effect.bound or "", "")
    return (
        f"{other} {_comparison_in_words(effect, baseline, bound, experiment)} "
        f"({_interval_in_words(effect, experiment)}n = {count(effect.n, 'seed')})"
    )


def _comparison_in_words(effect: Effect, baseline: str, bound: str, experiment: Experiment) -> str:
    assert effect.mean is not None
    measure = experiment.measure
    is_time = measure.kind == "epochs_to_error"
    if experiment.effect == "ratio":
        number = f"{bound}{effect_value(effect.mean, experiment)} times"
        if is_time:
            return f"took {number} the epochs of {baseline} to reach {_threshold(measure)}"
        return f"ended at {number} the {measure.described.printed} of {baseline}"
    size = effect_value(abs(effect.mean), experiment).lstrip("+")
    if float(size) == 0.0 and not bound:
        what = f"epochs to {_threshold(measure)}" if is_time else measure.described.printed
        return f"and {baseline} have the same {what}, to the last digit shown"
    if is_time:
        word = "more" if effect.mean >= 0 else "fewer"
        return f"took {bound}{size} epochs {word} than {baseline} to reach {_threshold(measure)}"
    word = "higher" if effect.mean >= 0 else "lower"
    unit = f" {effect_unit(experiment)}" if _is_in_points(experiment) else ""
    name = measure.described.printed
    return f"ended with a {name} {bound}{size}{unit} {word} than {baseline}"


def _interval_in_words(effect: Effect, experiment: Experiment) -> str:
    if effect.ci95 is None:
        return ""
    ends = interval(effect.ci95, lambda number: effect_value(number, experiment))
    return f"95 % interval {ends}, "


def _level_in_words(effect: Effect, side: int) -> str:
    """Return a level in words: a name alone; a number, a truth value or none with its key."""
    [(key, pair)] = effect.levels.items()
    level = pair[side]
    is_name = isinstance(level, str) and level != "none"
    return level_label(level) if is_name else f"{short_key(key)} {level_label(level)}"


def _arms_alone(arms: Sequence[Arm], measure: Measure) -> str:
    clauses = [
        f"{arm.label}: {name_of_measure(measure)} "
        + (value(arm.mean, measure) if arm.mean is not None else values(arm, measure))
        + f" (n = {count(arm.n, 'seed')})"
        for arm in arms
    ]
    return "; ".join(clauses)


def _threshold(measure: Measure) -> str:
    assert measure.threshold is not None
    metric, threshold = measure.described, measure.threshold
    shown = f"{100 * threshold:g} %" if metric.is_fraction else f"{threshold:g}"
    return f"{shown} {metric.printed}"


def _is_in_points(experiment: Experiment) -> bool:
    return experiment.measure.kind == "final" and experiment.measure.described.is_fraction


# Claims

WHOSE = {"paper": "the paper", "log": "the logs of 2012", "us": "us, not the paper"}


def verdict_of(result: ClaimResult) -> str:
    """Return both verdicts on a claim in a few words: "agrees, smaller"."""
    if result.cut:
        return "not judged: runs cut short"
    direction: str = result.direction.verdict
    size: str | None = result.size.verdict if result.size else None
    words = direction
    if result.claim.direction == "value":
        assert size is not None
        words = size
    elif result.claim.direction == "equal":
        assert size is not None
        assert result.claim.size is not None
        margin = size_value(result.claim.size.margin, result, is_margin=True)
        words = f"equivalent within {margin}" if size == "equivalent" else size
    elif size not in (None, "undecided"):
        words = f"{direction}, {size}"
    return f"analogue: {words}" if result.elsewhere else words


def size_claimed(result: ClaimResult) -> str:
    """Return the size that a claim states: "about 6 times, margin a factor of 1.5 (ours)"."""
    size = result.claim.size
    if size is None:
        return "-"
    # The paper and its logs state no margins.
    ours = " (ours)" if result.claim.by != "us" else ""
    if size.kind == "within":
        return f"no difference beyond {size_value(size.margin, result, is_margin=True)}{ours}"
    value = size_value(size.value, result)
    if size.kind == "at_least":
        return f"at least {value}"
    if size.margin is None:
        return f"{value}, no margin stated"
    return f"about {value}, margin {size_value(size.margin, result, is_margin=True)}{ours}"


def size_value(number: float | None, result: ClaimResult, *, is_margin: bool = False) -> str:
    """Return a size or a margin with its unit; the margin of a ratio is a factor."""
    if number is None:
        return "-"
    if result.experiment.effect == "ratio":
        return f"a factor of {number:.3g}" if is_margin else f"{number:.3g} times"
    if result.claim.direction == "value" and not is_margin:
        return value(number, result.experiment.measure)
    text = paper_value(number, result.experiment)
    return text.lstrip("+") if is_margin else text


def p_value(p: float | None) -> str:
    """Return p with four decimal places, or "-" where nothing was tested."""
    if p is None:
        return "-"
    return f"{p:.4f}" if p >= 0.0001 else "< 0.0001"


def power_in_words(result: ClaimResult) -> str:
    """Return in words what the seeds could have shown, and what a decision would take."""
    power = result.power
    if power.smallest_effect is None:
        return f"n = {power.n}: the spread over seeds is unknown, and therefore the power."
    smallest = size_value(power.smallest_effect, result, is_margin=True)
    text = f"n = {power.n} shows an effect of {smallest} with 80 % power"
    if result.direction.verdict in ("agrees", "disagrees"):  # the size alone is undecided
        if power.more_for_size is None:
            return f"{text}; how many would settle the size is not known."
        if power.more_for_size == 0:
            return f"{text}; so many seeds usually confirm a size within its margin."
        more = count(power.more_for_size, "more seed")
        return f"{text}; to confirm the size within its margin would take about {more}."
    if power.more_seeds is None:
        return f"{text}; for {power.assumed} more than 1000 seeds would be needed."
    if power.more_seeds == 0:
        return f"{text}, enough for {power.assumed}."
    return f"{text}; {power.assumed} would take about {count(power.more_seeds, 'more seed')}."


# The verdict of a report

REHEARSAL = "REHEARSAL: "
"""Prefix for the name of a sweep whose runs used only a few batches of each epoch."""


def verdict(comparison: Comparison) -> str:
    """Return the verdict on the first claim, or why there is none."""
    if comparison.problem:
        return comparison.problem.partition(":")[0].partition(",")[0]
    is_value = bool(comparison.claims) and comparison.claims[0].claim.direction == "value"
    if not comparison.claimed and not is_value:
        return "nothing to compare"
    if comparison.verdict == "too few finished runs" or not comparison.claims:
        return comparison.verdict or "no claim to compare with"
    if comparison.analogue == "too few finished runs":
        return f"analogue: {comparison.analogue}"
    return verdict_of(comparison.claims[0])


def verdicts(comparison: Comparison) -> list[tuple[str, str]]:
    """Return every claim with its verdict; the first one's says why, if there is none."""
    return [
        (
            " ".join(result.claim.text.split()),
            verdict_of(result) if place else verdict(comparison),
        )
        for place, result in enumerate(comparison.claims)
    ]


def short_verdict(comparison: Comparison) -> str:
    """Return the verdict in two or three words, for a line of a log or a cell."""
    words = verdict(comparison)
    return {"no claim to compare with": "no claim"}.get(words, words)


_KINDS = {
    "agrees": "yes",
    "disagrees": "no",
    "undecided": "open",
    "too few": "open",
    "not run": "none",
    "not judged": "none",
}


def kind_of(text: str) -> str:
    """Return the mark of a verdict: yes, no, open or none, or for an analogue "yes analogue" etc.

    Empty if the text is not a verdict.
    """
    words = text.removeprefix("analogue: ")
    kind = next((kind for word, kind in _KINDS.items() if words.startswith(word)), "")
    return f"{kind} analogue".strip() if words != text else kind
