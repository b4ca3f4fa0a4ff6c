import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from alexnet.cli import runs
from alexnet.folders.files import hold
from alexnet.folders.liveness import process_state
from alexnet.folders.run import RunDir
from alexnet.folders.sweep import SweepDir
from alexnet.paths import PROJECT
from tests.conftest import run_python

HERE = os.uname().nodename
METRICS = {"train/loss": 1.0, "train/error": 0.5, "val/loss": 1.0, "val/error": 0.25, "lr": 0.1}


def write_run(folder: Path, *, status: dict[str, Any], epochs: int = 2) -> RunDir:
    """The folder of a run without training; finished if its status says so."""
    run = RunDir(folder)
    run.write_status(status)
    for epoch in range(1, epochs + 1):
        run.append_metrics({"epoch": epoch, **METRICS})
    run.last_checkpoint.parent.mkdir()
    for file in (run.last_checkpoint, run.best_checkpoint):
        file.write_bytes(bytes(10_000))
    if status["state"] == "finished":
        run.write_result({"metrics": {"test/error": 0.125}, "epochs": epochs})
    return run


def write_sweep(outputs: Path, **statuses: dict[str, Any]) -> SweepDir:
    """A sweep of runs with these statuses."""
    sweep = SweepDir(outputs / "relu_vs_tanh" / "mnist5k-0123abcd")
    sweep.write_plan({"runs": {name: {"arm": {}, "seed": 0} for name in statuses}})
    for name, status in statuses.items():
        if status:
            write_run(sweep.path / name, status=status)
    return sweep


def dead_pid() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def alive(pid: int, **more: Any) -> dict[str, Any]:
    """The status of a run that claims to be running."""
    return {"state": "running", "pid": pid, "host": HERE, "started": time.time(), "epoch": 1} | more


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, str]]:
    """The exit status, and the message about each run."""
    status = runs.main(arguments)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    words = [" ".join(line.split()) for line in lines]
    return status, {line.removeprefix("not ").split()[1]: line for line in words}


def test_every_run_is_listed_with_state_epoch_error_age_and_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    failed = {"state": "failed", "cause": "diverged", "error": "Diverged: loss is nan\nmore"}
    write_sweep(tmp_path, good={"state": "finished"}, bad=failed, later={})

    status, lines = shown(capsys, str(tmp_path))

    assert status == 0
    assert re.fullmatch(r"finished good 2 test 12\.50 % \d+ s \d+\.\d kB", lines["good"])
    assert lines["bad"].startswith("failed bad 2 val 25.00 % ")
    assert lines["bad"].endswith(" kB diverged: Diverged: loss is nan")
    assert lines["later"] == "not started later 0 B"


def test_columns_have_a_header_and_a_pipe_is_not_cut(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    error = "Diverged: " + 40 * "loss is nan, "
    write_sweep(tmp_path, bad={"state": "failed", "error": error})

    runs.main([str(tmp_path)])

    head, _, line, _ = capsys.readouterr().out.splitlines()
    assert head.split() == ["state", "run", "epoch", "error", "age", "size"]
    assert line.endswith(error.strip())
    assert head.index("epoch") + len("epoch") == line.index(" 2  val") + 2


def test_runs_are_filtered_by_state_and_experiment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    write_sweep(tmp_path, good={"state": "finished"}, bad={"state": "failed"}, later={})
    other = SweepDir(tmp_path / "another_place" / "mnist5k-89abcdef")
    other.write_plan({"experiment": {"name": "lrn"}, "runs": {"third": {"arm": {}, "seed": 0}}})

    _, few = shown(capsys, str(tmp_path), "--state", "failed,not-started")
    _, lrn = shown(capsys, f"outputs={tmp_path}", "--experiment", "lrn")
    none = runs.main([str(tmp_path), "--state", "dead"])

    assert set(few) == {"run", "bad", "later", "third"}
    assert set(lrn) == {"run", "third"}
    assert none == 0
    said = capsys.readouterr().out
    assert said == "no run is dead; there are 2 not started, 1 finished, 1 failed\n"


@pytest.mark.parametrize(
    ("filters", "answer"),
    [
        (("--state", "fialed"), "--state fialed: did you mean failed?"),
        (("--state", "x"), "available: dead, failed, finished, not started, running, stopped"),
        (("--experiment", "relu_vs_tahn"), "did you mean relu_vs_tanh?"),
        (("--experiment", "x"), "available: relu_vs_tanh"),
    ],
)
def test_a_filter_for_what_does_not_exist_is_answered_with_what_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], filters: tuple[str, str], answer: str
):
    write_sweep(tmp_path, good={"state": "finished"})

    assert runs.main([str(tmp_path), *filters]) == 2

    complaint = capsys.readouterr().err
    assert answer in complaint
    assert len(complaint.splitlines()) == 1


def test_json_has_every_number_in_base_units(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    sweep = write_sweep(tmp_path, good={"state": "finished"}, later={})

    assert runs.main([str(tmp_path), "--json"]) == 0

    good, later = json.loads(capsys.readouterr().out)
    assert (good["experiment"], good["run"], good["seed"]) == ("relu_vs_tanh", "good", 0)
    assert (good["state"], good["metric"], good["error"]) == ("finished", "test/error", 0.125)
    assert good["path"] == str(sweep.run("good").path)
    assert time.time() - 60 < good["written"] <= time.time()
    assert good["bytes"] % 512 == 0 < good["bytes"]
    assert later["state"] == "not started"
    assert later["epoch"] is later["error"] is later["written"] is None


@pytest.mark.parametrize("columns", [40, 60, 200])
def test_lines_fit_a_terminal_but_for_what_a_reader_may_copy(tmp_path: Path, columns: int):
    name = "nonlinearity-{}_normalization-lrn_pooling-overlapping_seed-{}"
    names = [name.format(level, seed) for level in ("relu", "tanh") for seed in (0, 1)]
    sweep = write_sweep(tmp_path, **{each: {"state": "finished"} for each in names})
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    command = [sys.executable, "src/runs.py", str(tmp_path)]
    subprocess.run(command, stdout=theirs, check=True, cwd=PROJECT)
    os.close(theirs)
    text = b""
    with suppress(OSError):  # the other end is closed
        while part := os.read(ours, 10_000):
            text += part
    os.close(ours)

    lines = text.decode().splitlines()
    assert any(line.startswith(f"{sweep.path}: 4 finished; ") for line in lines)
    assert {line.split()[columns // 150] for line in lines if "seed-" in line} == set(names)
    others = [line for line in lines if str(sweep.path) not in line and line.strip() not in names]
    assert max(map(len, others)) <= columns
    assert sum("test 12.50 %" in line for line in others) == len(names)


def test_a_run_whose_process_is_gone_is_dead(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    gone = dead_pid()
    write_sweep(tmp_path, here=alive(os.getpid()), gone=alive(gone), far=alive(gone, host="node7"))

    _, lines = shown(capsys, str(tmp_path))

    assert lines["here"].startswith("running here")
    assert lines["gone"].startswith("dead gone")
    assert f"process {gone} is gone" in lines["gone"]
    assert lines["far"].startswith("running far")
    assert "on node7: cannot check from here whether its process exists" in lines["far"]


def test_a_process_that_took_over_the_number_of_a_run_is_not_the_run(tmp_path: Path):
    run = write_run(tmp_path / "run", status=alive(os.getpid(), started=time.time() - 7 * 86400))

    assert run.is_alive is False
    assert run.state == "dead"


def test_a_clock_that_was_set_forward_kills_no_run(tmp_path: Path):
    folder = tmp_path / "run"
    command = [sys.executable, "-c", "input()", "--run", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        status = alive(process.pid, started=time.time() - 3600)
        assert write_run(folder, status=status).is_alive
        process.communicate(b"\n")


@pytest.mark.skipif(process_state(os.getpid()) is None, reason="needs /proc")
@pytest.mark.parametrize("clock", [-86400, 0, 86400])
def test_a_process_is_known_by_when_it_started_whatever_the_clock(tmp_path: Path, clock: int):
    ticks = process_state(os.getpid()).ticks
    recorded = alive(os.getpid(), started=time.time() + clock, ticks=ticks)

    assert write_run(tmp_path / "run", status=recorded).is_alive
    assert write_run(tmp_path / "gone", status={**recorded, "ticks": ticks - 1}).is_alive is False


def test_a_process_that_nobody_has_waited_for_is_not_alive(tmp_path: Path):
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # over, but still in the table

    assert write_run(tmp_path / "run", status=alive(process.pid)).is_alive is False
    process.wait()


def test_listing_takes_neither_torch_nor_pandas_nor_hydra(tmp_path: Path):
    write_sweep(tmp_path, good={"state": "finished"})

    done = run_python("-X", "importtime", "src/runs.py", tmp_path)

    assert done.returncode == 0

    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "alexnet.folders.run" in imported
    assert not imported & {"torch", "pandas", "numpy", "matplotlib", "hydra", "lightning", "rich"}


def test_pruning_removes_checkpoints_of_finished_runs_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    stopped = {"state": "stopped", "pid": dead_pid(), "host": HERE, "started": 0}
    sweep = write_sweep(
        tmp_path,
        done={"state": "finished"},
        going=alive(os.getpid()),
        dead=alive(dead_pid()),
        failed={"state": "failed"},
        longer=stopped,
    )
    # Finished once, then trained on and stopped: its old result does not make it finished.
    sweep.run("longer").write_result({"metrics": {"test/error": 0.5}, "epochs": 1})
    done = sweep.run("done")
    disk = 512 * sum(f.stat().st_blocks for f in (done.last_checkpoint, done.best_checkpoint))
    before = {path for path in tmp_path.rglob("*") if path.is_file()}

    status = runs.main(["prune", str(tmp_path), "--yes"])

    after = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert status == 0
    assert before - after == {done.last_checkpoint, done.best_checkpoint}
    assert f"freed {disk / 1000:.1f} kB" in capsys.readouterr().out
    assert done.is_finished


@pytest.mark.parametrize("content", ["", "{}", "[]"])
def test_checkpoints_stay_where_the_result_cannot_be_read(tmp_path: Path, content: str):
    run = write_sweep(tmp_path, done={"state": "finished"}).run("done")
    (run.path / "result.json").write_text(content)

    runs.main(["prune", str(tmp_path), "--yes"])

    assert run.last_checkpoint.exists()


def test_pruning_asks_nobody_where_there_is_nobody(tmp_path: Path):
    sweep = write_sweep(tmp_path, done={"state": "finished"})

    done = run_python("src/runs.py", "prune", tmp_path, stdin=subprocess.DEVNULL)

    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "--yes" in done.stderr
    assert sweep.run("done").last_checkpoint.exists()


@pytest.mark.parametrize(("answer", "status"), [("\n", 1), ("n\n", 1), ("y\n", 0)])
def test_pruning_waits_for_a_yes(tmp_path: Path, answer: str, status: int):
    sweep = write_sweep(tmp_path, done={"state": "finished"})
    person, terminal = pty.openpty()
    os.write(person, answer.encode())

    done = run_python("src/runs.py", "prune", tmp_path, stdin=terminal)

    os.close(person)
    os.close(terminal)
    assert done.returncode == status
    assert re.search(r"checkpoints of 1 finished run and free \d+\.\d kB\?", done.stdout)
    assert sweep.run("done").last_checkpoint.exists() == (status == 1)


@pytest.mark.parametrize("command", [[], ["prune"]])
def test_a_wrong_folder_is_answered_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]
):
    for folder, message in ((tmp_path, "has no sweep in it"), (tmp_path / "no", "is not a folder")):
        assert runs.main([*command, str(folder)]) == 2
        complaint = capsys.readouterr().err
        assert message in complaint
        assert len(complaint.splitlines()) == 1


def test_one_file_that_cannot_be_read_hides_no_other_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    sweep = write_sweep(tmp_path, done={"state": "finished"}, torn={"state": "failed"})
    (sweep.run("torn").path / "status.json").write_text(json.dumps({"state": "failed"})[:-3])
    (sweep.path / "sweep.json").write_text("{")

    status, lines = shown(capsys, str(sweep.path))

    assert status == 0
    assert lines["done"].startswith("finished")
    assert lines["torn"].startswith("unreadable")


def test_one_sweep_that_cannot_be_read_hides_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    write_sweep(tmp_path / "good", done={"state": "finished"})
    for number, content in enumerate(('{"runs": 3}', '{"runs": {"../x": {}}}', "[]", "\0")):
        bad = tmp_path / str(number) / "x" / "sweep.json"
        bad.parent.mkdir(parents=True)
        bad.write_text(content)
    bad.unlink()
    bad.mkdir()

    _, lines = shown(capsys, str(tmp_path / "good"))
    runs.main([str(tmp_path)])

    assert lines["done"].startswith("finished")
    assert capsys.readouterr().out.count("its sweep.json is damaged") == 4


def test_pruning_leaves_what_training_has_not_written(tmp_path: Path):
    run = write_sweep(tmp_path, done={"state": "finished"}).run("done")
    mine = run.last_checkpoint.with_name("mine.ckpt")
    mine.write_text("precious")
    partial = run.last_checkpoint.with_name("partial.ckpt")
    partial.touch()

    assert runs.main(["prune", str(tmp_path), "--yes"]) == 0

    assert list(run.last_checkpoint.parent.iterdir()) == [mine]


@pytest.mark.parametrize("link", ["done", "done/checkpoints"])
def test_pruning_follows_no_link(tmp_path: Path, link: str):
    sweep = write_sweep(tmp_path / "sweeps", done={"state": "finished"})
    elsewhere = tmp_path / "elsewhere"
    (sweep.path / link).rename(elsewhere)
    (sweep.path / link).symlink_to(elsewhere)

    runs.main(["prune", str(tmp_path / "sweeps"), "--yes"])

    assert sweep.run("done").last_checkpoint.exists()


def test_pruning_stays_inside_the_sweep(tmp_path: Path):
    sweep = write_sweep(tmp_path / "sweeps", done={"state": "finished"})
    other = write_run(tmp_path / "other", status={"state": "finished"})
    name = os.path.relpath(other.path, sweep.path)
    sweep.write_plan({"runs": {name: {"arm": {}, "seed": 0}}})

    runs.main(["prune", str(tmp_path / "sweeps"), "--yes"])

    assert other.last_checkpoint.exists()


@pytest.mark.parametrize("held", ["", "done"])
def test_pruning_leaves_a_sweep_alone_in_which_something_is_trained(
    tmp_path: Path, held: str, capsys: pytest.CaptureFixture[str]
):
    sweep = write_sweep(tmp_path, done={"state": "finished"})

    with hold(sweep.path / held):  # resume= is just starting: the result is still the old one
        status = runs.main(["prune", str(tmp_path), "--yes"])

    assert status == 1
    assert "done: its checkpoints were kept: " in capsys.readouterr().err
    assert sweep.run("done").last_checkpoint.exists()


def test_pruning_leaves_a_run_alone_whose_result_is_of_another_seed(tmp_path: Path):
    run = write_sweep(tmp_path, done={"state": "finished"}).run("done")
    run.write_result({"metrics": {"test/error": 0.5}, "seed": 1})

    runs.main(["prune", str(tmp_path), "--yes"])

    assert run.last_checkpoint.exists()
