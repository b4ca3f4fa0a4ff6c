"""The section of a report that explains its numbers: a paragraph for each method that was used."""

from alexnet.results.findings import Findings

_ALWAYS = """
- An interval is a two-sided 95 % t-interval over seeds. Effects are paired by seed, other level
  against baseline; a ratio is the geometric mean of the seeds' ratios, with its interval taken on
  logarithms. An effect {side} {no_effect:g} means that the baseline is better. If all seeds gave
  the same effect there is no spread, and therefore neither an interval nor a verdict.
- p is that of a two-sided paired t-test against no effect; adjusted: by Holm's method, for all
  rows of its table, so that the level of 5 % holds for the table as a whole.
- *Direction*: *agrees* or *disagrees* if the adjusted p is at most 0.05, else *undecided*; a claim
  about several levels agrees only if each of them does. *Size*: *compatible* or *equivalent* if
  two one-sided tests at the 5 % level show that the effect is within the margin; *smaller*,
  *larger* or *different* if a two-sided test shows that it is outside; else *undecided*.
- An *analogue* is the same experiment on other data, with another network or after fewer epochs
  than the claim's: it neither supports nor contradicts the claim.
- A run that diverged is a result. {diverged} Runs that failed or are missing have no
  value, are not in n, and are listed."""

_DIVERGED_TIME = "It counts as not having reached the threshold by the end of its budget."
_DIVERGED_ERROR = """It counts with the error of guessing; if that is not known, its seed is
  left out, the effect is only about runs that finish, and the verdict cannot be *agrees*."""

_AT_ANY_LOOK = """
- Seeds were added one at a time until the first claim was settled (`seed=auto`). Therefore effects
  are not tested by t-tests: their intervals and p come from e-values (a normal mixture over
  standardized effects, deviation unknown), which are valid however often the results are looked
  at; p is 2 divided by the e-value of the direction. Intervals of single arms and those at other
  thresholds remain t-intervals."""

_TIME = """
- Epochs to {metric}: where a monotone fit of the curve (isotonic regression) reaches the
  threshold, linear between rows, once the fit has stayed there for one epoch; if the curve ends
  earlier, by the fit of all its rows. The first row at or {below} the threshold is not used: by
  chance, it tends to be early. The training error in a row of progress.csv is counted over the
  images since the previous row, and placed in the middle between the two.
- A run that ended without reaching the threshold is *censored*, not failed: it is only known to
  need more than its limit, the epochs for which it was trained. Its arm has no mean. In effects it
  counts with its limit, so that they compare the restricted time min(T, limit). With censored runs
  on the other side only, an effect is a lower bound and its interval open above; with censored
  runs in the baseline only, an upper bound and open below; with both there is no estimate."""

_GRID = """
- Main effects are averaged over all combinations of the remaining factors. An interaction is the
  difference of differences (of logarithms for a ratio), without a factor of 1/2: by how much the
  effect of one factor changes with the other. {no_effect:g} is no interaction."""

_SEARCH = """
- Every arm is compared at its own best {search}: the level with the largest share of runs that
  {ended}; among equals, the one with the {lowest} mean of these runs, or without any, with the
  lowest error reached. The choice uses the same runs as the comparison, in the same way in all
  arms. If the best is on the edge of what was searched, no run of it {ended}, or runs are
  unfinished, the search is unfinished and nothing is judged."""

_VALUE = """
- The error of a network itself is judged by two one-sided tests against the ends of the margin. For
  one run, these are binomial tests, with the exact (Clopper-Pearson) interval over the test images,
  which say nothing about other seeds; for several runs, Student's t over seeds. A sweep on another
  number of test images than the claim's is an analogue."""


def how_to_read(findings: Findings) -> str:
    """Return the explanations that this report needs, as a list in Markdown."""
    comparison, experiment = findings.comparison, findings.experiment
    text = _ALWAYS + _AT_ANY_LOOK if findings.sweep.is_anytime else _ALWAYS
    if experiment.measure.kind == "epochs_to_error":
        text += _TIME
    if any(effect.is_interaction for effect in comparison.effects):
        text += _GRID
    if comparison.best:
        text += _SEARCH
    if any(claim.direction == "value" for claim in experiment.claims):
        text += _VALUE
    measure = experiment.measure
    return text.strip().format(
        no_effect=experiment.no_effect,
        search=" and ".join(experiment.searched),
        side="above" if measure.lower_is_better else "below",
        diverged=_DIVERGED_TIME if measure.kind == "epochs_to_error" else _DIVERGED_ERROR,
        ended="reached the threshold" if measure.kind == "epochs_to_error" else "finished",
        lowest="lowest" if measure.lower_is_better else "highest",
        metric=f"a {measure.described.printed}",
        below="below" if measure.described.better == "lower" else "above",
    )
