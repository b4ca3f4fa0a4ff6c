"""The findings that a report presents, each computed once."""

from dataclasses import dataclass
from functools import cached_property

from alexnet.config.experiment import Experiment
from alexnet.results.acts import NormAtWork, norms_at_work
from alexnet.results.compare import Comparison, compare
from alexnet.results.runs import Sweep
from alexnet.results.survival import Survival, survival_of


@dataclass(frozen=True, kw_only=True)
class Findings:
    """A sweep and its results."""

    sweep: Sweep
    comparison: Comparison

    @property
    def experiment(self) -> Experiment:
        """The sweep's experiment, as sweep.json describes it."""
        return self.sweep.experiment

    @cached_property
    def survival(self) -> Survival | None:
        """Survival curves, if the measure is a time and some run did not reach the error."""
        return survival_of(self.comparison, self.experiment)

    @cached_property
    def norms(self) -> tuple[NormAtWork, ...]:
        """The normalization layers of the finished runs."""
        return norms_at_work(self.sweep)


def comparison_of(sweep: Sweep) -> Comparison:
    """Compare the arms of a sweep with the tests that its plan allows."""
    return compare(
        sweep.outcomes(),
        experiment=sweep.experiment,
        setting=sweep.setting,
        measured=sweep.outcomes,
        intervals=sweep.intervals,
        unfinished=sweep.unfinished_search,
        is_anytime=sweep.is_anytime,
    )
