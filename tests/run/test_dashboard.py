"""The golden file holds what W&B would be sent: after a wanted change, write it again with
`python src/dashboard.py +experiment=relu_vs_tanh --dry-run`.
"""

import itertools
import json
from pathlib import Path

import pytest
import yaml

from alexnet.cli.dashboard import main
from tests.conftest import plan

GOLDEN = Path(__file__).with_name("dashboard_relu_vs_tanh.json")


def test_workspace_and_page_of_an_experiment_are_those_of_the_golden_file(
    capsys: pytest.CaptureFixture[str],
):
    assert main(["+experiment=relu_vs_tanh", "--dry-run"]) == 0

    spec = json.loads(capsys.readouterr().out)
    assert spec == json.loads(GOLDEN.read_text())
    [runs] = spec["workspace"]["section"]["runSets"]
    assert runs["grouping"] == [{"section": "config", "name": "arm.value"}]
    curves, measure, *_ = spec["workspace"]["section"]["panelBankConfig"]["sections"]
    assert curves["panels"][0]["config"]["metrics"] == ["train/error"]
    assert curves["panels"][0]["config"]["expressions"] == ["0.25"]
    assert measure["panels"][0]["config"]["metrics"] == ["measure"]
    assert "epochs to 25 % training error" in measure["panels"][0]["config"]["chartTitle"]
    [claim] = [each for each in spec["report"]["blocks"] if each["type"] == "markdown-block"]
    assert "six times faster" in claim["content"]
    assert "id" not in spec["report"]


def test_a_dashboard_can_be_of_one_sweep(capsys: pytest.CaptureFixture[str]):
    main(["+experiment=relu_vs_tanh", "--dry-run", "--group=relu_vs_tanh/cifar10-0123abcd"])

    spec = json.loads(capsys.readouterr().out)
    grids = [each for each in spec["report"]["blocks"] if each["type"] == "panel-grid"]
    for runs in [
        *spec["workspace"]["section"]["runSets"],
        *(runs for each in grids for runs in each["metadata"]["runSets"]),
    ]:
        values = {each["key"]["name"]: each["value"] for each in runs["filters"]["filters"]}
        assert values["group"] == "relu_vs_tanh/cifar10-0123abcd"


def test_the_agents_of_a_sweep_file_try_what_one_command_would_try(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    command = ["+experiment=relu_vs_tanh_lr", "trials=1", "data=mnist5k", f"outputs={tmp_path}"]
    assert main([*command, "--sweep-file"]) == 0

    file = tmp_path / "relu_vs_tanh_lr" / "wandb_sweep.yaml"
    assert f"wandb sweep {file}" in capsys.readouterr().out
    content = yaml.safe_load(file.read_text())
    assert content["method"] == "grid"
    assert content["metric"] == {"name": "measure", "goal": "minimize"}
    *start, last = content["command"]
    assert last == "${args_no_hyphens}"
    words = [each for each in start if not each.startswith("${")]
    assert {"logger=wandb", "logger.wandb.mode=online", "data=mnist5k"} <= set(words)
    levels = [
        [f"{key}={value}" for value in each["values"]]
        for key, each in content["parameters"].items()
    ]
    tried = [plan(*words, *trial) for trial in itertools.product(*levels)]
    assert all(len(runs) == 1 for runs in tried)
    assert [runs[0].name for runs in tried] == [run.name for run in plan(*command)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["+experiment=relu_vs_tanh"], "searches nothing: add +tune=lr"),
        (["+experiment=lrn_on_off", "+tune=lr_and_decay"], "together"),
    ],
)
def test_a_sweep_file_is_of_a_search_that_w_and_b_can_make(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main([*words, f"outputs={tmp_path}", "--sweep-file"]) == 2

    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


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
