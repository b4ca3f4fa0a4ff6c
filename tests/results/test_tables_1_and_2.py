"""Tables 1 and 2 of the paper: a run that was evaluated over ten views, and its report."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from alexnet.paths import PROJECT
from alexnet.results import write_report

from .handmade import Run, write_json, write_sweep

CONFIG = {"model._target_": "alexnet.model.AlexNet", "trainer.max_epochs": 90}


def claimed(name: str) -> dict[str, Any]:
    file = yaml.safe_load((PROJECT / "conf" / "experiment" / f"{name}.yaml").read_text())
    return {"factor": [], "effect": "difference", **file["experiment"]}


def evaluated(folder: Path, *, images: int, top1: float, top5: float) -> Path:
    """A sweep of one run, trained and evaluated."""
    central = {"test/error": top1 + 0.016, "test/error_top5": top5 + 0.012}
    run = Run(arm={}, metrics=central, config=CONFIG, epochs=90)
    sweep = write_sweep(folder / "imagenet-0123abcd", claimed("alexnet_paper"), [run])
    write_json(
        sweep / run.name / "evaluation.json",
        {
            "metrics": {"test/loss": 1.6, "test/error": top1, "test/error_top5": top5},
            "images": images,
            "crops": 10,
        },
    )
    return sweep


@pytest.mark.parametrize(
    ("images", "top1", "top5", "of_2010", "of_2012"),
    [
        (150_000, 0.376, 0.171, "compatible", None),  # Table 1
        (50_000, 0.409, 0.183, None, "compatible"),  # Table 2
        (50_000, 0.440, 0.210, None, "larger"),
    ],
)
def test_one_run_gets_a_verdict_on_the_table_of_its_images(
    tmp_path: Path, images: int, top1: float, top5: float, of_2010: str | None, of_2012: str | None
):
    report = write_report(evaluated(tmp_path, images=images, top1=top1, top5=top5))

    content = json.loads((report.folder / "verdict.json").read_text())
    claims = [each for each in content["claims"] if each["measure"]["metric"].startswith("ten")]
    assert [each["measured"][0]["images"] for each in claims] == [images] * 4
    assert [each["measured"][0]["mean"] for each in claims] == [top1, top5] * 2
    for each, verdict in zip(claims, (of_2010, of_2010, of_2012, of_2012), strict=True):
        assert (None if each["elsewhere"] else each["size"]["verdict"]) == verdict
        assert each["size"]["margin"] == 0.01
    text = (report.folder / "README.md").read_text()
    assert f"over the {images:,} test images of one run" in text
    assert "about 37.5 %, margin 1 percentage points (ours)" in text


def test_before_it_is_evaluated_nothing_is_known_of_ten_views(tmp_path: Path):
    sweep = evaluated(tmp_path, images=50_000, top1=0.41, top5=0.18)
    next(sweep.glob("*/evaluation.json")).unlink()
    content = json.loads((write_report(sweep).folder / "verdict.json").read_text())
    assert [each["size"]["why"] for each in content["claims"][2:]] == ["not measured yet"] * 4
