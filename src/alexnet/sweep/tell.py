import logging
from collections.abc import Iterable, Sequence

from alexnet.folders.ending import CANNOT_BE_BUILT
from alexnet.folders.sweep import SweepDir
from alexnet.sweep.plan import PlannedRun

log = logging.getLogger("alexnet.sweep")


def announce(sweep: SweepDir, runs: Sequence[PlannedRun], left: Sequence[PlannedRun]) -> None:
    """Say what is left to do, and where."""
    config = runs[0].config
    log.info(
        "%s: %s on %s, %d of %d runs to go, in %s",
        config.experiment.name, config.model.target.rpartition(".")[2],
        config.data.target.rpartition(".")[2], len(left), len(runs), sweep.path,
    )  # fmt: skip
    for run in runs:
        if run not in left:
            how = "finished" if sweep.run(run.name).is_finished else "diverged"
            log.info("  %s before: %s", how, run.name)


def summarize(
    sweep: SweepDir, runs: Sequence[PlannedRun], left: Sequence[PlannedRun]
) -> list[PlannedRun]:
    """Say how every run ended; those that failed. To diverge is a result, and no failure."""
    failed = []
    for run in runs:
        folder = sweep.run(run.name)
        if folder.is_finished:
            how = "finished" if run in left else "finished before"
            error = 100 * folder.read_result()["metrics"]["test/error"]
            log.info("  %-36s %-16s test error %.1f %%", run.name, how, error)
            continue
        status = folder.read_status()
        why = status.get("error", status.get("cause", ""))
        state = "diverged" if folder.has_diverged else folder.state
        log.info("  %-36s %-16s %s", run.name, state, why)
        if not folder.has_diverged:
            failed.append(run)
        if status:
            log.info("  %-36s %-16s see %s", "", "", folder.log)
    return failed


def why_wrong(sweep: SweepDir, runs: Sequence[PlannedRun]) -> str:
    """What the runs that cannot be built say, each thing once."""
    ends = [sweep.run(run.name).read_status() for run in runs]
    wrong = [end["error"] for end in ends if end.get("cause") == CANNOT_BE_BUILT]
    return "\n".join(dict.fromkeys(wrong))


def nothing_could_be_built(sweep: SweepDir, runs: Iterable[PlannedRun]) -> bool:
    """Whether every run ended so: under other launchers none ends the sweep for the others."""
    return all(sweep.run(run.name).read_status().get("cause") == CANNOT_BE_BUILT for run in runs)
