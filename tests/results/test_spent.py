"""The times of a report in seconds and in FLOP."""

import json
from pathlib import Path

from alexnet.results.parts import Table
from alexnet.results.report import read_report
from alexnet.results.text import report_parts

from .handmade import RELU_VS_TANH, relu_and_tanh, write_csv, write_json, write_sweep


def with_costs(folder: Path, *, speeds: dict[str, list[float]], flop: dict[str, int]) -> Path:
    """ReLUs take 2 epochs, tanh units 8, of 100 images each."""
    write_sweep(folder, RELU_VS_TANH, relu_and_tanh({0: 2, 1: 2}, {0: 8, 1: 8}))
    for run in folder.glob("nonlinearity-*"):
        level = run.name.split("_")[0].partition("-")[2]
        rows = [(epoch, speed) for epoch, speed in enumerate(speeds[level], start=1)]
        write_csv(run / "metrics.csv", ["epoch", "images_per_second"], rows)
        about = json.loads((run / "provenance.json").read_text())
        write_json(run / "provenance.json", about | {"forward_flop": flop.get(level)})
    return folder


def rows_of(folder: Path) -> list[list[str]]:
    parts = list(report_parts(read_report(folder), ["curves"]))
    table = parts[parts.index("## The same in seconds and in FLOP") + 1]
    assert isinstance(table, Table)
    return [list(table.head), *map(list, table.rows)]


def test_the_times_are_also_given_in_seconds_and_in_flop(sweep_folder: Path):
    # 2 epochs of 100 images at a median of 50 images/s are 4 s; 8 of them at 25 are 32 s. One slow
    # epoch, in which the machine did something else, does not count.
    speeds = {"relu": [50, 50, 1], "tanh": [25, 25, 25]}
    with_costs(sweep_folder, speeds=speeds, flop={"relu": 1000, "tanh": 1000})
    head, relu, tanh, ratio = rows_of(sweep_folder)
    assert head[1:] == ["epochs", "seconds", "FLOP"]
    assert relu == ["relu", "2.00", "4.00", "6.00e+05"]  # 2 x 100 x 3 x 1000
    assert tanh == ["tanh", "8.00", "32.0", "2.40e+06"]
    assert [cell.split()[0] for cell in ratio[1:]] == ["4.00", "8.00", "4.00"]


def test_a_unit_that_some_run_did_not_record_is_left_out(sweep_folder: Path):
    speeds = {"relu": [50], "tanh": [25]}
    with_costs(sweep_folder, speeds=speeds, flop={"relu": 1000})
    assert rows_of(sweep_folder)[0][1:] == ["epochs", "seconds"]
