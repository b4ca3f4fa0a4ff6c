import os
from pathlib import Path

import pytest

from alexnet.folders.run import RunDir

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
