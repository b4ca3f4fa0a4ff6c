"""How numbers are written for people: the only place where a fraction becomes per cent."""

from collections.abc import Callable, Sequence

from alexnet import vocabulary
from alexnet.config.experiment import Experiment, Measure
from alexnet.results.compare import Arm, Comparison, Effect, Interval, level_label, short_key

METRIC_NAMES = {
    vocabulary.TRAIN_LOSS: "training loss",
    vocabulary.TRAIN_ERROR: "training error",
    vocabulary.VAL_LOSS: "validation loss",
    vocabulary.VAL_ERROR: "validation error",
    vocabulary.VAL_ERROR_TOP5: "top-5 validation error",
    vocabulary.TEST_LOSS: "test loss",
    vocabulary.TEST_ERROR: "test error",
    vocabulary.TEST_ERROR_TOP5: "top-5 test error",
}


def is_error(metric: str) -> bool:
    """Whether a metric is a fraction between 0 and 1, printed in per cent."""
    return metric.partition("/")[2].startswith("error")


def name_of_metric(metric: str) -> str:
    """train/error is the training error."""
    return METRIC_NAMES.get(metric, metric)


def count(number: float, noun: str) -> str:
    """1 run, 2 runs; 2.5 epochs."""
    return f"{number:.4g} {noun}{'' if number == 1 else 's'}"


def name_of_measure(measure: Measure) -> str:
    """For example "epochs to 25 % training error"."""
    if measure.kind == "final":
        return f"final {name_of_metric(measure.metric)}"
    return f"epochs to {_threshold(measure)}"


def value(number: float | None, measure: Measure) -> str:
    """A value of the measure, with its unit where that is per cent."""
    if number is None:
        return "-"
    if measure.kind == "epochs_to_error":
        return f"{number:.1f}" if number >= 1 else f"{number:.2f}"
    return f"{100 * number:.1f} %" if is_error(measure.metric) else f"{number:.3g}"


def values(arm: Arm, measure: Measure) -> str:
    """One value per finished run; "never" where censored, "-" without any."""
    shown = [value(v, measure) if v is not None else "never" for v in arm.values]
    return ", ".join(shown) or "-"


def effect_value(number: float | None, experiment: Experiment) -> str:
    """A ratio, or a signed difference, in percentage points for errors."""
    if number is None:
        return "-"
    if experiment.effect == "ratio":
        return f"{number:.2f}" if number < 10 else f"{number:.1f}"
    if _is_in_points(experiment):
        return f"{100 * number:+.2f}"
    return f"{number:+.3g}"


def paper_value(number: float, experiment: Experiment) -> str:
    """The paper's effect with its unit, to as many places as the paper prints."""
    unit = effect_unit(experiment)
    scale = 100 if unit == "percentage points" else 1
    return f"{scale * number:{'' if unit == 'times' else '+'}.3g} {unit}"


def effect_unit(experiment: Experiment) -> str:
    """What an effect counts in: "times", "percentage points", "epochs" or the metric's own."""
    if experiment.effect == "ratio":
        return "times"
    if _is_in_points(experiment):
        return "percentage points"
    if experiment.measure.kind == "epochs_to_error":
        return "epochs"
    return name_of_metric(experiment.measure.metric)


def interval(ci95: Interval | None, write: Callable[[float | None], str]) -> str:
    """From low to high; an open end says so; "-" without an interval."""
    if ci95 is None:
        return "-"
    low, high = ci95
    if high is None:
        return f"at least {write(low)}"
    if low is None:
        return f"at most {write(high)}"
    return f"{write(low)} to {write(high)}"


def answer(comparison: Comparison, experiment: Experiment) -> str:
    """The outcome in one sentence, with its numbers and n."""
    if not comparison.claimed:
        return f"{_arms_alone(comparison.arms, experiment.measure)}."
    sentence = "; ".join(_effect_clause(effect, experiment) for effect in comparison.claimed)
    paper = experiment.paper
    if comparison.papers_effect is not None and paper is not None:
        sentence += f"; the paper: {paper_value(paper.value, experiment)}"
    for arm in comparison.arms:
        if arm.limit is not None:
            runs = f"{arm.censored} of {count(arm.n, 'run')} of {arm.label}"
            sentence += f"; {runs} not there in {count(arm.limit, 'epoch')}"
    return f"{sentence}."


def _effect_clause(effect: Effect, experiment: Experiment) -> str:
    other, baseline = (_level_in_words(effect, side) for side in (0, 1))
    pair = f"{other} against {baseline}"
    if effect.n == 0:
        return f"{pair}: no seed has finished in both arms"
    if effect.mean is None:
        why = (
            "runs on both sides never reached the threshold"
            if effect.bound == "neither"
            else "a value is zero, so that there is no ratio"
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
        return f"ended at {number} the {name_of_metric(measure.metric)} of {baseline}"
    size = effect_value(abs(effect.mean), experiment).lstrip("+")
    if is_time:
        word = "more" if effect.mean >= 0 else "fewer"
        return f"took {bound}{size} epochs {word} than {baseline} to reach {_threshold(measure)}"
    word = "higher" if effect.mean >= 0 else "lower"
    unit = f" {effect_unit(experiment)}" if _is_in_points(experiment) else ""
    name = name_of_metric(measure.metric)
    return f"ended with a {name} {bound}{size}{unit} {word} than {baseline}"


def _interval_in_words(effect: Effect, experiment: Experiment) -> str:
    if effect.ci95 is None:
        return ""
    ends = interval(effect.ci95, lambda number: effect_value(number, experiment))
    return f"95 % interval {ends}, "


def _level_in_words(effect: Effect, side: int) -> str:
    """A name stands for itself; a number, yes or none needs its key."""
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
    return f"Nothing to compare: {'; '.join(clauses)}"


def _threshold(measure: Measure) -> str:
    assert measure.threshold is not None
    metric = measure.metric
    percent = f"{100 * measure.threshold:g} %" if is_error(metric) else f"{measure.threshold:g}"
    return f"{percent} {name_of_metric(metric)}"


def _is_in_points(experiment: Experiment) -> bool:
    return experiment.measure.kind == "final" and is_error(experiment.measure.metric)
