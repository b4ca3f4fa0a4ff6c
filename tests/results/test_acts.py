import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from alexnet.results import write_report

from .handmade import LRN_ON_OFF, Run, write_json, write_sweep


@pytest.fixture(autouse=True)
def unsaved_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alexnet.plotting.save", lambda drawn, folder: None)


def reported(folder: Path, *, reshaping: float) -> tuple[str, list[dict]]:
    """The report of a sweep in which LRN has this effect in seed 0, and 0.01 more in seed 1."""
    runs = [
        Run(
            arm={"model.normalization": level}, seed=seed, metrics={"val/error": error + seed / 100}
        )
        for level, error in (("lrn", 0.3), ("none", 0.4))
        for seed in (0, 1)
    ]
    write_sweep(folder, LRN_ON_OFF, runs)
    for run in runs:
        acts: dict = {"start": {}, "end": {}}
        if run.arm["model.normalization"] == "lrn":
            share = reshaping + run.seed / 100
            acts["start"] = {"norm1": {"factor": 1.0, "reshaping": 0.0}}
            acts["end"] = {"norm1": {"factor": 0.79, "reshaping": share}}
        write_json(folder / run.name / "acts.json", acts)
    write_report(folder)
    verdict = json.loads((folder / "report" / "verdict.json").read_text())
    return (folder / "report" / "README.md").read_text(), verdict["acts"]


def test_the_report_says_what_the_norms_do(tmp_path: Path):
    text, acts = reported(tmp_path, reshaping=0.05)

    assert "| lrn | norm1 | 2 | 1 | 0.79 | 0 % | 5.5 % |" in text
    assert "next to nothing**" not in text
    [norm] = acts
    assert (norm["arm"], norm["layer"], norm["n"]) == ({"model.normalization": "lrn"}, "norm1", 2)
    assert (norm["factor_at_start"], norm["factor_at_end"]) == (1.0, pytest.approx(0.79))
    assert norm["reshaping_at_end"] == pytest.approx(0.055)
    assert not norm["is_next_to_nothing"]


def test_a_norm_that_does_next_to_nothing_is_warned_of(tmp_path: Path):
    text, [norm] = reported(tmp_path, reshaping=0.01)  # 0.015 on average

    assert (
        "**The normalization of lrn does next to nothing**: at the end of training norm1 "
        "multiplies by 0.79 (1 at the start) and reshapes 1.5 %."
    ) in text
    assert norm["is_next_to_nothing"]


def report_of(
    folder: Path, reshaping: Mapping[str, float] | Mapping[float, float], *, key: str
) -> str:
    """The report of a sweep with one run and one norm for each level of a key."""
    runs = [Run(arm={key: level}, metrics={"val/error": 0.3}) for level in reshaping]
    write_sweep(folder, LRN_ON_OFF, runs)
    for run, share in zip(runs, reshaping.values(), strict=True):
        norm = {"factor": 0.79, "reshaping": share}
        write_json(folder / run.name / "acts.json", {"end": {"norm1": norm}})
    write_report(folder)
    return (folder / "report" / "README.md").read_text()


def test_several_arms_have_one_warning(tmp_path: Path):
    poolings = {"overlapping": 0.011, "non_overlapping": 0.012}
    text = report_of(tmp_path, poolings, key="model.pooling")

    assert text.count("does next to nothing") == 1
    assert (
        "**The normalization of 2 arms does next to nothing**: at the end of training it reshapes "
        "at most 1.2 % in overlapping; non_overlapping. Arms with and without it"
    ) in text


def test_the_warning_does_not_list_many_arms(tmp_path: Path):
    rates = dict.fromkeys((0.001, 0.002, 0.004, 0.008, 0.016), 0.011)
    text = report_of(tmp_path, rates, key="learning.lr")

    assert (
        "of 5 arms does next to nothing**: at the end of training it reshapes at most 1.1 %" in text
    )
    assert "at most 1.1 % in each. Arms with" in text


@pytest.mark.parametrize("content", ["{", '{"end": []}', '{"end": {"norm1": 3}}', "{}"])
def test_a_damaged_file_costs_the_line_and_not_the_report(tmp_path: Path, content: str):
    run = Run(arm={"model.normalization": "lrn"}, metrics={"val/error": 0.3})
    write_sweep(tmp_path, LRN_ON_OFF, [run])
    (tmp_path / run.name / "acts.json").write_text(content)

    write_report(tmp_path)

    verdict = json.loads((tmp_path / "report" / "verdict.json").read_text())
    assert verdict["acts"] == []
