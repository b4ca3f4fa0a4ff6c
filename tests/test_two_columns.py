"""Columns as processes, as a user runs them: sweeps, torchrun, srun, and what fails."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning.fabric.plugins.environments.lightning import find_free_network_port

from alexnet.config.check import load
from alexnet.config.schema import ConfigError
from alexnet.folders.ending import Exit
from alexnet.folders.run import RunDir
from alexnet.paths import PROJECT
from alexnet.run.fork_server import VARIABLE
from tests.conftest import Sweep, Train, plan, run_train, the_sweep

TINY = (
    "model=alexnet", "model.channels=[8,16,16,16,8]", "model.hidden=[16,16]", "model.image_size=67",
    "model.init=he", "data=synthetic", "data.num_images=64", "data.batch_size=16",
    "trainer.max_epochs=2", "trainer.threads=1", "trainer.accelerator=cpu",  # the accelerator last
)  # fmt: skip
TORCHRUN = (sys.executable, "-m", "torch.distributed.run")


def assert_same_weights(one: RunDir, other: RunDir) -> None:
    """In float64 but for the order of sums."""
    mine, theirs = (
        torch.load(run.last_checkpoint, weights_only=True)["state_dict"] for run in (one, other)
    )
    for name, weight in mine.items():
        largest = weight.abs().max()
        assert (weight - theirs[name]).abs().max() <= 1e-10 * largest, name


def processes_of(run: RunDir) -> list[str]:
    """Those that still run with the folder on their command line."""
    listed = subprocess.run(["pgrep", "-f", str(run.path)], capture_output=True, text=True)
    return listed.stdout.split()


def test_in_a_sweep_two_columns_before_and_after_one_process_give_its_numbers(
    train: Train, tmp_path: Path
):
    done = train(*TINY, "trainer.precision=64-true", "-m", "trainer=cpu,two_columns,auto")

    sweep = the_sweep(tmp_path / "outputs")
    before, columns, after = sweep.runs()
    assert done.returncode == 0, done.stdout + done.stderr
    assert [file.name for file in sweep.path.glob("*/status.json")] == ["status.json"] * 3
    for run in (before, after):
        assert_same_weights(columns, run)
        for name, value in run.read_result()["metrics"].items():
            assert columns.read_result()["metrics"][name] == pytest.approx(value, rel=1e-5), name
    exchange = columns.read_result()["exchange"]
    assert exchange["bytes_sent_per_column"] == exchange["bytes_sent_in_theory"] > 0
    assert columns.log.read_text().count("Part of each layer in a column") == 1
    assert columns.rank_log(1).exists()
    assert not before.rank_log(1).exists()


def faults_of(named: str) -> dict[str, str]:
    """For a command that has a fork server of its own, with these faults (see tests/faults)."""
    return {"FAULTS": named, "PYTHONPATH": f"{PROJECT}/tests/faults", VARIABLE: ""}


def run_with_faults(outputs: Path, *faults: str) -> list[RunDir]:
    """A run for each fault, and a sound one; two at a time."""
    named = [
        f"seed-{seed}:{each}" for seed, fault in enumerate(faults) for each in fault.split("+")
    ]
    seeds = ",".join(map(str, range(len(faults) + 1)))
    done = run_train(
        outputs, *TINY, "trainer=two_columns", f"seed={seeds}", "hydra.launcher.parallel=2",
        environment=faults_of(",".join(named)),
    )  # fmt: skip

    *failed, sound = the_sweep(outputs).runs()
    assert done.returncode == Exit.FAILED
    assert sound.is_finished
    for run in failed:
        status = run.read_status()
        assert status["state"] == "failed"
        first = min(file.stat().st_mtime for file in run.path.glob("fault-*"))
        assert status["updated"] - first < 30
        assert status["updated"] - status["started"] < 60  # with the start, two at a time
        assert not processes_of(run)
    return failed


def test_a_rank_that_fails_or_is_killed_ends_its_run_with_a_cause_and_no_other(tmp_path: Path):
    raises, killed, killed_0 = run_with_faults(tmp_path, "1:raise", "1:kill", "0:kill")

    assert raises.read_status()["error"] == "rank 1: ArithmeticError: made to fail on rank 1"
    by_9 = "was ended by signal 9 (out of memory, or killed by a user)"
    assert killed.read_status()["error"] == f"rank 1 {by_9}: see rank-1.log"
    assert killed_0.read_status()["error"] == f"rank 0 {by_9}"
    assert killed.read_status()["cause"] == killed_0.read_status()["cause"] == "killed"


@pytest.mark.slow
def test_an_error_on_rank_0_or_on_both_ends_the_run_with_it(tmp_path: Path):
    first, both = run_with_faults(tmp_path, "0:raise", "0:raise+1:raise")

    assert first.read_status()["error"] == "ArithmeticError: made to fail on rank 0"
    assert "ArithmeticError: made to fail on rank" in both.read_status()["error"]


@pytest.mark.slow
def test_the_arms_of_two_columns_are_rehearsed_and_reported(train: Train, tmp_path: Path):
    done = train(
        "+experiment=two_columns", "+debug=smoke", "data=synthetic", "data.num_images=64",
        "model.hidden=[64,64]", "model.image_size=67",
        "trainer.accelerator=cpu", "trainer.threads=1",
    )  # fmt: skip

    sweep = the_sweep(tmp_path / "outputs")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [run.name for run in sweep.runs()] == [
        "arm-two-columns_seed-0",
        "arm-one-device_seed-0",
        "arm-control_seed-0",
    ]
    report = (sweep.report / "README.md").read_text()
    assert "images/s" in report
    assert "memory" in report


# Started from outside.


def assert_all_succeed(processes: list[Sweep]) -> None:
    for process in processes:
        code, output = process.end()
        assert code == 0, output


def test_torchrun_on_two_nodes_makes_one_run(tmp_path: Path):
    port = find_free_network_port()
    nodes = [
        Sweep(
            tmp_path, *TINY, "trainer=two_columns", "trainer.devices=1", "trainer.num_nodes=2",
            by=(
                *TORCHRUN, "--nnodes=2", f"--node-rank={node}", "--nproc-per-node=1",
                "--master-addr=127.0.0.1", f"--master-port={port}",
            ),
        )
        for node in range(2)
    ]  # fmt: skip

    assert_all_succeed(nodes)

    [run] = the_sweep(tmp_path).runs()
    assert run.read_result()["exchange"]["columns"] == 2
    assert run.read_status()["state"] == "finished"


@pytest.mark.slow
def test_srun_makes_one_run_of_its_tasks(tmp_path: Path):
    port = str(find_free_network_port())
    tasks = [
        Sweep(
            tmp_path, *TINY, "trainer=two_columns",
            environment={
                **{"SLURM_JOB_ID": "1", "SLURM_STEP_ID": "0", "SLURM_JOB_NAME": "x"},
                **{"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_NNODES": "1"},
                **{"SLURM_PROCID": str(task), "SLURM_LOCALID": str(task), "SLURM_NODEID": "0"},
                **{"SLURM_NODELIST": "127.0.0.1", "MASTER_PORT": port},
            },
        )
        for task in range(2)
    ]  # fmt: skip

    assert_all_succeed(tasks)

    [run] = the_sweep(tmp_path).runs()
    assert run.read_result()["exchange"]["columns"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["seed=0,1"], "these are 2 runs"),
        (["fresh=true"], "set outputs=NEW_FOLDER"),
        (["trainer.devices=4"], "has started 2 processes"),
        (["resume=somewhere"], "leave them out"),
    ],
)
def test_under_torchrun_a_sweep_is_refused(
    train_here: Train, tmp_path: Path, arguments: list[str], message: str
):
    environment = {"TORCHELASTIC_RUN_ID": "none", "RANK": "0", "WORLD_SIZE": "2"}

    done = train_here(*TINY, "trainer=two_columns", *arguments, environment=environment)

    assert done.returncode == Exit.WRONG
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_launcher_that_is_not_ours_runs_two_columns(train: Train, tmp_path: Path):
    done = train(*TINY, "trainer=two_columns", "seed=0,1", "hydra/launcher=joblib")

    assert done.returncode == 0, done.stdout + done.stderr
    assert all(run.is_finished for run in the_sweep(tmp_path / "outputs").runs())


@pytest.mark.slow
def test_four_processes_are_two_columns_of_two_replicas(train: Train, tmp_path: Path):
    wide = "trainer.precision=64-true"
    train(*TINY, wide, "seed=1", "trainer=cpu")
    done = train(*TINY, wide, "seed=1", "trainer=two_columns", "trainer.devices=4", "fresh=true")

    one, four = sorted((tmp_path / "outputs" / "train").glob("*/seed-1"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert_same_weights(RunDir(four), RunDir(one))
    assert RunDir(four).read_progress()[-1]["images"] == RunDir(one).read_progress()[-1]["images"]
    assert RunDir(four).read_result()["exchange"]["replicas"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("devices", [2, 4])
def test_a_run_that_was_stopped_goes_on_to_the_same_weights(tmp_path: Path, devices: int):
    command = (
        *TINY, "trainer=two_columns", f"trainer.devices={devices}", "trainer.precision=64-true",
        "trainer.max_epochs=6", "data.num_images=250",
    )  # fmt: skip
    assert run_train(tmp_path / "whole", *command).returncode == 0
    sweep = Sweep(tmp_path / "stopped", *command)
    run = sweep.wait_for(lambda run: run.last_checkpoint.exists())

    sweep.process.send_signal(signal.SIGTERM)
    code, _ = sweep.end()

    assert code == Exit.STOPPED
    assert run.read_status()["state"] == "stopped"
    assert not processes_of(run)
    done = run_train(tmp_path / "stopped", *command)
    [whole] = the_sweep(tmp_path / "whole").runs()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "resuming from" in run.log.read_text()
    assert_same_weights(run, whole)
    rows = [[row["images"], row["train/error"]] for row in whole.read_progress()]
    assert [[row["images"], row["train/error"]] for row in run.read_progress()] == rows
    assert run.read_result()["exchange"] == whole.read_result()["exchange"]


@pytest.mark.slow
def test_resume_goes_on_in_one_process_and_in_two_again(tmp_path: Path):
    assert run_train(tmp_path, *TINY, "trainer=two_columns", "trainer.max_epochs=1").returncode == 0
    [run] = the_sweep(tmp_path).runs()

    for trainer, epochs, strategy in (("auto", 2, "auto"), ("two_columns", 3, "column_parallel")):
        arguments = (f"resume={run.path}", f"trainer={trainer}", f"trainer.max_epochs={epochs}")
        done = run_train(tmp_path, *arguments)

        assert done.returncode == 0, done.stderr
        assert load(run.config).trainer.strategy == strategy
        assert ("exchange" in run.read_result()) == (trainer == "two_columns")
        assert run.read_metrics()[-1]["epoch"] == epochs


@pytest.mark.two_gpu
def test_two_gpus_run_two_columns_and_a_killed_rank_ends_the_run(tmp_path: Path):
    on_gpus = ("trainer=two_columns", "trainer.accelerator=gpu", "seed=0,1")
    faults = faults_of("seed-0:1:kill")

    done = run_train(tmp_path, *TINY[:-1], *on_gpus, environment=faults)

    killed, sound = the_sweep(tmp_path).runs()
    assert done.returncode == Exit.FAILED
    assert killed.read_status()["cause"] == "killed"
    exchange = sound.read_result()["exchange"]
    assert exchange["bytes_sent_per_column"] == exchange["bytes_sent_in_theory"] > 0


# What cannot be.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model.columns=3"], "model.columns=3 does not divide every layer"),
        (["trainer.devices=1"], "1 processes: choose a multiple of model.columns=2"),
        (["trainer.devices=3"], "3 processes: choose a multiple of model.columns=2"),
        (["model.columns=4"], "2 processes: choose a multiple of model.columns=4"),
        (["model.columns=1"], "cannot be divided: choose model.columns=2"),
        (["trainer.devices=64"], "too many processes for this machine"),
        (["trainer.precision=16-mixed"], "choose bf16-mixed"),
    ],
)
def test_what_cannot_be_divided_is_refused_before_anything_starts(
    arguments: list[str], message: str
):
    with pytest.raises(ConfigError) as error:
        plan(*TINY, "trainer=two_columns", *arguments)

    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_a_network_without_columns_is_refused(train_here: Train, tmp_path: Path):
    done = train_here("trainer=two_columns", "data=synthetic")

    assert done.returncode == Exit.WRONG
    assert "needs a network with columns, but CifarNet has none: choose" in done.stderr
    assert not (tmp_path / "outputs").exists()


def test_what_the_arms_set_is_not_for_the_command_line():
    with pytest.raises(ConfigError, match=r"trainer\.devices is not for the command line here"):
        plan("+experiment=two_columns", "trainer.devices=4")


def test_one_arm_can_be_run_alone():
    [run] = plan("+experiment=two_columns", "+arm=choice(control)", "seed=0")

    assert run.name == "arm-control_seed-0"
    assert run.config.model.columns == 1
