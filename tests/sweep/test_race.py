"""A search stops the runs that have lost, and does not take them up again."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from alexnet.folders.ending import BEATEN, Exit
from alexnet.folders.run import RunDir
from alexnet.folders.sweep import SweepDir
from alexnet.results import load_sweep
from alexnet.sweep.devices import Devices
from alexnet.sweep.plan import PlannedRun, join_plan, prepare
from alexnet.sweep.processes import Job, run_jobs
from alexnet.sweep.race import beaten_runs, runs_to_go
from tests.conftest import plan
from tests.results.handmade import LRN_ON_OFF, RELU_VS_TANH, Run, falling, write_sweep

LR = "learning.lr"
SEARCH = {**RELU_VS_TANH, "search": LR}
PLACE = Devices(gpus=(), places=1)
TINY = (
    "data=synthetic", "data.num_images=240", "data.batch_size=8", "model.image_size=24",
    "model.normalization=none", "trainer.threads=1",
)  # fmt: skip


def search_of(folder: Path, *last: Run) -> SweepDir:
    """A search whose rate of 0.01 reaches the threshold at epoch 4."""
    won = Run(arm={"model.nonlinearity": "relu", LR: 0.01}, progress=falling(4))
    return SweepDir(write_sweep(folder, SEARCH, [won, *last]))


def names_to_go(sweep: SweepDir) -> list[str]:
    planned = [SimpleNamespace(name=name) for name in sweep.read_plan()["runs"]]
    return [run.name for run in runs_to_go(sweep, planned)]


def at(rate: float, *, crossing: float, end: float, state: str | None, seed: int = 0) -> Run:
    return Run(
        arm={"model.nonlinearity": "relu", LR: rate}, seed=seed,
        progress=falling(crossing, end=end) if state else (), state=state,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("run", "is_beaten"),
    [
        (at(0.1, crossing=30, end=5, state="running"), True),
        (at(0.1, crossing=30, end=5, state="stopped"), True),
        (at(0.1, crossing=30, end=4, state="running"), False),  # it could still cross at 3.9
        (at(0.1, crossing=30, end=5, state="failed"), False),  # why it failed has to be seen
        (at(0.1, crossing=30, end=5, state=None), False),  # not started
        (at(0.1, crossing=3, end=5, state="stopped"), False),  # the best of all, if it ends
    ],
)
def test_a_run_is_beaten_once_it_is_later_than_the_best_of_its_arm(
    tmp_path: Path, run: Run, is_beaten: bool
):
    sweep = search_of(tmp_path, run)

    assert beaten_runs(sweep) == ({run.name} if is_beaten else set())
    assert names_to_go(sweep) == [run.name] * (not is_beaten)
    assert load_sweep(sweep.path).ended == 1 + (is_beaten or run.state == "failed")


def test_another_arm_and_what_is_not_a_search_by_time_are_left_alone(tmp_path: Path):
    late = Run(
        arm={"model.nonlinearity": "tanh", LR: 0.1}, progress=falling(30, end=9), state="running"
    )
    assert beaten_runs(search_of(tmp_path / "other", late)) == set()
    for name, experiment in (("factor", RELU_VS_TANH), ("error", {**LRN_ON_OFF, "search": LR})):
        folder = write_sweep(
            tmp_path / name, experiment, [at(0.1, crossing=30, end=9, state="running")]
        )
        assert beaten_runs(SweepDir(folder)) == set()


def prepared(folder: Path, runs: Sequence[PlannedRun]) -> SweepDir:
    """A sweep whose runs can be started."""
    sweep = SweepDir(folder)
    sweep.write_plan(join_plan({}, {}, ["trainer.max_epochs", "seed"], runs, {}))
    for run in runs:
        prepare(run, sweep.run(run.name))
    return sweep


def test_a_beaten_run_writes_a_checkpoint_and_stops_and_the_others_go_on(tmp_path: Path):
    runs = plan(*TINY, "trainer.max_epochs=1000,1")
    sweep = prepared(tmp_path, runs)
    endless, short = (sweep.run(run.name) for run in runs)

    def beaten() -> set[str]:
        return {endless.name} if endless.progress.exists() and endless.read_progress() else set()

    ends = run_jobs([Job.of(endless), Job.of(short)], PLACE, beaten=beaten)

    assert ends == {endless.name: Exit.FINISHED, short.name: Exit.FINISHED}
    status = endless.read_status()
    assert (status["state"], status["cause"]) == ("stopped", BEATEN)
    assert endless.last_checkpoint.is_file()
    assert short.is_finished


def test_a_run_that_has_lost_before_its_turn_is_not_started_and_comes_last(tmp_path: Path):
    lost = RunDir(tmp_path / "lost")
    assert run_jobs([Job(run=lost, devices=0, max_epochs=1)], PLACE, beaten=lambda: {"lost"}) == {}
    assert not lost.path.exists()

    before = Run(arm={"model.nonlinearity": "tanh", LR: 0.1}, state="stopped", cause=BEATEN)
    sweep = search_of(tmp_path / "search", before, at(0.1, crossing=30, end=2, state="stopped"))
    assert names_to_go(sweep) == [at(0.1, crossing=0, end=0, state=None).name, before.name]


def test_an_error_in_looking_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    def beaten() -> set[str]:
        raise PermissionError("sweep.json cannot be read")

    [run] = plan(*TINY, "trainer.max_epochs=1")
    sweep = prepared(tmp_path, [run])

    ends = run_jobs([Job.of(sweep.run(run.name))], PLACE, beaten=beaten)

    assert ends == {run.name: Exit.FINISHED}
    assert "cannot see which runs have lost: sweep.json cannot be read" in caplog.text
