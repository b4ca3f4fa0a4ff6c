import os
import subprocess
from pathlib import Path

import pytest

from alexnet.run.provenance import _commit

IDENTITY = ("-c", "user.name=A", "-c", "user.email=a@b.c")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit, under git's own settings alone."""
    for level in ("GLOBAL", "SYSTEM"):
        monkeypatch.setenv(f"GIT_CONFIG_{level}", os.devnull)
    (tmp_path / "file").write_text("one")
    for words in (["init", "-q"], ["add", "."], [*IDENTITY, "commit", "-qm", "one"]):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    return tmp_path


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to give a folder to another user")
def test_a_checkout_of_another_user_has_its_commit(checkout: Path):
    for path in (checkout, *checkout.rglob("*")):
        os.chown(path, 12345, 12345)
    refused = subprocess.run(["git", "-C", str(checkout), "status"], capture_output=True)
    assert b"dubious ownership" in refused.stderr

    commit, is_dirty = _commit(checkout)
    (checkout / "file").write_text("two")

    assert commit is not None
    assert len(commit) == 40
    assert is_dirty is False
    assert _commit(checkout) == (commit, True)


def test_where_git_does_not_answer_changes_are_unknown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    assert _commit(tmp_path) == (None, None)
    assert f"the commit of {tmp_path} is not recorded" in caplog.text
