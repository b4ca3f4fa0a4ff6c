import json
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard

from alexnet.cli import export
from alexnet.folders.run import RunDir
from alexnet.folders.sweep import SweepDir
from alexnet.paths import PROJECT

from .saved import save_run

COMMAND = "python src/train.py seed=0,1,2 data=mnist5k data.root=/home/me outputs=/home/me/runs"
ERRORS = (0.05, 0.06, 0.07)


@pytest.fixture
def sweep(tmp_path: Path) -> SweepDir:
    """Three seeds of an arm and one of another, with a verdict on an analogue."""
    folder = SweepDir(tmp_path / "mnist5k-0123abcd")
    runs = {f"lrn_{seed}": ({"model.normalization": "lrn"}, seed) for seed in range(3)}
    runs["none_0"] = ({"model.normalization": "none"}, 0)
    for name, (arm, seed) in runs.items():
        run = folder.run(name)
        save_run(run.path, "data=mnist5k", num_classes=10, pixels=28)
        error = ERRORS[seed] if name != "none_0" else 0.5
        metrics = {"train/loss": 0.1, "val/error": 0.04, "test/error": error}
        run.write_result({"metrics": metrics, "test_images": 500, "seed": seed, "arm": arm})
        run.write_provenance({"command": COMMAND, "commit": "0123456789abcdef"})
    folder.write_plan({"runs": {n: {"arm": arm, "seed": s} for n, (arm, s) in runs.items()}})
    folder.report.mkdir()
    claim = {"text": "lrn helps", "direction": {"verdict": None, "analogue": "disagrees"}}
    verdict = {"experiment": "lrn_on_off", "claims": [claim]}
    (folder.report / "verdict.json").write_text(json.dumps(verdict))
    return folder


def card_of(run: RunDir, tmp_path: Path) -> str:
    dest = tmp_path / "new" / "README.md"
    assert export.main([f"checkpoint={run.path}", "format=card", f"dest={dest}"]) == 0
    return dest.read_text()


def test_a_card_says_what_was_measured_with_intervals(sweep: SweepDir, tmp_path: Path):
    text = card_of(sweep.run("lrn_0"), tmp_path)

    # 25 of 500: Clopper and Pearson; seeds: 0.06 -+ t(0.975, 2) * 0.01 / sqrt(3), t = 4.3027.
    assert "| test error, this run | 5.00 % | 3.26 % to 7.29 % | 500 images |" in text
    assert "| test error, mean | 6.00 % | 3.52 % to 8.48 % | 3 seeds |" in text
    assert "| validation error, mean | 4.00 % | - | 3 seeds |" in text  # no spread, no interval
    assert "on the claim \u201clrn helps\u201d: analogue: disagrees." in text
    assert "89,578 parameters" in text
    assert "`normalization=lrn`" in text
    assert "commit 0123456789ab" in text


def test_a_card_is_read_by_the_hub(sweep: SweepDir, tmp_path: Path):
    data = ModelCard(card_of(sweep.run("lrn_0"), tmp_path)).data

    [result] = data.eval_results
    assert (result.dataset_type, result.dataset_split) == ("ylecun/mnist", "test")
    assert (result.metric_type, result.metric_value) == ("accuracy", 0.95)
    assert (data.model_name, data.license) == ("CifarNet on MNIST5k: LRN", "mit")
    assert data.datasets == ["ylecun/mnist"]


def test_a_card_tells_no_folders_of_its_author(sweep: SweepDir, tmp_path: Path):
    text = card_of(sweep.run("lrn_0"), tmp_path)

    assert "python src/train.py seed=0,1,2 data=mnist5k\n" in text
    assert "/home/me" not in text
    assert str(tmp_path) not in text


def test_a_card_is_cited_as_the_project_is(sweep: SweepDir, tmp_path: Path):
    assert PROJECT is not None
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text())
    [paper] = citation["references"]

    text = card_of(sweep.run("none_0"), tmp_path)

    for cited in (citation["title"], citation["authors"][0]["name"], citation["url"]):
        assert f"{{{cited}}}" in text
    assert f"version = {{{citation['version']}}}" in text
    for word in (
        paper["title"],
        paper["url"],
        *(each["family-names"] for each in paper["authors"]),
    ):
        assert word in text
    assert f"{paper['start']}--{paper['end']}" in text


def test_a_run_that_is_not_finished_has_no_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    save_run(tmp_path / "run", "data=mnist5k", num_classes=10, pixels=28)
    dest = tmp_path / "card.md"

    assert export.main([f"checkpoint={tmp_path / 'run'}", "format=card", f"dest={dest}"]) == 2

    assert "run is not finished" in capsys.readouterr().err
    assert not dest.exists()
