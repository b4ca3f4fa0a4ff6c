import logging
from dataclasses import replace
from pathlib import Path

import pytest

from alexnet.folders.disk import Cost, Disk
from alexnet.folders.run import RunDir
from alexnet.sweep.display import Display

DISK = Disk(checkpoint=500_000_000, there=0, free=600_000_000_000)
COST = Cost(
    images_per_second=2310.4, seconds=36_000, seconds_in_all=36_000, may_end_earlier=False,
    memory_bytes=3.1e9, processes=1, disk=DISK,
)  # fmt: skip


def test_what_a_run_costs_is_one_line():
    assert COST.describe() == (
        "2,310 images/s, about 10.0 hours to go; memory 3.1 GB; "
        "checkpoints take up to 2.0 GB of disk, 600.0 GB are free"
    )


def test_a_run_that_may_end_at_an_error_takes_so_long_at_most():
    cost = replace(COST, may_end_earlier=True, processes=2, seconds=3_000)

    assert "at most 50 minutes to go; memory 3.1 GB in each of 2 processes" in cost.describe()


def test_a_cost_is_read_as_it_was_written():
    assert Cost.read(COST.plain()) == COST


@pytest.mark.parametrize(
    ("running", "waiting", "hours"),
    [(1, 0, 10), (1, 5, 60), (2, 4, 30), (2, 3, 30), (4, 1, 20)],
)
def test_a_sweep_takes_as_many_rounds_as_its_runs_need(running: int, waiting: int, hours: int):
    text = COST.describe_sweep(running=running, waiting=waiting)

    assert f"about {hours} hours ({hours / 24:.1f} days)" in text or f"{hours}.0 hours" in text


def test_of_a_run_that_goes_on_a_sweep_counts_what_is_left():
    cost = replace(COST, seconds=3 * 3600)

    text = cost.describe_sweep(running=1, waiting=2)

    assert text.startswith("3 runs to go, 1 at once: about 23.0 hours")
    assert "they keep 3.0 GB of checkpoints, 600.0 GB are free" in text


@pytest.mark.parametrize(
    ("there", "free", "two", "four"),
    [
        (0, 999, False, False),
        (0, 1000, True, False),
        (0, 2000, True, True),
        (1500, 499, False, False),  # one must be written before another can go
        (1500, 500, True, True),
        (500, 600, True, False),
    ],
)
def test_a_disk_holds_checkpoints_beside_those_that_are_there(
    there: int, free: int, two: bool, four: bool
):
    disk = Disk(checkpoint=500, there=there, free=free)

    assert (disk.holds(2), disk.holds(4)) == (two, four)


def test_a_disk_too_small_for_two_checkpoints_is_refused_and_one_for_three_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    with pytest.raises(OSError, match=r"too full: a checkpoint takes 500 MB.* 900 MB are free"):
        replace(DISK, free=900_000_000).check(tmp_path)

    replace(DISK, free=1_600_000_000).check(tmp_path)
    assert "may fill up" in caplog.text
    assert "up to 2.0 GB of disk, 1.6 GB are free: NOT ENOUGH" in caplog.text


def test_a_disk_with_room_is_not_spoken_of(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    DISK.check(tmp_path)

    assert not caplog.text


def test_a_checkpoint_with_two_names_is_counted_once(tmp_path: Path):
    (tmp_path / "last.ckpt").write_bytes(bytes(1000))
    (tmp_path / "best.ckpt").hardlink_to(tmp_path / "last.ckpt")
    (tmp_path / "previous.ckpt").write_bytes(bytes(500))

    assert Disk.of(tmp_path, checkpoint=1000).there == 1500
    assert Disk.of(tmp_path / "not" / "yet", checkpoint=1000).free > 0


def run_folder(path: Path) -> RunDir:
    run = RunDir(path)
    run.write_status({"state": "running"})
    return run


def test_the_launcher_tells_once_what_a_run_and_the_sweep_cost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    one, other = run_folder(tmp_path / "seed-0"), run_folder(tmp_path / "seed-1")
    with caplog.at_level(logging.INFO), Display(total=5) as display:
        display.started(one, max_epochs=90)
        display.started(other, max_epochs=90)
        display.update([one, other])
        assert "to go" not in caplog.text
        for run in (one, other):
            run.write_status({**run.read_status(), "cost": COST.plain()})
            display.update([one, other])

    told = [record.message for record in caplog.records if "to go" in record.message]
    assert told == [
        f"seed-0: {COST.describe()}",
        "5 runs to go, 2 at once: about 30.0 hours if all are like this one; "
        "they keep 5.0 GB of checkpoints, 600.0 GB are free",
    ]
