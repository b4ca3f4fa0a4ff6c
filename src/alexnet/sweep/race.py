"""Which runs of a search need not be trained further.

A search for the rate with which a net reaches an error soonest would spend most of its time on
rates that have lost: once a trial has reached the error, a run that is later cannot win.
"""

from collections.abc import Iterable

from alexnet.folders.ending import BEATEN
from alexnet.folders.sweep import SweepDir
from alexnet.sweep.plan import PlannedRun
from alexnet.sweep.tell import status_of


def runs_to_go(sweep: SweepDir, runs: Iterable[PlannedRun]) -> list[PlannedRun]:
    """Return the runs that have to be trained, or trained further.

    Those that have lost before come last: others may win before they have to be trained further.
    """
    beaten = beaten_runs(sweep)
    left = [run for run in runs if not (sweep.run(run.name).is_settled or run.name in beaten)]
    return sorted(left, key=lambda run: status_of(sweep.run(run.name)).get("cause") == BEATEN)


def beaten_runs(sweep: SweepDir) -> frozenset[str]:
    """Return the names of unfinished runs whose trial can no longer be the best of its arm.

    There are none in a sweep that is not a search by time, or whose plan cannot be used.
    """
    experiment = sweep.read_plan().get("experiment", {})
    is_time = experiment.get("measure", {}).get("kind") == "epochs_to_error"
    if not experiment.get("search") or not is_time:  # known without reading all runs
        return frozenset()
    from alexnet.results.runs import load_sweep  # pandas takes a second

    try:
        return load_sweep(sweep.path).beaten
    except ValueError:  # the command that follows writes the plan anew, or reports what is wrong
        return frozenset()
