import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.initialize import initialize_config_dir
from hydra.plugins.launcher import Launcher
from hydra.types import RunMode
from omegaconf import OmegaConf

from alexnet.folders.sweep import SweepDir
from alexnet.paths import CONF, PROJECT
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


def run_train(
    outputs: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """`python src/train.py *arguments` as a user would call it, one thread."""
    command = [sys.executable, "src/train.py", *arguments, f"outputs={outputs}"]
    return subprocess.run(
        command, cwd=PROJECT, capture_output=True, text=True, timeout=240, check=False,
        env={**os.environ, **(environment or {})},
    )  # fmt: skip


@pytest.fixture
def train(tmp_path: Path) -> Train:
    """The same, into tmp_path/outputs."""
    return partial(run_train, tmp_path / "outputs")


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
