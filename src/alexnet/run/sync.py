"""Send the runs and the report of a sweep to W&B from their files, with or without live logging.

Data that W&B already has are not sent again: see wandb_runs.Sent. A run gets the same W&B id,
steps, names, pictures and summary as by live logging.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from alexnet.config.experiment import Experiment
from alexnet.config.names import flatten
from alexnet.folders.ending import BEATEN
from alexnet.folders.files import DamagedFile
from alexnet.folders.run import RunDir
from alexnet.folders.sweep import SweepDir
from alexnet.results import wording
from alexnet.results.report import Report
from alexnet.run.loggers import summary_of
from alexnet.run.wandb_runs import (
    PICTURES,
    Destination,
    Identity,
    Sent,
    begin,
    digest,
    finish,
    identity_of,
    log_checkpoints,
    log_pictures,
    log_report,
    tags_of,
)

Outcome = Literal["sent", "nothing new", "not started", "logged live"]

_ROWS_PER_EPOCH = 10
"""Steps per epoch of runs of older versions, which did not record their number of updates."""

_ENDED = ("finished", "failed")


@dataclass(frozen=True, kw_only=True)
class Synced:
    """The result for one run, or the report, of a sweep."""

    name: str
    state: str
    outcome: Outcome | str
    is_complete: bool = True


def sync(
    sweep: SweepDir,
    destination: Destination,
    *,
    report: Report | None,
    checkpoints: bool = False,
) -> Iterator[Synced]:
    """Send what W&B lacks of every started run of a sweep, then the report if one is given.

    With `checkpoints`, the checkpoints of runs with new data are kept as artifacts. A run with a
    damaged file is reported and skipped. Raises the errors of W&B's client if W&B cannot be
    reached.
    """
    experiment = Experiment.model_validate(sweep.read_plan()["experiment"])
    for run in sweep.runs():
        try:
            state = run.state
            outcome = _sync_run(run, state, experiment, destination, checkpoints=checkpoints)
            yield Synced(name=run.name, state=state, outcome=outcome)
        except DamagedFile as error:
            yield Synced(name=run.name, state="damaged", outcome=str(error), is_complete=False)
    if report:
        yield Synced(name="report", state="", outcome=_sync_report(sweep, report, destination))


def _sync_run(
    run: RunDir, state: str, experiment: Experiment, destination: Destination, *, checkpoints: bool
) -> Outcome:
    if state == "not started":
        return "not started"
    config = _config(run)
    if state == "running" and config.get("logger.wandb.mode") == "online":
        return "logged live"
    end = {**run.read_status(), "state": state}
    is_beaten = end.get("cause") == BEATEN
    rows = _history(run)
    if state not in _ENDED and not is_beaten:
        # W&B accepts each step once, and test errors and pictures may still join the last step.
        rows.pop(max(rows, default=0), None)
    summary = summary_of(run, experiment.measure, end)
    sent = Sent.read(run.path, destination)
    new = {step: row for step, row in rows.items() if step > sent.step}
    if not new and sent.digest == digest(summary):
        return "nothing new"
    identity = identity_of(run, experiment=experiment.name, config=config)
    tracked = begin(run.path, destination, identity, is_upload=True)
    try:
        for step, (numbers, pictures) in new.items():
            tracked.log(numbers, step=step)
            if pictures:
                log_pictures(tracked, pictures, step=step)
        if checkpoints:
            log_checkpoints(tracked, run)
    finally:
        finish(tracked, summary, is_failed=not is_beaten and state not in ("finished", "running"))
    Sent(step=max(rows, default=-1), digest=digest(summary)).write(run.path, destination)
    return "sent"


def _config(run: RunDir) -> dict[str, Any]:
    """Return the flat hyper-parameters, as the run gave them to its loggers."""
    text = run.config.read_text() if run.config.is_file() else ""
    config = (yaml.safe_load(text) or {}) | {"searches": {}}  # long, and not settings of the run
    arm = SweepDir(run.path.parent).read_plan()["runs"][run.name]["arm"]
    return flatten(config) | {f"ablation/{key}": level for key, level in arm.items()}


def _history(run: RunDir) -> dict[int, tuple[dict[str, float], dict[str, Path]]]:
    """Return what the run gave its loggers: numbers and pictures by ascending number of updates."""
    steps: dict[int, tuple[dict[str, float], dict[str, Path]]] = {}

    def at(step: int) -> tuple[dict[str, float], dict[str, Path]]:
        return steps.setdefault(step, ({}, {}))

    per_epoch = _steps_per_epoch(run)
    for prefix, rows in (("progress/", run.read_progress()), ("", run.read_metrics())):
        for row in rows:
            if math.isfinite(epoch := row.get("epoch", math.nan)):
                known = {f"{prefix}{key}": value for key, value in row.items() if value == value}
                at(round(epoch * per_epoch))[0].update(known)
    last = max(steps, default=0)
    metrics = run.read_result().get("metrics", {})
    tested = {key: value for key, value in metrics.items() if key.startswith("test/")}
    if tested:
        at(last)[0].update(tested)
    for file in sorted(run.pictures.glob("*.png")):
        name, _, step = file.stem.rpartition("-")
        of_a_step = step.isdecimal()
        key = f"{PICTURES}/{name if of_a_step else file.stem}"
        at(int(step) if of_a_step else last)[1][key] = file
    return dict(sorted(steps.items()))


def _steps_per_epoch(run: RunDir) -> float:
    """Return the number of updates per epoch, which status.json records since 0.2."""
    status = run.read_status()
    step, epoch = status.get("step", 0), status.get("epoch", 0)
    return step / epoch if step and epoch else _ROWS_PER_EPOCH


def _sync_report(sweep: SweepDir, report: Report, destination: Destination) -> Outcome:
    """Send the report as a W&B run of its own: answer as summary, tables, figures and page."""
    experiment = report.sweep.experiment
    figures = {f"figures/{file.stem}": file for file in report.files if file.suffix == ".png"}
    says = (report.folder / "README.md").read_text()
    sent = Sent.read(sweep.path, destination)
    if sent.digest == digest(says):
        return "nothing new"
    step = sent.step + 1
    group = f"{experiment.name}/{sweep.path.name}"
    identity = Identity(
        name=f"report of {group}",
        group=group,
        job_type="report",
        tags=tags_of(experiment.name, experiment.section),
        config={"sweep": group, "experiment": experiment.model_dump(mode="json"), "arm": "report"},
    )
    tracked = begin(sweep.path, destination, identity, is_upload=True)
    try:
        log_report(tracked, report.tables, report.page, step=step)
        log_pictures(tracked, figures, step=step)
    finally:
        verdict = wording.short_verdict(report.comparison)
        finish(tracked, {"answer": report.answer, "verdict": verdict}, is_failed=False)
    Sent(step=step, digest=digest(says)).write(sweep.path, destination)
    return "sent"
