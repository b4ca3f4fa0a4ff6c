from pathlib import Path

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from alexnet.files import replacing
from alexnet.folders.files import hold
from alexnet.sweep.plan import write_config


def test_a_file_is_replaced_when_the_block_ends_and_not_before(tmp_path: Path):
    path = tmp_path / "file"
    path.write_text("old")

    with replacing(path) as file:
        file.write("new")
        file.flush()
        assert path.read_text() == "old"

    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_block_that_raises_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: type[BaseException]
):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def write_and_raise() -> None:
        with replacing(path, "wb") as file:
            file.write(b"new")
            raise error

    with pytest.raises(error):
        write_and_raise()

    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_partial_file_that_was_left_is_written_anew(tmp_path: Path):
    (tmp_path / "file.partial").write_text("what a killed process has written")

    with replacing(tmp_path / "file") as file:
        file.write("new")

    assert (tmp_path / "file").read_text() == "new"


def test_a_link_in_the_place_of_the_partial_file_is_not_followed(tmp_path: Path):
    other = tmp_path / "other"
    other.write_text("precious")
    (tmp_path / "file.partial").symlink_to(other)

    with replacing(tmp_path / "file") as file:
        file.write("new")

    assert other.read_text() == "precious"
    assert not (tmp_path / "file").is_symlink()


def test_a_lock_that_is_a_link_is_refused(tmp_path: Path):
    other = tmp_path / "other"
    other.write_text("precious")
    (tmp_path / ".lock").symlink_to(other)

    with (
        pytest.raises(OSError, match=r"\.lock is a link to another file: remove it"),
        hold(tmp_path),
    ):
        pass

    assert other.read_text() == "precious"


def test_a_configuration_that_cannot_be_written_leaves_the_one_before(tmp_path: Path):
    path = tmp_path / "config.yaml"
    path.write_text("seed: 0\n")

    with pytest.raises(OmegaConfBaseException):
        write_config(OmegaConf.create({"seed": 1, "data": "${nowhere}"}), path)

    assert path.read_text() == "seed: 0\n"
    assert list(tmp_path.iterdir()) == [path]
