import os
import subprocess
import sys

import pytest

from alexnet.paths import PROJECT

NO_READER = """
import os, sys
read, write = os.pipe()
os.close(read)
os.dup2(write, 1)
"""
RUN = "import sys; from alexnet.cli.{} import main; sys.exit(main({!r}))"


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT, text=True, capture_output=True, check=False
    )


@pytest.mark.parametrize("command", ["prepare", "evaluate"])
def test_a_reader_that_leaves_is_no_error(command):
    ran = run(NO_READER + RUN.format(command, ["--help"]))

    assert (ran.returncode, ran.stderr) == (0, "")


def test_without_a_reader_the_work_is_done_and_its_exit_status_is_right(tmp_path):
    ran = run(NO_READER + RUN.format("prepare", [f"source={tmp_path}/no", f"dest={tmp_path}/dest"]))

    assert ran.returncode == 2
    assert "Traceback" not in ran.stderr
    assert f"error: {tmp_path}/no is not a folder" in ran.stderr


def test_closed_output_is_no_error(tmp_path):
    ran = run("import os, sys; os.close(1); sys.stdout = None\n" + RUN.format("prepare", ["-h"]))

    assert (ran.returncode, ran.stderr) == (0, "")


def test_names_that_are_not_unicode_can_be_printed(tmp_path):
    source = tmp_path / os.fsdecode(b"caf\xe9")
    (source / "train" / "a").mkdir(parents=True)

    ran = run(RUN.format("prepare", [f"source={source}", f"dest={tmp_path}/dest"]))

    assert ran.returncode == 2
    assert "Traceback" not in ran.stderr
    assert "caf\\udce9" in ran.stdout
