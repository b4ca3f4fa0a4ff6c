"""The golden file holds what W&B would be sent: after a wanted change, write it again with
`python src/dashboard.py +experiment=relu_vs_tanh --dry-run`.
"""

import json
from pathlib import Path

import pytest

from alexnet.cli.dashboard import main

GOLDEN = Path(__file__).with_name("dashboard_relu_vs_tanh.json")


def test_the_workspace_of_an_experiment_is_that_of_the_golden_file(
    capsys: pytest.CaptureFixture[str],
):
    assert main(["+experiment=relu_vs_tanh", "--dry-run"]) == 0

    spec = json.loads(capsys.readouterr().out)
    assert spec == json.loads(GOLDEN.read_text())
    [runs] = spec["section"]["runSets"]
    assert runs["grouping"] == [{"section": "config", "name": "arm.value"}]
    curves = spec["section"]["panelBankConfig"]["sections"][0]["panels"]
    assert curves[0]["config"]["metrics"] == ["train/error"]
    assert curves[0]["config"]["expressions"] == ["0.25"]


def test_a_mistyped_experiment_is_answered_before_anything_is_sent(
    capsys: pytest.CaptureFixture[str],
):
    assert main(["+experiment=relu_vs_tan", "--entity=me"]) == 2

    assert "did you mean relu_vs_tanh?" in capsys.readouterr().err


def test_a_workspace_that_is_to_be_saved_needs_an_entity(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        main(["+experiment=relu_vs_tanh"])

    assert ended.value.code == 2
    assert "add --entity NAME" in capsys.readouterr().err
