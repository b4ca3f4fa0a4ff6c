"""Runs that are killed and resumed end with exactly the results of an undisturbed run."""

import csv
import itertools
import json
import os
import pty
import random
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from alexnet.cli import runs
from alexnet.folders.ending import Exit
from alexnet.folders.run import RunDir
from alexnet.paths import PROJECT
from alexnet.run.fork_server import VARIABLE
from tests.conftest import Sweep, run_folder, run_train, the_sweep

# Dropout and the plateau rule, so that there is something to forget; a checkpoint at every batch.
COMMAND = (
    "data=synthetic", "data.num_images=240", "data.batch_size=8", "data.augmentation=pad4",
    "model.dropout=0.5", "model.normalization=none", "model.image_size=24", "learning=paper",
    "learning.patience=1",
    "trainer.max_epochs=4", "trainer.threads=1", "checkpoint.minutes=1e-9",
)  # fmt: skip
TIMES = {"seconds", "images_per_second", "peak_memory_megabytes"}


def rows_without_times(file: Path) -> list[dict[str, str]]:
    with file.open() as lines:
        return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(lines)]


def result_without_times(run: RunDir) -> dict[str, object]:
    result = run.read_result()
    return {key: value for key, value in result.items() if key not in TIMES}


def assert_equal_runs(one: RunDir, other: RunDir) -> None:
    assert result_without_times(one) == result_without_times(other)
    assert rows_without_times(one.metrics) == rows_without_times(other.metrics)
    assert rows_without_times(one.progress) == rows_without_times(other.progress)
    for checkpoint in ("last.ckpt", "best.ckpt"):
        mine, theirs = (
            torch.load(run.path / "checkpoints" / checkpoint, weights_only=True)
            for run in (one, other)
        )
        for name, weight in mine["state_dict"].items():
            assert torch.equal(weight, theirs["state_dict"][name]), name


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    outputs = tmp_path_factory.mktemp("undisturbed")
    assert run_train(outputs, *COMMAND).returncode == 0
    [run] = the_sweep(outputs).runs()
    return run


def pid_of(run: RunDir) -> int:
    return run.read_status()["pid"]


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def has_rows(count: int) -> Callable[[RunDir], bool]:
    return lambda run: run.progress.exists() and len(run.read_progress()) >= count


def wait_until_gone(pid: int) -> None:
    end = time.monotonic() + 10
    while is_alive(pid):
        assert time.monotonic() < end, "the process is still there"
        time.sleep(0.02)


def kill_at(outputs: Path, rows: int) -> RunDir:
    """Start or continue the run, and kill its process as soon as it has this many rows."""
    sweep = Sweep(outputs, *COMMAND)
    run = sweep.wait_for(has_rows(rows))
    os.kill(pid_of(run), signal.SIGKILL)
    code, output = sweep.end()
    assert code == Exit.FAILED
    assert "signal 9" in output
    return run


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An outputs folder with a run that was killed in its second epoch."""
    outputs = tmp_path_factory.mktemp("killed")
    kill_at(outputs, 17)
    return outputs


@pytest.fixture
def half_done(killed: Path, tmp_path: Path) -> RunDir:
    """A copy of the killed run, below tmp_path."""
    shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
    [run] = the_sweep(tmp_path).runs()
    return run


@pytest.fixture
def finished(undisturbed: RunDir, tmp_path: Path) -> RunDir:
    """A copy of the undisturbed run, below tmp_path."""
    sweep = undisturbed.path.parent
    shutil.copytree(sweep, tmp_path / sweep.parent.name / sweep.name)
    [run] = the_sweep(tmp_path).runs()
    return run


def test_a_run_killed_in_an_epoch_ends_in_the_numbers_of_an_undisturbed_one(
    undisturbed: RunDir, half_done: RunDir, tmp_path: Path
):
    for rows in (20, 34):
        kill_at(tmp_path, rows)

    assert run_train(tmp_path, *COMMAND).returncode == 0

    [run] = the_sweep(tmp_path).runs()
    assert_equal_runs(undisturbed, run)


@pytest.mark.slow
def test_a_run_killed_at_twenty_random_moments_does_too(undisturbed: RunDir, tmp_path: Path):
    moments, kills = random.Random(0), 0
    folders = (tmp_path / str(number) for number in itertools.count())
    outputs = next(folders)
    while kills < 20:
        sweep = Sweep(outputs, *COMMAND)
        run = sweep.wait_for(lambda run: run.read_status().get("state") == "running")
        time.sleep(moments.uniform(0, 8))
        if not run.is_finished:
            os.kill(pid_of(run), signal.SIGKILL)
            kills += 1
        sweep.end()
        if run.is_finished:
            assert_equal_runs(undisturbed, run)
            outputs = next(folders)
    run_train(outputs, *COMMAND)

    [run] = the_sweep(outputs).runs()
    assert_equal_runs(undisturbed, run)


def is_pending(number: signal.Signals, pid: int) -> bool:
    """Whether a process that is suspended has been sent the signal."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    [pending] = (line.split()[1] for line in lines if line.startswith("ShdPnd:"))
    return bool(int(pending, 16) >> (number - 1) & 1)


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGUSR1, marks=pytest.mark.slow)]
)
def test_a_run_told_to_stop_writes_a_checkpoint_and_goes_on_exactly(
    undisturbed: RunDir, tmp_path: Path, number: signal.Signals
):
    rarely = (*COMMAND[:-1], "checkpoint.minutes=60")
    sweep = Sweep(tmp_path, *rarely)
    run = sweep.wait_for(has_rows(11))  # of the ten of each epoch
    pid = run.read_status()["pid"]
    os.kill(pid, signal.SIGSTOP)  # here, however fast it is
    sweep.process.send_signal(number)
    sweep.wait_for(lambda run: is_pending(number, pid))
    os.kill(pid, signal.SIGCONT)

    code, _ = sweep.end()

    assert code == Exit.STOPPED
    assert run.read_status()["state"] == "stopped"
    position = torch.load(run.last_checkpoint, weights_only=True)["callbacks"]["RunRecorder"]
    assert position["position"]["step"] > 0  # inside an epoch
    assert run_train(tmp_path, *rarely).returncode == 0
    assert_equal_runs(undisturbed, run)


def test_ctrl_c_stops_after_a_checkpoint_and_starts_no_further_run(tmp_path: Path):
    sweep = Sweep(tmp_path, *COMMAND, "seed=0,1")
    run = sweep.wait_for(has_rows(5))
    sweep.process.send_signal(signal.SIGINT)

    code, output = sweep.end()

    assert code == Exit.INTERRUPTED
    assert run.last_checkpoint.exists()
    assert run.read_status()["state"] == "stopped"
    assert run.read_status()["cause"].startswith("stopped by Ctrl-C (SIGINT)")
    assert "not started" in output


def test_a_closed_terminal_stops_after_a_checkpoint(tmp_path: Path):
    ours, theirs = pty.openpty()
    sweep = Sweep(
        tmp_path, *COMMAND, "seed=0,1", by=("setsid", "--ctty", sys.executable),
        stdin=theirs, stdout=theirs, stderr=theirs,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # not that of nohup
    )  # fmt: skip
    os.close(theirs)
    run = sweep.wait_for(has_rows(2))
    os.close(ours)

    code, _ = sweep.end()

    assert code == Exit.STOPPED
    assert run.last_checkpoint.exists()
    assert run.read_status()["state"] == "stopped"
    assert run.read_status()["cause"].startswith("stopped by SIGHUP")


def test_under_nohup_a_closed_terminal_stops_nothing(tmp_path: Path):
    sweep = Sweep(tmp_path, *COMMAND, "trainer.max_epochs=40", by=("nohup", sys.executable))
    run = sweep.wait_for(has_rows(1))
    sweep.process.send_signal(signal.SIGHUP)
    os.kill(pid_of(run), signal.SIGHUP)
    sweep.wait_for(has_rows(len(run.read_progress()) + 3))
    sweep.process.send_signal(signal.SIGTERM)

    code, _ = sweep.end()

    assert code == Exit.STOPPED
    assert run.read_status()["cause"].startswith("stopped by SIGTERM")


@pytest.mark.slow
def test_a_second_ctrl_c_kills(tmp_path: Path):
    sweep = Sweep(tmp_path, *COMMAND)
    run = sweep.wait_for(lambda run: run.read_status().get("state") == "running")
    pid = pid_of(run)
    os.kill(pid, signal.SIGSTOP)  # a run that does not listen
    sweep.process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    sweep.process.send_signal(signal.SIGINT)

    code, _ = sweep.end()

    assert code == Exit.INTERRUPTED
    assert run.read_status()["error"] == "the process was ended by the second Ctrl-C"
    assert not is_alive(pid)


def test_no_process_outlives_a_killed_sweep(undisturbed: RunDir, tmp_path: Path):
    sweep = Sweep(tmp_path, *COMMAND)
    run = sweep.wait_for(has_rows(5))
    pid = pid_of(run)

    sweep.process.kill()
    sweep.end()

    wait_until_gone(pid)
    assert run_train(tmp_path, *COMMAND).returncode == 0
    assert_equal_runs(undisturbed, run)


def test_a_run_killed_in_its_test_only_tests_again(
    undisturbed: RunDir, finished: RunDir, tmp_path: Path
):
    run = finished
    (run.path / "result.json").unlink()  # as if it had been killed before it was written
    trained = run.last_checkpoint.stat().st_mtime_ns

    assert run_train(tmp_path, *COMMAND).returncode == 0

    assert run.last_checkpoint.stat().st_mtime_ns == trained
    assert_equal_runs(undisturbed, run)


def truncate(checkpoint: Path) -> None:
    os.truncate(checkpoint, checkpoint.stat().st_size // 2)


def flip_a_bit(checkpoint: Path) -> None:
    content = bytearray(checkpoint.read_bytes())
    content[len(content) // 2] ^= 1
    checkpoint.write_bytes(content)


@pytest.mark.parametrize("damage", [pytest.param(truncate, marks=pytest.mark.slow), flip_a_bit])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    undisturbed: RunDir, half_done: RunDir, tmp_path: Path, damage: Callable[[Path], None]
):
    run = half_done
    damage(run.last_checkpoint)

    done = run_train(tmp_path, *COMMAND)

    assert done.returncode == 0
    assert "is damaged" in run.log.read_text()
    assert_equal_runs(undisturbed, run)


@pytest.mark.slow
def test_a_run_that_stopped_at_its_threshold_is_not_trained_on(tmp_path: Path):
    command = (*COMMAND[:3], "+experiment=relu_vs_tanh", "model.init=he", "learning.lr=0.01")
    command += ("model.nonlinearity=relu", "seed=0", "trainer.threads=1")
    assert run_train(tmp_path, *command).returncode == 0
    [run] = the_sweep(tmp_path).runs()
    (run.path / "result.json").unlink()
    rows = rows_without_times(run.progress)

    assert run_train(tmp_path, *command).returncode == 0

    assert run.is_finished
    assert rows_without_times(run.progress) == rows


def test_a_full_disk_fails_the_run_and_leaves_the_last_checkpoint_whole(half_done: RunDir):
    # A limit to the size of a file stands for a full disk: both end a write half-way.
    run = half_done
    kilobytes = run.last_checkpoint.stat().st_size // 2048

    done = run_folder(run, by=("bash", "-c", f'ulimit -f {kilobytes}; exec "$@"', "bash"))

    assert done.returncode == Exit.FAILED
    assert run.read_status()["cause"] == "disk full"
    assert run.whole_checkpoint() == run.last_checkpoint


def test_a_clock_that_goes_backwards_between_two_attempts_changes_no_number_and_no_folder(
    undisturbed: RunDir,
    half_done: RunDir,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    run = half_done
    first = run.read_status()["started"]

    yesterday = {"CLOCK": "-86400", "PYTHONPATH": f"{PROJECT}/tests/faults", VARIABLE: ""}
    sweep = Sweep(tmp_path, *COMMAND, environment=yesterday)
    sweep.wait_for(lambda run: run.read_status().get("state") == "running")
    sweep.wait_for(has_rows(25))
    while_running = run.state
    runs.main([str(tmp_path)])
    code, _ = sweep.end()

    assert code == Exit.FINISHED
    assert while_running == "running"
    assert re.search(r"  running +seed-0 .* 0 s ", capsys.readouterr().out)
    assert -86500 < run.read_status()["started"] - first < -86000
    assert the_sweep(tmp_path).run("seed-0") == run
    seconds = [row["seconds"] for row in run.read_metrics()]
    assert all(0 < later - earlier < 600 for earlier, later in itertools.pairwise([0.0, *seconds]))
    assert 0 < run.read_result()["seconds"] < 600
    assert_equal_runs(undisturbed, run)


def test_a_folder_that_can_no_longer_be_written_to_costs_one_run(tmp_path: Path):
    sweep = Sweep(tmp_path, *COMMAND, "seed=0,1", "trainer.max_epochs=2")
    run = sweep.wait_for(has_rows(1))
    run.status.with_name("status.json.partial").mkdir()  # read-only would not stop root

    code, output = sweep.end()

    lost, sound = the_sweep(tmp_path).runs()
    assert code == Exit.FAILED
    assert "seed-0: its end cannot be recorded: [Errno 21] Is a directory" in output
    assert "Traceback" not in output
    assert re.search(r"  seed-0 +dead", output)
    assert lost == run
    assert sound.is_finished


def test_a_folder_that_cannot_be_written_to_is_told_in_one_line(tmp_path: Path):
    (tmp_path / "train").write_text("in the way")

    done = run_train(tmp_path, *COMMAND)

    assert done.returncode == Exit.FAILED
    assert len(done.stderr.splitlines()) == 1
    assert str(tmp_path / "train") in done.stderr


def test_two_sweeps_of_the_same_key_do_not_write_into_one_folder(tmp_path: Path):
    long = (*COMMAND, "trainer.max_epochs=40")  # until the second command has looked
    sweep = Sweep(tmp_path, *long)
    sweep.wait_for(has_rows(1))

    second = run_train(tmp_path, *long)
    sweep.process.send_signal(signal.SIGTERM)
    sweep.end()

    assert second.returncode == Exit.FAILED
    assert f"in use by process {sweep.process.pid}" in second.stderr


@pytest.mark.slow
def test_runs_that_share_the_cores_give_the_numbers_of_runs_that_do_not(tmp_path: Path):
    seeds = (*COMMAND, "seed=0,1")
    run_train(tmp_path / "one", *seeds)
    run_train(tmp_path / "two", *seeds, "hydra.launcher.parallel=2")

    for alone, together in zip(
        the_sweep(tmp_path / "one").runs(), the_sweep(tmp_path / "two").runs(), strict=True
    ):
        assert_equal_runs(alone, together)


def test_resume_trains_a_run_on_as_if_it_had_been_meant_to_be_longer(
    undisturbed: RunDir, tmp_path: Path
):
    for key, first in (("max_epochs", 2), ("max_steps", 100)):
        outputs = tmp_path / key
        run_train(outputs, *COMMAND, f"trainer.{key}={first}")
        [run] = the_sweep(outputs).runs()

        resume = (f"resume={run.path}", "trainer.max_epochs=4", "trainer.max_steps=-1")
        done = run_train(outputs, *resume)

        assert done.returncode == 0, done.stderr
        assert f"{run.name}: epoch 4 of 4, training error" in done.stdout
        assert_equal_runs(undisturbed, run)


def test_resume_refuses_any_other_change_by_name(undisturbed: RunDir, tmp_path: Path):
    done = run_train(tmp_path, f"resume={undisturbed.path}", "learning.lr=1", "model.dropout=0")

    assert done.returncode == Exit.WRONG
    assert "learning.lr cannot change" in done.stderr
    assert "model.dropout cannot change" in done.stderr

    stored = undisturbed.config.read_text()
    for arguments, message in (
        (["trainer.max_epochs=8,9"], "a resumed run takes one value"),
        (["trainer.max_epochs=1"], "is too few: the run has trained for 4 epochs"),
    ):
        done = run_train(tmp_path, f"resume={undisturbed.path}", *arguments)
        assert done.returncode == Exit.WRONG
        assert message in done.stderr
    done = run_train(tmp_path, "-m", f"resume={undisturbed.path},{undisturbed.path}")
    assert done.returncode == Exit.WRONG
    assert "only one run can be resumed at a time" in done.stderr
    assert undisturbed.config.read_text() == stored
    assert run_train(tmp_path, "resume=/nowhere").returncode == Exit.WRONG


def test_a_run_without_a_checkpoint_cannot_be_trained_on(undisturbed: RunDir, tmp_path: Path):
    copy = tmp_path / undisturbed.path.parent.name
    shutil.copytree(undisturbed.path.parent, copy, ignore=shutil.ignore_patterns("*.ckpt"))

    done = run_train(tmp_path, f"resume={copy / undisturbed.name}", "trainer.max_epochs=9")

    assert done.returncode == Exit.WRONG
    assert "no checkpoint to resume from" in done.stderr


def test_a_checkpoint_of_another_network_is_refused_before_training(
    finished: RunDir, tmp_path: Path
):
    run = finished
    checkpoint = torch.load(run.last_checkpoint, weights_only=True)
    checkpoint["state_dict"]["net.conv1.weight"] = torch.zeros(32, 3, 7, 7)
    torch.save(checkpoint, run.last_checkpoint)

    resumed = run_train(tmp_path, f"resume={run.path}", "trainer.max_epochs=9")
    (run.path / "result.json").unlink()
    again = run_train(tmp_path, *COMMAND)

    for done in (resumed, again):
        assert done.returncode == Exit.WRONG
        assert "net.conv1.weight is 32 x 3 x 7 x 7 there and 32 x 3 x 5 x 5 here" in done.stderr
        assert "Traceback" not in done.stderr + run.log.read_text()


@pytest.mark.slow
def test_status_says_how_it_ended(tmp_path: Path):
    run_train(tmp_path, *COMMAND[:3], "trainer.max_epochs=1", "learning.lr=1e12")

    [run] = the_sweep(tmp_path).runs()
    status = json.loads((run.path / "status.json").read_text())
    assert set(status) >= {"state", "pid", "host", "started", "updated", "cause", "error"}
    assert status["cause"] == "diverged"
