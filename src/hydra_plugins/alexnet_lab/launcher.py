from collections.abc import Sequence
from functools import partial
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class LocalLauncher(Launcher):
    """Run each job as a process of its own: no state leaks, and a crash costs only one run.

    The process receives the run folder, which contains the job's resolved configuration. It
    composes nothing, so editing a configuration file in the meantime has no effect. As many jobs
    run at once as there are devices: with GPUs each run gets as many as it asks for; on a CPU
    `parallel` runs share the cores (auto: one at a time).

    The first Ctrl-C, or SIGTERM, SIGHUP or SIGUSR, makes the current runs write a checkpoint and
    stop; the second Ctrl-C kills them. No process outlives this one.
    """

    def __init__(self, parallel: int | str = "auto") -> None:
        self.parallel = parallel

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Called by Hydra. Raises ConfigError if `parallel` is not a number of runs."""
        from alexnet.sweep.devices import check_parallel  # Hydra imports its plugins in any case

        check_parallel(self.parallel)
        self.config = config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run the jobs, started in their order; `return_value` is the Exit of a job's process.

        The sweeper has prepared the folder of each job, which the job's last override names.
        """
        from alexnet.folders.sweep import SweepDir
        from alexnet.run.ranks import started_from_outside
        from alexnet.sweep.devices import Devices
        from alexnet.sweep.processes import Job, run_jobs
        from alexnet.sweep.race import beaten_runs

        sweep = SweepDir(Path(self.config.hydra.sweep.dir))
        names = [overrides[-1].partition("=")[2] for overrides in job_overrides]
        jobs = [Job.of(sweep.run(name)) for name in names]
        devices = Devices.of_this_machine(self.parallel)
        # Under torchrun or srun, the other ranks of a run cannot be told that it has lost.
        beaten = tuple if started_from_outside() else partial(beaten_runs, sweep)
        ends = run_jobs(jobs, devices, beaten=beaten)
        return [
            JobReturn(overrides=overrides, status=JobStatus.COMPLETED, _return_value=ends[name])
            for overrides, name in zip(job_overrides, names, strict=True)
            if name in ends
        ]
