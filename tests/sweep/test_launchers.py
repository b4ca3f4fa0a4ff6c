"""Launchers that are not ours start runs as ours does. Those that are not installed are skipped."""

import importlib
import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from alexnet.cli import _training as script
from alexnet.folders.ending import Exit
from alexnet.folders.files import FolderInUse, hold
from alexnet.folders.run import RunDir
from alexnet.paths import CONF
from alexnet.run import __main__ as process
from tests.conftest import Train, the_sweep

TINY = (
    "data=synthetic",
    "data.num_images=32",
    "data.batch_size=8",
    "trainer.threads=1",
    "trainer.max_epochs=1",
)

# name: the plugin, its dataclass of the configuration
PLUGINS = {
    "joblib": ("hydra_plugins.hydra_joblib_launcher", "config.JobLibLauncherConf"),
    "submitit_local": ("hydra_plugins.hydra_submitit_launcher", "config.LocalQueueConf"),
    "submitit_slurm": ("hydra_plugins.hydra_submitit_launcher", "config.SlurmQueueConf"),
    "ray": ("hydra_plugins.hydra_ray_launcher", "_config.RayLauncherConf"),
}

# A cluster of one machine: what is submitted starts at once, and is running until it has ended.
SLURM = {
    "sbatch": """#!{python}
import os, re, subprocess, sys
number = os.getpid()
array = re.search(r"--array=(\\d+)-(\\d+)", open(sys.argv[1]).read())
for task in range(int(array[1]), int(array[2]) + 1) if array else [None]:
    job = {{"JOB_ID": number, "NTASKS": 1, "NTASKS_PER_NODE": 1, "JOB_NUM_NODES": 1, "NNODES": 1,
           "NODEID": 0, "PROCID": 0, "LOCALID": 0, "JOB_NODELIST": "node1", "NODELIST": "node1",
           "JOB_NAME": "train"}}
    if task is not None:
        job |= {{"ARRAY_JOB_ID": number, "ARRAY_TASK_ID": task}}
    environment = os.environ | {{f"SLURM_{{key}}": str(value) for key, value in job.items()}}
    nowhere = {{"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}}
    subprocess.Popen(["bash", sys.argv[1]], env=environment, **nowhere)
print(f"Submitted batch job {{number}}")
""",
    "srun": """#!/bin/bash
while [[ $1 == --* ]]; do
    [[ $1 == --output ]] && shift
    shift
done
exec "$@" > "$0.$SLURM_JOB_ID.$SLURM_ARRAY_TASK_ID.log" 2>&1
""",
    "sacct": """#!/bin/bash
echo 'JobID|State|NodeList'
echo "${{@: -1}}_[0-1]|RUNNING|node1"
""",
}


@pytest.fixture(params=list(PLUGINS))
def launcher(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """The name of each launcher that is installed."""
    plugin, _ = PLUGINS[request.param]
    if find_spec(plugin) is None:
        pytest.skip(f"{plugin} is not installed: pip install -e '.[cluster]'")
    if request.param == "submitit_slurm":
        for name, text in SLURM.items():
            command = tmp_path / "slurm" / name
            command.parent.mkdir(exist_ok=True)
            command.write_text(text.format(python=sys.executable))
            command.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path / 'slurm'}:{os.environ['PATH']}")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # or Ray writes a token into the home folder
    # Workers find the project by themselves, wherever it is installed.
    monkeypatch.delenv("PYTHONPATH", raising=False)
    return request.param


@pytest.mark.parametrize(
    "launcher",
    # Their workers import torch anew for each of the two sweeps: one launcher stands for the others.
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name in ("joblib", "submitit_local")))
        for name in PLUGINS
    ],
    indirect=True,
)
def test_under_any_launcher_a_failure_stops_no_other_and_the_same_command_goes_on(
    launcher: str, train: Train, tmp_path: Path
):
    command = (
        *("+experiment=relu_vs_tanh", "model.nonlinearity=relu", "learning.lr=1e12,0.01", "seed=0"),
        *(*TINY, f"hydra/launcher={launcher}"),
        *(["hydra.launcher.n_jobs=2"] if launcher == "joblib" else []),
    )

    first = train(*command)

    sweep = the_sweep(tmp_path / "outputs")
    bad, good = sweep.runs()
    failed, finished = bad.read_status(), good.read_status()
    written = (good.path / "result.json").stat().st_mtime_ns
    assert first.returncode == 0, first.stdout + first.stderr
    assert (failed["state"], failed["cause"]) == ("failed", "diverged")
    assert str(bad.log) in first.stdout
    assert good.state == "finished"
    assert len({failed["pid"], finished["pid"]}) == 2
    assert good.read_provenance()["command"].startswith("python src/train.py +experiment=")
    assert (sweep.report / "verdict.json").exists()
    assert "validated against ConfigStore" not in first.stdout + first.stderr

    again = train(*command)

    assert again.returncode == 0, again.stdout + again.stderr
    assert f"finished before: {good.name}" in again.stdout
    assert f"diverged before: {bad.name}" in again.stdout
    assert (good.path / "result.json").stat().st_mtime_ns == written
    assert bad.read_status()["started"] == failed["started"]


def test_a_file_of_a_launcher_has_every_key_that_the_plugin_has(launcher: str):
    plugin, path = PLUGINS[launcher]
    module, _, name = path.partition(".")
    conf = getattr(importlib.import_module(f"{plugin}.{module}"), name)

    ours = OmegaConf.load(CONF / "hydra" / "launcher" / f"{launcher}.yaml")

    assert set(ours) == set(OmegaConf.structured(conf))
    assert "defaults" not in ours


def test_a_launcher_that_is_not_installed_is_answered_with_the_way_to_install_it(
    train: Train, tmp_path: Path
):
    done = train("hydra/launcher=joblib", "hydra.launcher._target_=hydra_plugins.absent.Launcher")

    assert done.returncode == 2
    assert "hydra/launcher=joblib needs hydra_plugins.absent" in done.stderr
    assert ".[cluster]" in done.stderr
    assert len(done.stderr.splitlines()) == 2
    assert not (tmp_path / "outputs").exists()


def test_the_process_of_a_run_asks_for_huge_pages_before_torch_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("THP_MEM_ALLOC_ENABLE", raising=False)
    monkeypatch.setattr(sys, "argv", ["alexnet.run", str(tmp_path)])
    asked = []
    monkeypatch.setattr(
        process, "attempt", lambda *_, **__: asked.append(os.environ["THP_MEM_ALLOC_ENABLE"])
    )

    process.main()

    assert asked == ["1"]


# What a worker does, here in this process: Hydra calls the undecorated function.


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunDir]:
    """A prepared run, as the worker is told of it."""
    run = RunDir(tmp_path / "seed-0")
    run.config.parent.mkdir(parents=True)
    run.config.write_text("seed: 0\n")
    hydra = OmegaConf.create({"hydra": {"runtime": {"output_dir": str(run.path)}}})
    monkeypatch.setattr(HydraConfig.instance(), "cfg", hydra)
    return run


def work(monkeypatch: pytest.MonkeyPatch, *, code: Exit) -> SimpleNamespace:
    """Call the worker's function where every run ends with this code."""
    started: list[RunDir] = []

    def run_process(run: RunDir) -> Exit:
        started.append(run)
        return code

    monkeypatch.setattr("alexnet.sweep.processes.run_process", run_process)
    edited_since = OmegaConf.create({"seed": 1})
    return SimpleNamespace(call=lambda: script._job.__wrapped__(edited_since), started=started)


def test_a_worker_starts_the_run_from_what_the_sweeper_wrote(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
):
    worker = work(monkeypatch, code=Exit.FINISHED)

    assert worker.call() is Exit.FINISHED
    assert worker.started == [run]
    assert run.config.read_text() == "seed: 0\n"


@pytest.mark.parametrize("code", [Exit.FAILED, Exit.WRONG])
def test_a_worker_tells_its_launcher_that_a_run_failed(
    run: RunDir, monkeypatch: pytest.MonkeyPatch, code: Exit
):
    with pytest.raises(RuntimeError, match=str(run.log)):
        work(monkeypatch, code=code).call()


def test_a_run_that_was_stopped_is_no_failure(run: RunDir, monkeypatch: pytest.MonkeyPatch):
    assert work(monkeypatch, code=Exit.STOPPED).call() is Exit.STOPPED


def test_a_job_that_waited_while_another_made_the_run_does_nothing(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
):
    run.write_result({"metrics": {}})
    worker = work(monkeypatch, code=Exit.FAILED)

    assert worker.call() is Exit.FINISHED
    assert worker.started == []


def test_a_job_that_finds_its_run_in_the_hands_of_another_leaves_it_alone(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
):
    worker = work(monkeypatch, code=Exit.FINISHED)

    with hold(run.path), pytest.raises(FolderInUse):
        worker.call()

    assert worker.started == []
