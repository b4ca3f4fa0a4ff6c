import logging
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Self

from omegaconf import OmegaConf

from alexnet.folders.ending import BEATEN, Exit, Stopped
from alexnet.folders.run import RunDir
from alexnet.paths import python_path
from alexnet.run.child import Child, what_ended
from alexnet.run.fork_server import RUN, ForkedChild, start_child
from alexnet.signals import SIGNALS_TO_STOP, handling
from alexnet.sweep.devices import Devices, Share, gpus_here
from alexnet.sweep.display import Display
from alexnet.sweep.plan import PlannedRun, write_config
from alexnet.sweep.tell import status_of

# If one job cannot be built, the others cannot either; if one is stopped, all are.
ENDS_THE_SWEEP = (Exit.WRONG, Exit.STOPPED, Exit.INTERRUPTED)

SECONDS_BETWEEN_LOOKS = 0.2  # at the files of running runs, and for signals

log = logging.getLogger("alexnet.sweep")


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run whose configuration is written; `devices` is its number of GPUs."""

    run: RunDir
    devices: int
    max_epochs: int

    @classmethod
    def of(cls, run: RunDir) -> Self:
        """Return the job of a run, from its configuration."""
        trainer = OmegaConf.load(run.config).trainer
        devices = 0 if trainer.accelerator == "cpu" else trainer.devices
        return cls(run=run, devices=devices, max_epochs=trainer.max_epochs)


def run_jobs(
    jobs: Sequence[Job], devices: Devices, *, beaten: Callable[[], Collection[str]] = tuple
) -> dict[str, Exit]:
    """Run each job in its own process, as many at once as fit; return how each started one ended.

    `beaten` names the runs that need not be trained further; these are stopped, and it is no
    failure. Raises Interrupted if this process was told to stop.
    """
    waiting = deque(jobs)
    running: list[Process] = []
    ended: SimpleQueue[Process] = SimpleQueue()
    ends: dict[str, Exit] = {}
    race = _Race(beaten)
    with Display(total=len(jobs)) as display, _told_to_stop() as told:
        while running or (waiting and not told.to_stop):
            if not told.to_stop and (lost := race.lost(ends.keys())):
                for process in running:
                    if process.job.run.name in lost:
                        process.beat()
                waiting = deque(job for job in waiting if job.run.name not in lost)
            while waiting and not told.to_stop and (share := devices.take(waiting[0].devices)):
                job = waiting.popleft()
                try:
                    running.append(Process(job, share, ended))
                except OSError as error:  # of this run's folder
                    log.error("%s cannot be started: %s", job.run.name, error)
                    devices.give_back(share)
                    ends[job.run.name] = Exit.FAILED
                    continue
                display.started(job.run, job.max_epochs)
            told.forward(running)
            display.update([each.job.run for each in running])
            with suppress(Empty):
                process = ended.get(timeout=SECONDS_BETWEEN_LOOKS)
                running.remove(process)
                devices.give_back(process.share)
                ends[process.job.run.name] = end = process.end()
                display.ended(process.job.run)
                if end in ENDS_THE_SWEEP:
                    told.to_stop = told.to_stop or "a run"
    return ends


class Process:
    """The process of one run, in its own session: Ctrl-C reaches it only through this process.

    When it has ended, it is put into the queue `ended`.
    """

    def __init__(self, job: Job, share: Share, ended: "SimpleQueue[Process]") -> None:
        self.job = job
        self.share = share
        self.is_beaten = False
        self._is_killed = False
        self._child = start(job.run, share.environment())
        self._child.when_ended(lambda code: ended.put(self))

    def send(self, number: signal.Signals) -> None:
        """Send a signal, without effect if the process has ended."""
        self._is_killed = number == signal.SIGKILL
        self._child.send_signal(number)

    def beat(self) -> None:
        """Tell the run, once, to write a checkpoint and stop, because others have won."""
        if not self.is_beaten:
            self.is_beaten = True
            log.info("%s cannot win any more and stops", self.job.run.name)
            self.send(signal.SIGTERM)

    def end(self) -> Exit:
        """Return how the process ended; this is recorded if the process could not do so itself."""
        end = _end(self._child, self.job.run, is_ours=self._is_killed)
        if not self.is_beaten or end is not Exit.STOPPED:
            return end
        is_whole = self.job.run.is_finished  # it was told after its last step
        _record(self.job.run, {"state": "finished", "cause": ""} if is_whole else {"cause": BEATEN})
        return Exit.FINISHED


class _Race:
    """Looks from time to time which runs `beaten` names.

    A look takes a third of a second for a search of some hours. One is taken whenever a run has
    ended, and otherwise only so often that it costs 3 % of a core.
    """

    def __init__(self, beaten: Callable[[], Collection[str]]) -> None:
        self._beaten = beaten
        self._next_look = time.monotonic()
        self._ended = 0

    def lost(self, ended: Collection[str]) -> Collection[str]:
        """Return what a look shows; nothing between looks."""
        began = time.monotonic()
        if began < self._next_look and len(ended) == self._ended:
            return ()
        try:
            found = self._beaten()
        except (OSError, ValueError) as error:  # the trainings do not depend on it
            log.warning("cannot see which runs have lost: %s", error)
            found = ()
        self._ended = len(ended)
        self._next_look = began + max(1.0, 33 * (time.monotonic() - began))
        return found


def start(
    run: RunDir,
    environment: Mapping[str, str] | None = None,
    *,
    log_file: Path | None = None,
    arguments: Sequence[str] = (),
) -> Child | ForkedChild:
    """Start the run of a folder in its own process; its output goes to the folder's train.log.

    If the run has no checkpoint to resume from, its earlier files are removed.
    """
    if log_file is None:  # this is rank 0, which owns the folder
        # The status of an earlier process must not be taken for that of this one.
        stale = [run.status]
        if run.whole_checkpoint() is None:
            stale += [run.metrics, run.progress, run.log]
        for file in stale:
            file.unlink(missing_ok=True)
    variables = {key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"}
    variables["PYTHONPATH"] = python_path()
    # A fork can use a GPU that its parent has not touched; this has not been tried on one yet.
    fork = log_file is None and (
        not gpus_here() or OmegaConf.load(run.config).trainer.accelerator == "cpu"
    )
    return start_child(
        [*RUN, str(run.path), *arguments],
        log=log_file or run.log,
        environment={**variables, **(environment or {})},
        fork=fork,
    )


def run_process(run: RunDir) -> Exit:
    """Start the run of a folder as a process and wait for its end, in the worker of any launcher.

    If the worker is told to end, as by submitit before its time limit, it first lets the run stop:
    another worker will resume the run, and the two must not overlap.
    """
    process = start(run)
    try:
        process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        _end(process, run)
        return Exit.INTERRUPTED
    except BaseException:
        process.terminate()
        _end(process, run)
        raise
    return _end(process, run)


def run_other_rank(planned: PlannedRun, run: RunDir, rank: int) -> Exit:
    """Do the part of a rank that torchrun or srun started beside rank 0, which owns the folder.

    It writes its own configuration, because rank 0 may not have written one yet, or may be on
    another machine. Raises Interrupted if this process was told to stop.
    """
    file = run.config.with_name(f"rank-{rank}.yaml")
    file.parent.mkdir(parents=True, exist_ok=True)
    write_config(planned.told, file)
    process = start(run, log_file=run.rank_log(rank), arguments=["--config", str(file)])
    with _told_to_stop() as told:
        while process.poll() is None:
            if told.to_stop:
                process.send_signal(signal.SIGKILL if told.to_kill else told.word)
            time.sleep(SECONDS_BETWEEN_LOOKS)
    return Exit(process.returncode) if process.returncode in set(Exit) else Exit.FAILED


def _end(process: Child | ForkedChild, run: RunDir, *, is_ours: bool = False) -> Exit:
    """Return how the process of a run ended; `is_ours` if this process killed it."""
    code = process.end()
    status = status_of(run)
    if code and status.get("state") in (None, "running"):
        who = "rank 0" if _has_ranks(run) else "the process"
        how = "the second Ctrl-C" if is_ours else what_ended(code)
        end = {"state": "failed", "cause": "killed", "error": f"{who} was ended by {how}"}
        if -code in SIGNALS_TO_STOP:  # before it had installed its handlers
            stopped = Stopped.by(signal.Signals(-code).name)
            code, end = Exit.STOPPED, {"state": "stopped", "cause": str(stopped)}
        _record(run, end)
    return Exit(code) if code in set(Exit) else Exit.FAILED


def _record(run: RunDir, end: Mapping[str, str]) -> None:
    """Add how a run ended to its status."""
    try:
        run.write_status({**status_of(run), **end, "updated": time.time()})
    except OSError as error:  # the other runs continue
        log.error("%s: its end cannot be recorded: %s", run.name, error)


def _has_ranks(run: RunDir) -> bool:
    trainer = OmegaConf.load(run.config).trainer
    return trainer.devices * trainer.num_nodes > 1


@dataclass
class _Told:
    """Whether the launch was told to stop, and what was passed on to the runs."""

    to_stop: str = ""
    to_kill: bool = False
    _forwarded: bool = False

    @property
    def word(self) -> signal.Signals:
        """The signal to send to the runs: the one that was received, or else SIGTERM."""
        is_signal = self.to_stop.startswith("SIG")
        return signal.Signals[self.to_stop] if is_signal else signal.SIGTERM

    def forward(self, running: Sequence[Process]) -> None:
        """Tell the runs to stop, or kill them."""
        if self.to_kill:
            for process in running:
                process.send(signal.SIGKILL)
        elif self.to_stop and not self._forwarded:
            self._forwarded = True
            if running:
                log.info("stopping: %d runs write a checkpoint (Ctrl-C kills them)", len(running))
            for process in running:
                if not process.is_beaten:  # else it has been told, and is about to end
                    process.send(self.word)


@contextmanager
def _told_to_stop() -> Iterator[_Told]:
    """Record signals during the block; raise Interrupted at its end if there was one."""
    told = _Told()

    def note(number: int, frame: FrameType | None) -> None:
        if told.to_stop and number == signal.SIGINT:
            told.to_kill = True
        told.to_stop = told.to_stop or signal.Signals(number).name

    with handling(note):
        yield told
    if told.to_stop.startswith("SIG"):
        raise Interrupted(Exit.INTERRUPTED if told.to_stop == "SIGINT" else Exit.STOPPED)


class Interrupted(Exception):
    """The launch was told to stop, and all of its runs have stopped."""

    def __init__(self, exit: Exit) -> None:
        super().__init__(exit.name.lower())
        self.exit = exit
