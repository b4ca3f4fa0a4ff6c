"""Commands are refused before anything starts if their runs could not be trained."""

from pathlib import Path

import pytest

from alexnet.config.schema import ConfigError
from alexnet.sweep import preflight
from alexnet.sweep.preflight import refuse_missing_packages, refuse_what_is_not_here
from tests.conftest import Train, plan


def refuse(*arguments: str) -> None:
    configs = [run.config for run in plan(*arguments)]
    refuse_missing_packages(configs)
    refuse_what_is_not_here(configs)


@pytest.fixture(params=[0, 1], ids=["no GPU", "a GPU"])
def gpus(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(preflight, "gpus_here", lambda: ["0"] * request.param)
    return request.param


def test_several_machines_without_torchrun_are_refused(gpus: int):
    with pytest.raises(ConfigError, match="num_nodes=2 needs torchrun or srun"):
        refuse("trainer.num_nodes=2")


def test_sixteen_bits_are_refused_on_a_cpu_which_would_train_in_others(gpus: int):
    message = "16-mixed needs a GPU: a CPU would train in bfloat16 instead"

    with pytest.raises(ConfigError, match=message):
        refuse("trainer.precision=16-mixed", "trainer.accelerator=cpu")
    if gpus:
        refuse("trainer.precision=16-mixed", "trainer.accelerator=auto")
    else:
        with pytest.raises(ConfigError, match=message):
            refuse("trainer.precision=16-mixed", "trainer.accelerator=auto")


def test_compiling_without_a_compiler_is_refused(
    gpus: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    name = "gcc" if gpus else "g++"
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    compiled = ("trainer.compile=true", "trainer.accelerator=auto")
    with pytest.raises(ConfigError) as error:
        refuse(*compiled)
    assert f"trainer.compile=true needs the compiler {name}, which is not" in str(error.value)

    (tmp_path / name).touch(mode=0o755)

    refuse(*compiled)


def test_a_logger_whose_package_is_missing_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("alexnet.run.loggers.find_spec", lambda name: None)

    with pytest.raises(ConfigError, match="WandB needs the package wandb: pip install"):
        refuse("logger=wandb")


def test_variables_for_other_launchers_are_refused_with_the_way_to_set_them(
    train_here: Train, tmp_path: Path
):
    done = train_here("+hydra.job.env_set.OMP_NUM_THREADS=1")

    assert done.returncode == 2
    assert "hydra.job.env_set is for other launchers: set variables before" in done.stderr
    assert not (tmp_path / "outputs").exists()


def test_what_cannot_be_had_is_refused_by_the_command(train_here: Train, tmp_path: Path):
    done = train_here("trainer.num_nodes=2")

    assert done.returncode == 2
    assert "needs torchrun or srun" in done.stderr
    assert not (tmp_path / "outputs").exists()
