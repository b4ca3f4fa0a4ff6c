import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.initialize import initialize_config_dir
from hydra.plugins.launcher import Launcher
from hydra.types import RunMode
from omegaconf import OmegaConf

from alexnet.folders.run import RunDir
from alexnet.folders.sweep import SweepDir
from alexnet.paths import CONF, PROJECT, python_path
from alexnet.run.fork_server import VARIABLE, ForkServer
from alexnet.sweep import ExperimentSweep
from alexnet.sweep.plan import PlannedRun

Train = Callable[..., subprocess.CompletedProcess[str]]


def plan(*arguments: str) -> list[PlannedRun]:
    """The runs that `python src/train.py *arguments` would make."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        config = hydra.compose_config("config", list(arguments), run_mode=RunMode.MULTIRUN)
        node = config.hydra.sweeper
        sweep = ExperimentSweep(
            config, hydra.config_loader, Launcher, params=node.params, max_runs=node.max_runs,
            max_seeds=node.max_seeds,
        )  # fmt: skip
        return sweep.plan_runs(OmegaConf.to_container(config.hydra.overrides.task))


def the_sweep(outputs: Path) -> SweepDir:
    """The only sweep in a folder of outputs."""
    [plan_file] = outputs.glob("*/*/sweep.json")
    return SweepDir(plan_file.parent)


@cache
def fork_server(own: str) -> ForkServer:
    """The server from which the runs of all tests are forked, so that torch is imported once.

    There is one for each PYTHONPATH that commands are given.
    """
    paths = dict.fromkeys([*python_path().split(os.pathsep), *own.split(os.pathsep)])
    return ForkServer({**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))})


def as_a_user(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a command; with its own ALEXNET_LAB_FORK_SERVER if it names one."""
    variables = {**os.environ, **(environment or {})}
    if VARIABLE not in variables:
        variables[VARIABLE] = fork_server(variables.get("PYTHONPATH", "")).address
    return variables


def run_python(
    *words: object, environment: Mapping[str, str] | None = None, **settings: Any
) -> subprocess.CompletedProcess[str]:
    """`python *words` in the project, as a user would call it."""
    return subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=PROJECT, capture_output=True, text=True, timeout=240, check=False,
        env=as_a_user(environment), **settings,
    )  # fmt: skip


def run_folder(run: RunDir, *, by: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """The process of a run, as a launcher starts it; `by` is a command in front of it."""
    return subprocess.run(
        [*by, sys.executable, "-P", "-m", "alexnet.run", str(run.path)],
        cwd=PROJECT, capture_output=True, text=True, timeout=240, check=False,
        stdin=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": python_path()},
    )  # fmt: skip


def run_train(
    outputs: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """`python src/train.py *arguments`."""
    return run_python("src/train.py", *arguments, f"outputs={outputs}", environment=environment)


@pytest.fixture
def train(tmp_path: Path) -> Train:
    """The same, into tmp_path/outputs."""
    return partial(run_train, tmp_path / "outputs")


@pytest.fixture
def train_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Train]:
    """The same in this process, for commands that are refused before a run starts.

    A wrong command needs no torch; a process for each would spend its time on Hydra's imports.
    """
    from alexnet.cli.train import main

    monkeypatch.setattr(sys, "argv", ["src/train.py"])
    root = logging.getLogger()
    handlers, level = root.handlers, root.level

    def call(
        *arguments: str,
        outputs: Path = tmp_path / "outputs",
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        capsys.readouterr()
        root.handlers = []  # so that the command installs its own, on standard output
        with monkeypatch.context() as during:
            during.setenv("HYDRA_FULL_ERROR", "")  # which the command sets: removed at the end
            during.delenv("HYDRA_FULL_ERROR")
            for name, value in (environment or {}).items():
                during.setenv(name, value)
            try:
                code = main([*arguments, f"outputs={outputs}"])
            except SystemExit as error:
                code = error.code
        return subprocess.CompletedProcess(arguments, code, *capsys.readouterr())

    yield call
    root.handlers, root.level = handlers, level


class Sweep:
    """`python src/train.py` under way."""

    def __init__(
        self, outputs: Path, *arguments: str, by: Sequence[str] = (sys.executable,), **settings: Any
    ) -> None:
        self.outputs = outputs
        environment = settings.pop("environment", {})
        nowhere = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        self.process = subprocess.Popen(
            [*by, "src/train.py", *arguments, f"outputs={outputs}"],
            cwd=PROJECT, env=as_a_user(environment), **nowhere | settings,
        )  # fmt: skip

    def wait_for(self, is_so: Callable[[RunDir], bool], seconds: float = 120) -> RunDir:
        """The first run, as soon as something is true of it."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for plan in self.outputs.glob("*/*/sweep.json"):
                for run in SweepDir(plan.parent).runs():
                    if is_so(run):
                        return run
            assert self.process.poll() is None, self.process.communicate()[0]
            time.sleep(0.002)
        raise TimeoutError(self.process.communicate()[0])

    def end(self) -> tuple[int, str]:
        """Exit status, and what was printed."""
        output = self.process.communicate(timeout=120)[0]
        return self.process.returncode, output


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs GPUs that are not there."""
    for marker, needed in (("gpu", 1), ("two_gpu", 2)):
        if item.get_closest_marker(marker):
            import torch

            if (found := torch.cuda.device_count()) < needed:
                pytest.skip(f"needs {needed} CUDA device(s), found {found}")


# What one run would leak into the next in the same process.
LEAKS = (
    "HYDRA_",
    "PL_",
    "WANDB_",
    "MASTER_",
    "CUDA_VISIBLE_",
    "LOCAL_RANK",
    "NODE_RANK",
    "RANK",
    "WORLD_SIZE",
)


@pytest.fixture(autouse=True)
def _environment_is_left_as_it_was() -> Iterator[None]:
    def relevant() -> dict[str, str]:
        return {key: value for key, value in os.environ.items() if key.startswith(LEAKS)}

    before = relevant()
    yield
    assert relevant() == before
