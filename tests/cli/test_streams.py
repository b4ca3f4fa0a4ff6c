import os
import subprocess
import sys
from pathlib import Path

import pytest

from alexnet.paths import PROJECT

ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": ""}


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A line of a shell in the project; its `python` is this one."""
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
