import os
import subprocess
import sys
from pathlib import Path

import pytest

from alexnet.paths import PROJECT

ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": ""}


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a shell command in the project, with this Python as `python`."""
    return subprocess.run(
        ["sh", "-c", command.replace("python ", f"{sys.executable} ", 1)],
        cwd=PROJECT, env=os.environ | environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_closed_output_is_no_error(closed: str, tmp_path: Path):
    done = shell(f"python src/runs.py {tmp_path}/nothing {closed}")

    assert done.returncode == 2  # as with an open one: there is no such folder
    assert "Traceback" not in done.stderr


def test_a_reader_that_goes_does_not_end_the_command(tmp_path: Path):
    program = (
        "from alexnet.cli._streams import prepare_streams; prepare_streams(); "
        "[print('line', flush=True) for _ in range(10_000)]; "
        f"open({str(tmp_path / 'done')!r}, 'w')"
    )

    done = shell(f'python -c "{program}" | head -1', PYTHONPATH=str(PROJECT / "src"))

    assert done.stdout == "line\n"
    assert done.stderr == ""
    assert (tmp_path / "done").exists()


def test_a_command_works_in_a_locale_without_unicode_and_through_a_link(tmp_path: Path):
    link = tmp_path / "my_train.py"
    link.symlink_to(PROJECT / "src/train.py")
    folder = tmp_path / "eigene é" / "experiment"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text("# Größe\n", encoding="utf-8")

    done = shell(f"python {link} --config-dir '{folder.parent}' --help", **ASCII)

    assert done.returncode == 0, done.stderr
    assert "mine                 Größe" in done.stdout


@pytest.mark.parametrize("name", ["report.py", "runs.py"])
def test_a_folder_may_have_the_name_that_it_has_for_training(name: str, tmp_path: Path):
    done = shell(f"python src/{name} outputs={tmp_path}")

    assert f"{tmp_path} has no sweep in it" in done.stderr


NO_READER = """
import os, sys
read, write = os.pipe()
os.close(read)
os.dup2(write, 1)
"""
DOOR = """
import sys
from alexnet.cli import script
sys.argv = [{0!r}, *{1!r}]
sys.exit(script({0!r}))
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    """A program that calls a command's main function."""
    return subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT, text=True, capture_output=True, check=False
    )


@pytest.mark.parametrize("command", ["train", "prepare", "evaluate"])
def test_a_reader_that_leaves_is_no_error(command: str):
    ran = run(NO_READER + DOOR.format(command, ["--help"]))

    assert (ran.returncode, ran.stderr) == (0, "")


def test_without_a_reader_the_work_is_done_and_its_exit_status_is_right(tmp_path: Path):
    ran = run(
        NO_READER + DOOR.format("prepare", [f"source={tmp_path}/no", f"dest={tmp_path}/dest"])
    )

    assert ran.returncode == 2
    assert "Traceback" not in ran.stderr
    assert f"error: {tmp_path}/no is not a folder" in ran.stderr


def test_names_that_are_not_unicode_can_be_printed(tmp_path: Path):
    source = tmp_path / os.fsdecode(b"caf\xe9")
    (source / "train" / "a").mkdir(parents=True)

    ran = run(DOOR.format("prepare", [f"source={source}", f"dest={tmp_path}/dest"]))

    assert ran.returncode == 2
    assert "Traceback" not in ran.stderr
    assert "caf\\udce9" in ran.stdout
