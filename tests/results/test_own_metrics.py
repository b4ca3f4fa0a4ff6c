"""A metric that a user has added, in a process that does not know it: the report."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from alexnet import vocabulary
from alexnet.config.experiment import Experiment, Measure
from alexnet.config.explain import explain
from alexnet.results import load_sweep, wording, write_report
from alexnet.results.compare import compare
from alexnet.results.effects import Outcome

from .handmade import LRN_ON_OFF, Run, write_csv, write_sweep

ACCURACY = {"printed": "test balanced accuracy", "better": "higher", "is_fraction": True}


def measured(metric: str, **about: Any) -> dict[str, Any]:
    return {**LRN_ON_OFF, "measure": {"kind": "final", "metric": metric, **about}}


def two_arms(metric: str, lrn: list[float], none: list[float]) -> list[Run]:
    return [
        Run(arm={"model.normalization": level}, seed=seed, metrics={metric: value})
        for level, values in (("lrn", lrn), ("none", none))
        for seed, value in enumerate(values)
    ]


def test_a_measure_carries_what_the_table_says_of_a_users_metric(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(vocabulary, "METRICS", dict(vocabulary.METRICS))
    vocabulary.add_metric(
        "balanced", "my_lab.Balanced", printed="balanced accuracy", better="higher",
        is_fraction=True,
    )  # fmt: skip

    plain = Measure(kind="final", metric="test/balanced").plain()

    assert {key: plain[key] for key in ACCURACY} == ACCURACY
    monkeypatch.undo()
    assert Measure.model_validate(plain).plain() == plain  # where nobody has registered it


def test_a_measure_of_a_shipped_metric_is_written_as_before():
    measure = Measure(kind="final", metric="val/error")

    assert measure.model_dump(by_alias=True, mode="json") == {
        "kind": "final",
        "metric": "val/error",
        "threshold": None,
    }


@pytest.mark.parametrize(
    ("metric", "hint"),
    [
        ("val/eror", "measure.metric=val/eror is not possible: did you mean val/error? Registered"),
        ("banana", "measure.metric=banana is not possible: choose one of train/loss, train/error"),
    ],
)
def test_a_metric_that_is_not_registered_is_refused_with_those_that_are(metric: str, hint: str):
    with pytest.raises(ValidationError) as error:
        Experiment.model_validate(measured(metric))

    assert hint in explain(error.value)


def test_where_higher_is_better_the_papers_side_is_below_no_effect():
    def verdict(about: Mapping[str, Any]) -> str | None:
        runs = [(0.9, "lrn"), (0.91, "lrn"), (0.8, "none"), (0.82, "none")]
        outcomes = [
            Outcome(
                run="", arm={"model.normalization": level}, seed=n % 2, fate="finished", value=value
            )
            for n, (value, level) in enumerate(runs)
        ]
        experiment = Experiment.model_validate(measured("test/balanced", **about))
        return compare(outcomes, experiment=experiment).verdict

    assert verdict(ACCURACY) == "agrees"
    assert verdict({**ACCURACY, "better": "lower"}) == "disagrees"


def test_the_best_rate_is_the_one_with_the_highest_value_where_higher_is_better():
    outcomes = [
        Outcome(run="", arm={"learning.lr": rate}, seed=0, fate="finished", value=value)
        for rate, value in ((0.1, 0.5), (0.2, 0.9), (0.3, 0.7))
    ]
    searched = {"factor": [], "search": "learning.lr", "claim": None}

    def best(about: Mapping[str, Any]) -> object:
        experiment = Experiment.model_validate({**measured("test/balanced", **about), **searched})
        [found] = compare(outcomes, experiment=experiment).best
        return found.level

    assert best(ACCURACY) == 0.2
    assert best({**ACCURACY, "better": "lower"}) == 0.1


def test_a_report_prints_a_users_metric_by_its_name_and_in_its_unit(sweep_folder: Path):
    runs = two_arms("test/balanced", [0.9, 0.91], [0.8, 0.82])
    write_sweep(sweep_folder, measured("test/balanced", **ACCURACY), runs)
    for run in runs:
        rows = [(1, 0.4), (2, run.metrics["test/balanced"])]
        write_csv(sweep_folder / run.name / "metrics.csv", ["epoch", "val/balanced"], rows)

    report = write_report(sweep_folder)

    assert "none ended with a test balanced accuracy 9.50 percentage points lower" in report.answer
    text = (report.folder / "README.md").read_text()
    assert "An effect below 0 means that the baseline is better" in text
    assert list(load_sweep(sweep_folder).metrics["val/balanced"][:2]) == [0.4, 0.9]
    measure = report.sweep.experiment.measure
    curve = wording.metric_named("val/balanced", measure)
    assert (curve.printed, curve.is_fraction) == ("validation balanced accuracy", True)


def test_finished_runs_without_the_metric_are_called_unmeasured_and_not_unfinished(
    sweep_folder: Path,
):
    runs = two_arms("test/error", [0.1, 0.2], [0.3, 0.4])
    margin = measured("val/margin", printed="validation margin")

    report = write_report(write_sweep(sweep_folder, margin, runs))

    assert {each.fate for each in report.sweep.outcomes()} == {"unmeasured"}
    assert report.sweep.why_unmeasured() == (
        "finished, but recorded no val/margin: the metrics recorded here are test/error"
    )
    assert "no seed has recorded val/margin in both arms" in report.answer
    assert "4 planned: 4 unmeasured" in (report.folder / "README.md").read_text()


@pytest.mark.parametrize(("key", "is_fraction"), [("val/error_top9", True), ("val/odd", False)])
def test_of_an_unknown_metric_only_errors_are_taken_for_fractions(key: str, is_fraction: bool):
    error = Measure(kind="final", metric="val/error")

    assert wording.metric_named(key, error).is_fraction is is_fraction
    assert wording.metric_named(key, error).printed == key
