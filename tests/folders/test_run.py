import contextlib
import errno
import itertools
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from alexnet.folders.files import DamagedFile
from alexnet.folders.run import RunDir
from alexnet.folders.sweep import SweepDir

ROW = {"epoch": 0.5, "images": 64.0, "train/loss": 2.25, "train/error": 0.75}


def test_rows_can_be_read_at_any_byte_of_their_being_written(tmp_path: Path):
    run = RunDir(tmp_path)
    run.append_progress(ROW)
    run.append_progress(ROW | {"epoch": 1.0})
    content = run.progress.read_bytes()

    read = []
    for size in range(len(content) + 1):
        run.progress.write_bytes(content[:size])
        read.append(run.read_progress())

    assert all(rows in ([], [ROW], [ROW, ROW | {"epoch": 1.0}]) for rows in read)
    assert [len(rows) for rows in read] == sorted(len(rows) for rows in read)
    assert read[-1] == [ROW, ROW | {"epoch": 1.0}]


@pytest.mark.parametrize("rows_kept", [0, 1])
def test_a_file_whose_rows_were_taken_back_is_written_on(tmp_path: Path, rows_kept: int):
    run = RunDir(tmp_path)
    sizes = [0]
    for _ in range(2):
        run.append_progress(ROW)
        sizes.append(run.progress.stat().st_size)

    os.truncate(run.progress, sizes[rows_kept])
    run.append_progress(ROW | {"epoch": 1.0})

    assert run.read_progress() == [ROW] * rows_kept + [ROW | {"epoch": 1.0}]


def rows_up_to(folder: Path, *, epochs: int) -> RunDir:
    """A run with 64 images per epoch and one row of progress for each epoch."""
    run = RunDir(folder)
    for epoch in range(1, epochs + 1):
        run.append_metrics({"epoch": epoch})
        run.append_progress(ROW | {"epoch": epoch, "images": 64 * epoch})
    return run


def test_rows_that_the_checkpoint_does_not_count_are_taken_back(tmp_path: Path):
    run = rows_up_to(tmp_path, epochs=3)

    run.take_back(epochs=2, images=128)

    assert [row["epoch"] for row in run.read_metrics()] == [1, 2]
    assert [row["images"] for row in run.read_progress()] == [64, 128]


def test_counts_of_many_images_are_taken_back_to_the_very_row(tmp_path: Path):
    run = RunDir(tmp_path)
    for images in (115_312_345, 115_312_346):
        run.append_progress(ROW | {"images": images})

    run.take_back(epochs=0, images=115_312_345)

    assert [row["images"] for row in run.read_progress()] == [115_312_345]


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 3)


def empty(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize("damage", [cut, empty, Path.unlink])
@pytest.mark.parametrize("name", ["metrics.csv", "progress.csv"])
def test_rows_that_are_missing_are_named_and_nothing_is_written(
    tmp_path: Path, name: str, damage: Callable[[Path], None]
):
    file = rows_up_to(tmp_path, epochs=2).path / name
    damage(file)
    before = file.read_bytes() if file.exists() else None

    with pytest.raises(DamagedFile, match=f"{name} has lost rows: the checkpoint is at .*Restore"):
        RunDir(tmp_path).take_back(epochs=2, images=128)

    assert (file.read_bytes() if file.exists() else None) == before


@pytest.mark.parametrize("content", [b"\0" * 90, b"epoch,images\n1,two\n", b"\xff\xfe\n\n"])
@pytest.mark.parametrize("name", ["metrics.csv", "progress.csv"])
def test_rows_that_cannot_be_read_are_named(tmp_path: Path, name: str, content: bytes):
    run = rows_up_to(tmp_path, epochs=2)
    (tmp_path / name).write_bytes(content)
    read = run.read_metrics if name == "metrics.csv" else run.read_progress

    with pytest.raises(DamagedFile, match=name):
        run.take_back(epochs=2, images=128)
    if content[:1] != b"\0":  # a line without an end is one that is being written
        with pytest.raises(DamagedFile, match=name):
            read()


def test_rows_are_on_the_disk_before_the_checkpoint_that_counts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run, done = rows_up_to(tmp_path, epochs=1), []
    partial = run.last_checkpoint.with_name("partial.ckpt")
    partial.parent.mkdir()
    partial.write_bytes(b"weights")
    replace = os.replace
    monkeypatch.setattr(
        os, "fsync", lambda number: done.append(os.readlink(f"/proc/self/fd/{number}"))
    )
    monkeypatch.setattr(os, "replace", lambda *paths: (done.append(str(paths[1])), replace(*paths)))

    run.accept_checkpoint(partial)

    assert done == [str(each) for each in (run.metrics, run.progress, partial, run.last_checkpoint)]


class Killed(BaseException):
    """Simulates a kill."""


@pytest.mark.parametrize("is_damaged", [False, True])
@pytest.mark.parametrize(
    ("has_links", "step"), [*((True, n) for n in range(9)), *((False, n) for n in range(8))]
)
def test_a_process_killed_while_it_accepts_a_checkpoint_leaves_a_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool, step: int, is_damaged: bool
):
    run, calls = rows_up_to(tmp_path, epochs=1), itertools.count()
    folder = run.last_checkpoint.parent
    folder.mkdir()

    def accept(number: int) -> None:
        (folder / "partial.ckpt").unlink(missing_ok=True)
        with zipfile.ZipFile(folder / "partial.ckpt", "w") as archive:
            archive.writestr("number", str(number))
        run.accept_checkpoint(folder / "partial.ckpt", is_best=True)

    def kill_at_step(call: Callable[..., None]) -> Callable[..., None]:
        def count(*arguments: Path, **options: bool) -> None:
            if next(calls) == step:
                if call.__name__ == "copyfile":
                    arguments[1].write_bytes(b"half a file")
                raise Killed
            call(*arguments, **options)

        return count

    def refuse(*_: Path) -> None:
        raise OSError(errno.EOPNOTSUPP, "no hard links")

    if not has_links:
        monkeypatch.setattr(os, "link", refuse)
    accept(1)
    accept(2)
    if is_damaged:
        run.last_checkpoint.unlink()  # not the file that best.ckpt may be a link to
        run.last_checkpoint.write_bytes(b"half a file")
        run.go_on_from(run.whole_checkpoint())
    steps = [(os, "link"), (os, "replace"), (Path, "unlink"), (shutil, "copyfile")]
    with monkeypatch.context() as patch:
        for module, name in steps:
            patch.setattr(module, name, kill_at_step(getattr(module, name)))
        with contextlib.suppress(Killed):
            accept(3)

    assert number_in(run.whole_checkpoint()) in ((1, 3) if is_damaged else (2, 3))
    assert number_in(run.best_checkpoint) in (2, 3)
    assert run.last_checkpoint.exists() or is_damaged or not has_links
    assert (folder / "previous.ckpt").exists()
    accept(4)  # without clear_partial, which does nothing in a folder that is a link
    assert number_in(run.last_checkpoint) == number_in(run.best_checkpoint) == 4
    assert run.last_checkpoint.samefile(run.best_checkpoint) is has_links
    assert {file.name for file in folder.iterdir()} == {"last.ckpt", "best.ckpt", "previous.ckpt"}


def number_in(checkpoint: Path | None) -> int:
    assert checkpoint is not None
    with zipfile.ZipFile(checkpoint) as archive:
        return int(archive.read("number"))


# Files of a run that somebody else has written


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "3",
        "{",
        '{"state": 3}',
        '{"state": "?"}',
        '{"state": "running", "pid": "x"}',
        '{"pid": 0}',
        '{"pid": 99999999999999999999}',
        '{"state": "running", "pid": 7, "started": "today"}',
        '{"epoch": null}',
        '{"state": "failed", "error": {}}',
        '{"host": 1}',
        '{"state": []}',
    ],
)
def test_a_status_of_other_values_is_named(tmp_path: Path, content: str):
    run = RunDir(tmp_path)
    run.status.write_text(content)

    with pytest.raises(DamagedFile, match=r"status\.json"):
        _ = run.state


@pytest.mark.parametrize(
    "content",
    [
        "{}",
        "[]",
        '{"metrics": 3}',
        '{"metrics": {"test/error": "x"}}',
        '{"metrics": {"a": true}}',
        '{"metrics": {"test/error": 0.5}, "epochs": "two"}',
        '{"metrics": {"test/error": 0.5}, "arm": []}',
        '{"metrics": {"test/error": 0.5}, "seed": 1, "arm": {}}',
        '{"metrics": {"test/error": 0.5}, "seed": 0, "arm": {"model.init": "he"}}',
    ],
)
def test_a_result_of_other_values_or_of_another_run_is_named(tmp_path: Path, content: str):
    run = RunDir(tmp_path)
    (tmp_path / "result.json").write_text(content)

    with pytest.raises(DamagedFile, match=r"result\.json is"):
        run.read_result(planned={"arm": {}, "seed": 0})


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path: Path):
    for name in ("status.json", "result.json", "metrics.csv"):
        (tmp_path / name).mkdir()
    run = RunDir(tmp_path)

    for read in (run.read_status, run.read_result, run.read_metrics):
        with pytest.raises(DamagedFile):
            read()


@pytest.mark.parametrize(
    "content",
    [
        '{"runs": 3}',
        '{"runs": ["a"]}',
        '{"runs": {"a": 3}}',
        '{"runs": {"a": {"arm": {}}}}',
        '{"runs": {"a": {"arm": 3, "seed": 0}}}',
        '{"runs": {"a": {"arm": {}, "seed": "x"}}}',
        '{"runs": {"../a": {"arm": {}, "seed": 0}}}',
        '{"runs": {"..": {"arm": {}, "seed": 0}}}',
        '{"runs": {"/a": {"arm": {}, "seed": 0}}}',
        '{"runs": {"": {"arm": {}, "seed": 0}}}',
        '{"runs": {".": {"arm": {}, "seed": 0}}}',
        '{"experiment": 3}',
        '{"swept": 3}',
        '{"init_from": []}',
    ],
)
def test_a_plan_of_other_values_or_of_runs_elsewhere_is_named(tmp_path: Path, content: str):
    (tmp_path / "sweep.json").write_text(content)

    with pytest.raises(DamagedFile, match=r"sweep\.json is damaged"):
        list(SweepDir(tmp_path).runs())


def test_a_checkpoint_that_a_killed_process_was_writing_is_cleared_away(tmp_path: Path):
    run = RunDir(tmp_path)
    folder = run.last_checkpoint.parent
    folder.mkdir()
    for name in (
        "partial.ckpt",
        "best.partial",
        "previous.partial",
        "last.ckpt",
        "my_partial.ckpt",
    ):
        (folder / name).touch()

    run.clear_partial()

    assert {file.name for file in folder.iterdir()} == {"last.ckpt", "my_partial.ckpt"}


def test_a_row_that_was_cut_short_is_a_row_that_was_lost(tmp_path: Path):
    run = RunDir(tmp_path)
    run.progress.write_text("epoch,images,train/loss\n0.25,8,2.0\n0.5\n")

    with pytest.raises(DamagedFile, match=r"lost rows: the checkpoint is at images 16, .* at 8"):
        run.take_back(epochs=0, images=16)
