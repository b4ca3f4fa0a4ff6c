from collections.abc import Sequence
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class LocalLauncher(Launcher):
    """Runs each job as a process of its own: nothing leaks, and a dead run costs one run.

    The process is given the folder of the run, where the job's resolved configuration lies; it
    composes nothing, so that a configuration file edited in the meantime does not matter. As many
    run at once as there are devices: with GPUs each run gets as many as it asks for, on a CPU
    `parallel` runs share the cores (auto: one at a time).

    The first Ctrl-C, or a SIGTERM, SIGHUP or SIGUSR, lets the running runs write a checkpoint and
    stop; the second Ctrl-C kills them. No process outlives this one.
    """

    def __init__(self, parallel: int | str = "auto") -> None:
        self.parallel = parallel

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Called by Hydra. Raises ConfigError if `parallel` is no number of runs."""
        from alexnet.sweep.devices import check_parallel  # Hydra imports its plugins in any case

        check_parallel(self.parallel)
        self.config = config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """All jobs, in their order; `return_value` is the Exit of a job's process.

        The sweeper has prepared the folder of each, which its last override names.
        """
        from alexnet.folders.run import RunDir
        from alexnet.sweep.devices import Devices
        from alexnet.sweep.processes import Job, run_jobs

        folder = Path(self.config.hydra.sweep.dir)
        names = [overrides[-1].partition("=")[2] for overrides in job_overrides]
        jobs = [Job.of(RunDir(folder / name)) for name in names]
        ends = run_jobs(jobs, Devices.of_this_machine(self.parallel))
        return [
            JobReturn(overrides=overrides, status=JobStatus.COMPLETED, _return_value=ends[name])
            for overrides, name in zip(job_overrides, names, strict=True)
            if name in ends
        ]
