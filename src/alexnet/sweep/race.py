"""Which runs of a search need not be trained further.

A search for the rate with which a net reaches an error soonest would spend most of its time on
rates that have lost: once a trial has reached the error, a run that is later cannot win.
"""

from collections.abc import Iterable

from alexnet.folders.sweep import SweepDir
from alexnet.sweep.plan import PlannedRun


def runs_to_go(sweep: SweepDir, runs: Iterable[PlannedRun]) -> list[PlannedRun]:
    """Return the runs that have to be trained, or trained further."""
    beaten = beaten_runs(sweep)
    return [run for run in runs if not (sweep.run(run.name).is_settled or run.name in beaten)]


def beaten_runs(sweep: SweepDir) -> frozenset[str]:
    """Return the names of unfinished runs whose trial can no longer be the best of its arm.

    Nothing can be said of a sweep that is no search, or whose measure is not a time to an error.
    """
    experiment = sweep.read_plan().get("experiment", {})
    if not experiment.get("search") or experiment["measure"]["kind"] != "epochs_to_error":
        return frozenset()
    from alexnet.results.runs import load_sweep  # pandas takes a second

    return load_sweep(sweep.path).beaten
