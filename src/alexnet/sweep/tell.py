import logging
import math
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from alexnet import vocabulary
from alexnet.folders.ending import CANNOT_BE_BUILT
from alexnet.folders.files import DamagedFile
from alexnet.folders.run import RunDir
from alexnet.folders.sweep import SweepDir
from alexnet.sweep.plan import PlannedRun

log = logging.getLogger("alexnet.sweep")

UNREADABLE = "unreadable"
"""The state of a run whose files are damaged."""


def announce(sweep: SweepDir, runs: Sequence[PlannedRun], left: Sequence[PlannedRun]) -> None:
    """Log the number of runs to go, the folder, and the runs that have ended before."""
    config = runs[0].config
    log.info(
        "%s: %s on %s, %d of %d runs to go, in %s",
        config.experiment.name, config.model.target.rpartition(".")[2],
        config.data.target.rpartition(".")[2], len(left), len(runs), sweep.path,
    )  # fmt: skip
    for run in runs:
        if run not in left:
            log.info("  %s before: %s", _how_ended(sweep.run(run.name)), run.name)


def _how_ended(run: RunDir) -> str:
    """Return how a run ended of which nothing is left to do."""
    if run.is_finished:
        return "finished"
    return "diverged" if run.has_diverged else "beaten"


def summarize(
    sweep: SweepDir,
    runs: Sequence[PlannedRun],
    left: Sequence[PlannedRun],
    beaten: Collection[str],
) -> list[PlannedRun]:
    """Log how every run ended; return those that failed, or whose result cannot be read.

    A run that diverged is a result, not a failure; nor is one that was `beaten` in a search.
    """
    failed = []
    for run in runs:
        folder = sweep.run(run.name)
        if result := _result(folder, run):
            how = "finished" if run in left else "finished before"
            error = 100 * result["metrics"].get(vocabulary.TEST_ERROR, math.nan)
            log.info("  %-36s %-16s test error %.1f %%", run.name, how, error)
            continue
        status = status_of(folder)
        if folder.has_diverged or run.name in beaten:
            state = _how_ended(folder)
        else:
            failed.append(run)
            is_damaged = folder.is_finished or status.get("state") == UNREADABLE
            state = UNREADABLE if is_damaged else folder.state
        why = damage(folder, run) or status.get("error", status.get("cause", ""))
        log.info("  %-36s %-16s %s", run.name, state, why)
        if status:
            log.info("  %-36s %-16s see %s", "", "", folder.log)
    return failed


def damage(folder: RunDir, planned: PlannedRun) -> str | None:
    """Explain what is wrong with the result of a run, which is not trained again in that case."""
    try:
        folder.read_result(planned={"arm": planned.arm, "seed": planned.config.seed})
    except DamagedFile as error:
        return str(error)
    return None


def _result(folder: RunDir, planned: PlannedRun) -> dict[str, Any]:
    """Return the result of a run; {} if there is none, or it is damaged."""
    return {} if damage(folder, planned) else folder.read_result()


def status_of(folder: RunDir) -> dict[str, Any]:
    """Return the status of a run; "unreadable" instead of an error, so that others can continue."""
    try:
        return folder.read_status()
    except (DamagedFile, OSError) as error:
        return {"state": UNREADABLE, "error": str(error)}


def why_wrong(sweep: SweepDir, runs: Sequence[PlannedRun]) -> str:
    """Return the errors of the runs that cannot be built, each only once."""
    ends = [status_of(sweep.run(run.name)) for run in runs]
    wrong = [end["error"] for end in ends if end.get("cause") == CANNOT_BE_BUILT]
    return "\n".join(dict.fromkeys(wrong))


def nothing_could_be_built(sweep: SweepDir, runs: Iterable[PlannedRun]) -> bool:
    """Return whether no run could be built; other launchers do not stop the sweep at the first."""
    return all(status_of(sweep.run(run.name)).get("cause") == CANNOT_BE_BUILT for run in runs)
