import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from alexnet.config import PROJECT
from alexnet.rundir import Exit, RunDir

log = logging.getLogger("alexnet.sweep")

# The jobs behind one that cannot be built would fare no better, and who stops one stops all.
ENDS_THE_SWEEP = (Exit.WRONG, Exit.STOPPED, Exit.INTERRUPTED)

# Our Hydra's wish for tracebacks; and what makes Lightning believe that srun has started a process
# for each device, when a job of Slurm starts one that starts the others.
NOT_FOR_A_RUN = ("HYDRA_FULL_ERROR", "SLURM_NTASKS", "SLURM_NTASKS_PER_NODE")

# conf/hydra/launcher/joblib.yaml and its like are whole files beside the plugins' own. That Hydra
# checks them against the plugins' dataclasses is welcome; that it will not, some day, is no news.
warnings.filterwarnings(
    "ignore", r"\s*'hydra/launcher/\w+' is validated against ConfigStore schema"
)


class LocalLauncher(Launcher):
    """Runs each job as a process of its own: nothing leaks, and a dead run costs one run.

    The process is given the folder of the run, where the job's resolved configuration lies; it
    composes nothing, so that a configuration file edited in the meantime does not matter.
    """

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Called by Hydra."""
        self.config = config
        self.loader: ConfigLoader = hydra_context.config_loader

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """One process after the other; `return_value` is its exit status."""
        returns = []
        for number, overrides in enumerate(job_overrides, start=initial_job_idx):
            composed = self.loader.load_sweep_config(self.config, list(overrides))
            run = RunDir(Path(composed.hydra.sweep.dir) / composed.hydra.sweep.subdir)
            log.info("[%d/%d] %s", number + 1, len(job_overrides), run.name)
            code = run_process(run)
            returns.append(
                JobReturn(overrides=overrides, status=JobStatus.COMPLETED, _return_value=code)
            )
            if code in ENDS_THE_SWEEP:
                break
        return returns


def prepare(composed: DictConfig, run: RunDir) -> None:
    """Write .hydra/ with everything resolved, from which the run can be started anywhere."""
    folder = run.config.parent
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(OmegaConf.create(list(composed.hydra.overrides.task)), folder / "overrides.yaml")
    OmegaConf.save(composed.hydra, folder / "hydra.yaml")
    with open_dict(composed):
        del composed["hydra"]
    OmegaConf.save(composed, run.config, resolve=True)


def run_process(run: RunDir) -> Exit:
    """Start the process of a prepared run, wait, and write down an end that it could not.

    Also in the workers of other launchers. What an unfinished run left is cleared away.
    """
    for file in (run.metrics, run.progress, run.log):
        file.unlink(missing_ok=True)
    environment = {key: value for key, value in os.environ.items() if key not in NOT_FOR_A_RUN}
    command = [sys.executable, str(PROJECT / "src" / "train.py"), "--run", str(run.path)]
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)
    try:
        code = process.wait()
    except KeyboardInterrupt:
        # The terminal has sent Ctrl-C to the child as well: let it write down that it stopped.
        process.wait()
        code = Exit.INTERRUPTED
    except BaseException:
        # A worker told to end, as submitit's is before its time is up: another will go on with
        # the run, and must not meet it.
        process.terminate()
        process.wait()
        raise
    status: dict[str, Any] = run.read_status()
    if code and status.get("state") in (None, "running"):
        how = f"signal {-code}" if code < 0 else f"exit status {code}"
        run.write_status(
            {**status, "state": "failed", "cause": "killed", "error": f"the process ended by {how}"}
        )
    return Exit(code) if code in list(Exit) else Exit.FAILED
