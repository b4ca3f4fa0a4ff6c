"""The report as people and programs read it."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from alexnet.cli import report as command
from alexnet.results import write_report, write_scorecard
from alexnet.results.scorecard import readme_table, shipped

from .handmade import (
    ABLATION_GRID,
    LRN_ON_OFF,
    RELU_VS_TANH,
    Run,
    falling,
    relu_and_tanh,
    write_sweep,
)

SRC = Path(__file__).parents[2] / "src"
VERDICT_KEYS = {
    "experiment",
    "section",
    "factor",
    "measure",
    "paper",
    "arms",
    "effects",
    "contains_paper_value",
    "verdict",
}


def readme(folder: Path) -> str:
    return (folder / "report" / "README.md").read_text()


def verdict(folder: Path) -> dict:
    return json.loads((folder / "report" / "verdict.json").read_text())


@pytest.fixture(autouse=True)
def unsaved_figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw figures without saving them, which would take seconds, unless a test uses `figures`."""
    if "figures" not in request.fixturenames:
        monkeypatch.setattr("alexnet.plotting.save", lambda drawn, folder: None)


@pytest.fixture
def figures() -> None:
    """Used by tests that read the files of figures."""


@pytest.fixture
def three_seeds(sweep_folder: Path) -> Path:
    """ReLU crosses at 1.5, 2 and 2.5 epochs, tanh at 4, 4.2 and 3.8 times that."""
    relu, tanh = {0: 1.5, 1: 2.0, 2: 2.5}, {0: 6.0, 1: 8.4, 2: 9.5}
    runs = relu_and_tanh(relu, tanh, end=12)
    for run in runs[3:]:
        run.config = {"learning.lr": 0.003}
    return write_sweep(sweep_folder, RELU_VS_TANH, runs)


def test_names_in_a_report_are_neither_html_nor_formulas(tmp_path: Path):
    names = ("<b>bold<b>", "=HYPERLINK(1)", "-1", "@x")
    runs = [Run(arm={"model.name": name}, val_errors=[0.2]) for name in names]
    own = {**LRN_ON_OFF, "name": "train", "section": None, "claim": None, "paper": None}
    folder = write_sweep(
        tmp_path / "train" / "mnist5k-89abcdef", {**own, "factor": ["model.name"]}, runs
    )

    write_report(folder)

    with (folder / "report" / "table.csv").open(newline="") as file:
        cells = [row["model.name"] for row in csv.DictReader(file)]
    assert cells == ["<b>bold<b>", "'=HYPERLINK(1)", "-1", "'@x"]
    assert "<b>" not in re.sub(r"`[^`\n]*`", "", readme(folder))
    assert "&lt;b>bold&lt;b>" in readme(folder)


def test_a_report_has_its_files(three_seeds: Path, figures: None):
    report = write_report(three_seeds)
    names = {path.name for path in report.files}
    assert names >= {"README.md", "table.csv", "verdict.json", "learning_curves.svg"}
    assert {Path(name).stem for name in names if name.endswith(".png")} == {
        Path(name).stem for name in names if name.endswith(".svg")
    }
    assert all(path.stat().st_size for path in report.files)
    assert not list(three_seeds.glob(".report*"))


def test_the_verdict_has_the_keys_and_the_numbers(three_seeds: Path):
    write_report(three_seeds)
    content = verdict(three_seeds)
    assert set(content) >= VERDICT_KEYS
    assert content["factor"] == "model.nonlinearity"
    relu, tanh = content["arms"]
    assert (relu["level"], relu["n"], relu["censored"]) == ("relu", 3, 0)
    assert relu["values"] == pytest.approx([1.5, 2.0, 2.5])
    assert relu["mean"] == pytest.approx(2)
    assert relu["ci95"] == pytest.approx([2 - 1.242070, 2 + 1.242070], abs=1e-5)
    assert tanh["mean"] == pytest.approx(23.9 / 3)
    [effect] = content["effects"]
    assert (effect["kind"], effect["of"]) == ("ratio", "nonlinearity: tanh vs relu")
    # logarithms of 4, 4.2 and 3.8: mean 1.385460, half = 4.302653 * s / sqrt(3) = 0.124324
    assert effect["mean"] == pytest.approx(3.996664)
    assert effect["ci95"] == pytest.approx([3.529430, 4.525751], rel=1e-6)
    assert (content["verdict"], content["contains_paper_value"]) == ("agrees", False)


def test_the_answer_comes_first_with_its_numbers_and_n(three_seeds: Path):
    report = write_report(three_seeds)
    answer = (
        "tanh took 4.00 times the epochs of relu to reach 25 % training error "
        "(95 % interval 3.53 to 4.53, n = 3 seeds); the paper: 6 times."
    )
    assert readme(three_seeds).splitlines()[2] == f"**{answer}** Verdict: **agrees, smaller**."
    assert report.line == f"relu_vs_tanh on cifar10: agrees, smaller. {answer}"


def test_the_report_tells_what_differed_beyond_the_factor_and_where_it_came_from(
    three_seeds: Path,
):
    write_report(three_seeds)
    text = readme(three_seeds)
    assert "| `learning.lr` | 0.01 | 0.003 |" in text
    assert "`init=paper`" in text
    assert "Rates: chosen for each nonlinearity separately" in text
    assert "0123abc (without uncommitted changes)" in text
    assert "torch 2.7.0" in text


def test_the_ratio_is_shown_at_ten_thresholds(three_seeds: Path):
    write_report(three_seeds)
    table = readme(three_seeds).partition("## At other thresholds")[2].partition("##")[0]
    rows = [row.split(" | ") for row in table.splitlines() if " % |" in row]
    assert [row[0].strip("| ") for row in rows][::9] == ["60 %", "15 %"]
    assert len(rows) == 10
    assert [row[1][:4] for row in rows if "25 %" in row[0]] == ["4.00"]


def test_the_table_has_a_row_per_run(three_seeds: Path):
    write_report(three_seeds)
    with (three_seeds / "report" / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["run"] for row in rows][:2] == [
        "nonlinearity-relu_seed-0",
        "nonlinearity-relu_seed-1",
    ]
    assert len(rows) == 6
    assert float(rows[3]["measure"]) == pytest.approx(6)


def test_failed_diverged_missing_and_censored_runs_are_shown_with_their_cause(sweep_folder: Path):
    tanh = {"model.nonlinearity": "tanh"}
    runs = [
        *relu_and_tanh({0: 2.0, 1: 2.0}, {0: 30.0}),
        Run(arm=tanh, seed=1, progress=[(0.5, 0.9)], state="failed", cause="diverged"),
        Run(arm=tanh, seed=2, state="failed", cause="out of\nmemory"),
        Run(arm=tanh, seed=3, state=None),
    ]
    write_report(write_sweep(sweep_folder, RELU_VS_TANH, runs))
    text = readme(sweep_folder)
    assert "6 planned: 2 finished, 1 censored, 1 diverged, 1 failed, 1 missing." in text
    assert "| diverged | more than 10 |" in text
    assert "| censored | more than 10 |" in text
    assert "[nonlinearity-tanh_seed-2](../nonlinearity-tanh_seed-2) | failed" in text
    assert "| out of memory |" in text
    tanh_arm = verdict(sweep_folder)["arms"][1]
    assert (tanh_arm["values"], tanh_arm["censored"], tanh_arm["mean"]) == ([None, None], 1, None)
    assert [tanh_arm[key] for key in ("diverged", "failed", "missing")] == [1, 1, 1]


def test_censored_seeds_make_the_answer_a_bound(sweep_folder: Path):
    runs = relu_and_tanh({0: 2.0, 1: 2.02}, {0: 30.0, 1: 30.0})
    report = write_report(write_sweep(sweep_folder, RELU_VS_TANH, runs))
    assert "tanh took at least 4.98 times the epochs of relu" in report.answer
    assert "2 of 2 runs of tanh did not reach the threshold in 10 epochs" in report.answer
    [effect] = verdict(sweep_folder)["effects"]
    assert (effect["bound"], effect["ci95"]) == ("lower", [pytest.approx(4.670412, rel=1e-4), None])


def test_errors_are_fractions_in_files_and_per_cent_in_print(sweep_folder: Path):
    runs = [
        Run(arm={"model.normalization": level}, seed=seed, val_errors=[0.5, error])
        for level, errors in (("lrn", [0.11, 0.12]), ("none", [0.13, 0.141]))
        for seed, error in enumerate(errors)
    ]
    report = write_report(write_sweep(sweep_folder, LRN_ON_OFF, runs))
    assert "2.05 percentage points higher than lrn" in report.answer
    assert "the paper: +2 percentage points" in report.answer
    assert "| lrn | 2 | 11.5 % |" in readme(sweep_folder)
    assert verdict(sweep_folder)["effects"][0]["mean"] == pytest.approx(0.0205)


def grid_of_runs() -> list[Run]:
    return [
        Run(
            arm={"model.normalization": a, "model.pooling": b},
            seed=seed,
            # Seed 1 has effects that are a hundredth larger.
            val_errors=[
                0.1 + (1 + 0.01 * seed) * (0.02 * (a == "none") + 0.01 * (b == "non_overlapping"))
            ],
        )
        for a in ("lrn", "none")
        for b in ("overlapping", "non_overlapping")
        for seed in range(2)
    ]


def test_a_grid_reports_its_main_effects_and_interaction(sweep_folder: Path, figures: None):
    write_report(write_sweep(sweep_folder, ABLATION_GRID, grid_of_runs()))
    content = verdict(sweep_folder)
    assert content["factor"] == ["model.normalization", "model.pooling"]
    assert content["arms"][3]["level"] == "none, non_overlapping"
    assert [effect["mean"] for effect in content["effects"]] == pytest.approx(
        [0.0201, 0.01005, 0.0]
    )
    assert content["verdict"] == "agrees"
    assert (sweep_folder / "report" / "validation_curves.svg").exists()


def test_a_search_reports_the_best_level_of_each_arm(sweep_folder: Path, figures: None):
    crossings = {("relu", 0.01): 2, ("relu", 0.1): 4, ("tanh", 0.01): 8, ("tanh", 0.1): 30}
    runs = [
        Run(
            arm={"model.nonlinearity": level, "learning.lr": lr},
            seed=seed,
            progress=falling(crossing),
        )
        for (level, lr), crossing in crossings.items()
        for seed in range(2)
    ]
    write_report(write_sweep(sweep_folder, {**RELU_VS_TANH, "search": "learning.lr"}, runs))
    assert [best["level"] for best in verdict(sweep_folder)["best"]] == [0.01, 0.01]
    assert "| arm | best `learning.lr` |" in readme(sweep_folder)
    assert "| tanh | 0.01 (on the edge) |" in readme(sweep_folder)
    assert (sweep_folder / "report" / "search.png").exists()


@pytest.mark.parametrize("state", ["finished", None])
def test_a_single_run_gets_a_report_without_a_comparison(sweep_folder: Path, state: str | None):
    plain = {**LRN_ON_OFF, "name": "train", "section": None, "claim": None, "paper": None}
    runs = [Run(arm={}, val_errors=[0.4], state=state)]
    report = write_report(write_sweep(sweep_folder, {**plain, "factor": []}, runs))
    assert "final validation error" in report.answer
    assert verdict(sweep_folder)["effects"] == []
    assert verdict(sweep_folder)["verdict"] is None
    assert "Verdict: **nothing to compare**." in readme(sweep_folder)
    assert report.line.startswith("train on cifar10: nothing to compare. All runs: final ")


def test_several_seeds_of_one_level_are_not_too_few_runs(sweep_folder: Path):
    runs = relu_and_tanh({0: 2.0, 1: 2.5, 2: 3.0}, {})
    report = write_report(write_sweep(sweep_folder, RELU_VS_TANH, runs))
    assert "relu: epochs to 25 % training error 2.5 (n = 3 seeds)" in report.answer
    assert "too few" not in readme(sweep_folder).partition("## How to read")[0]


def test_one_run_of_a_kind_is_in_the_singular(sweep_folder: Path):
    write_report(write_sweep(sweep_folder, RELU_VS_TANH, relu_and_tanh({0: 2.0}, {0: 30.0}, end=1)))
    text = readme(sweep_folder)
    assert "1 of 1 run of relu did not reach the threshold in 1 epoch;" in text
    [provenance] = (sweep_folder / "nonlinearity-tanh_seed-0").glob("provenance.json")
    content = json.loads(provenance.read_text())
    provenance.write_text(json.dumps({**content, "threads": 4}))
    write_report(sweep_folder)
    assert "- threads: 2: 1 run; 4: 1 run" in readme(sweep_folder)


def test_a_plain_sweep_of_numbers_has_no_claim_to_agree_with(sweep_folder: Path):
    plain = {**LRN_ON_OFF, "name": "train", "section": None, "claim": None, "paper": None}
    runs = [
        Run(arm={"learning.lr": lr}, seed=seed, val_errors=[error + 0.001 * seed])
        for lr, error in ((0.1, 0.3), (0.01, 0.2))
        for seed in range(2)
    ]
    report = write_report(write_sweep(sweep_folder, {**plain, "factor": ["learning.lr"]}, runs))
    assert "lr 0.01 ended with a validation error 10.00 percentage points lower" in report.answer
    assert [each["level"] for each in verdict(sweep_folder)["arms"]] == [0.1, 0.01]
    assert verdict(sweep_folder)["verdict"] is None


def test_a_second_report_replaces_the_first_as_a_whole(three_seeds: Path):
    write_report(three_seeds)
    first = {path.name: path.read_bytes() for path in (three_seeds / "report").iterdir()}
    (three_seeds / "report" / "left_over.svg").write_text("old")
    write_report(three_seeds)
    second = {path.name: path.read_bytes() for path in (three_seeds / "report").iterdir()}
    assert second == first


def test_a_sweep_in_which_nothing_ran_yet_is_reported_as_such(sweep_folder: Path):
    runs = [Run(arm={"model.nonlinearity": level}, state=None) for level in ("relu", "tanh")]
    report = write_report(write_sweep(sweep_folder, RELU_VS_TANH, runs))
    assert "no seed has finished in both arms" in report.answer
    assert "2 planned: 2 missing." in readme(sweep_folder)


# The script


def script(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SRC / "report.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_script_reports_a_sweep(three_seeds: Path):
    done = script(three_seeds)
    assert done.returncode == 0, done.stderr
    assert "relu_vs_tanh on cifar10: agrees" in done.stdout
    assert not (three_seeds / "scorecard.md").exists()


def test_the_script_puts_all_claims_of_a_folder_on_a_scorecard(three_seeds: Path):
    outputs = three_seeds.parents[1]
    runs = [Run(arm={"model.normalization": level}, val_errors=[0.2]) for level in ("lrn", "none")]
    write_sweep(outputs / "lrn_on_off" / "mnist5k-89abcdef", LRN_ON_OFF, runs)
    done = script(outputs)
    assert done.returncode == 0, done.stderr
    card = (outputs / "scorecard.md").read_text()
    [relu] = [row for row in card.splitlines() if "[relu_vs_tanh]" in row]
    assert (
        "| cifar10 | 6 times | - | 4.00 times | 3.53 to 4.53 | 3 / 3 | agrees | smaller | 0.0004 |"
        in relu
    )
    assert relu in done.stdout
    [lrn] = [row for row in card.splitlines() if "[lrn_on_off]" in row]
    assert "| mnist5k |" in lrn
    assert "| 1 / 1 | too few finished runs |" in lrn


def test_claims_of_a_scorecard_are_adjusted_together(three_seeds: Path):
    outputs = three_seeds.parents[1]
    # Differences of 1, 2 and 3 points, t = 3.46: p = 0.074; of 1.5, 2 and 2.5, t = 6.93: p = 0.020
    for seed, others in enumerate(([0.215, 0.22, 0.225], [0.2152, 0.22, 0.2248])):
        runs = [
            Run(arm={"model.normalization": level}, seed=number, val_errors=[error])
            for level, errors in (("lrn", [0.2] * 3), ("none", others))
            for number, error in enumerate(errors)
        ]
        write_sweep(outputs / "lrn_on_off" / f"cifar10-0000000{seed}", LRN_ON_OFF, runs)
    reports = [write_report(sweep.parent) for sweep in sorted(outputs.glob("*/*/sweep.json"))]

    card = write_scorecard(outputs, reports)

    alone = [report.comparison.claims[0].direction.p for report in reports]
    assert alone == pytest.approx([0.0202, 0.0187, 0.0004], abs=2e-4)
    # three claims: 3 x 0.0004, then 2 x 0.0187 and what is at least as much
    run = [row for row in card.splitlines() if "| cifar10 |" in row and "| not run |" not in row]
    assert [row.split(" | ")[-2] for row in run] == ["0.0013", "0.0373", "0.0373"]


@pytest.mark.parametrize("name", ["mine", "saturating_cifar10"])
def test_a_claim_that_experiments_share_has_one_row(tmp_path: Path, name: str):
    claim = next(each for each in shipped() if each.name == "saturating").claims[0]
    runs = [
        Run(arm={"model.nonlinearity": level}, seed=seed, progress=falling(at))
        for level, at in (("relu", 2), ("sigmoid", 8))
        for seed in (1, 2, 3)
    ]
    experiment = {**RELU_VS_TANH, "name": name, "claims": [claim.model_dump()]}
    del experiment["claim"], experiment["paper"]
    if name != "mine":  # where a claim was edited after its run, its place counts
        experiment["claims"][0]["note"] = "an older note"
    report = write_report(write_sweep(tmp_path / name / "cifar10-89abcdef", experiment, runs))

    [without], [row] = (
        [line for line in write_scorecard(tmp_path, reports).splitlines() if claim.text in line]
        for reports in ([], [report])
    )

    assert "| saturating | cifar10 |" in without
    assert "| not run |" in without
    assert f"| [{name}](" in row


def test_the_cost_of_a_sweep_includes_runs_that_were_stopped(sweep_folder: Path):
    runs = [
        Run(arm={"model.normalization": level}, val_errors=[0.2], state=state)
        for level, state in (("lrn", "finished"), ("none", "stopped"))
    ]
    write_sweep(sweep_folder, LRN_ON_OFF, runs)
    rows = "epoch,val/error,seconds\n1.0,0.2,45.0\n2.0,0.2,90.0\n"
    (sweep_folder / runs[1].name / "metrics.csv").write_text(rows)

    card = write_scorecard(sweep_folder.parent, [write_report(sweep_folder)])

    assert "| 2 runs, 2.5 min |" in card


def test_own_sweeps_and_rehearsals_are_no_claims_on_the_scorecard(three_seeds: Path):
    outputs = three_seeds.parents[1]
    own = {**LRN_ON_OFF, "name": "train", "section": None, "claim": None, "paper": None}
    runs = [Run(arm={"learning.lr": lr}, val_errors=[0.2]) for lr in (0.1, 0.01)]
    write_sweep(outputs / "train" / "mnist5k-89abcdef", {**own, "factor": ["learning.lr"]}, runs)
    limited = {"trainer.limit_train_batches": 4}
    runs = [
        Run(arm={"model.normalization": level}, val_errors=[0.2], config=limited)
        for level in ("lrn", "none")
    ]
    write_sweep(outputs / "lrn_on_off" / "mnist5k-01234567", LRN_ON_OFF, runs)
    reports = [write_report(sweep.parent) for sweep in sorted(outputs.glob("*/*/sweep.json"))]
    for report in reports:
        title = (report.folder / "README.md").read_text().splitlines()[0]
        is_trial = report.sweep.experiment.name == "lrn_on_off"
        assert title.startswith("# REHEARSAL: lrn_on_off" if is_trial else "# ")
        assert ("REHEARSAL" in title + report.line) is is_trial
    text = write_scorecard(outputs, reports)
    assert (outputs / "scorecard.md").read_text() == f"{text}\n"
    parts = {part.partition("\n")[0]: part for part in text.split("\n\n## ")}
    for name, title in (
        ("relu_vs_tanh", "Claims of the paper and of the logs of 2012"),
        ("train", "Sweeps without a claim"),
        ("lrn_on_off", "Trial runs, on a few batches: no evidence"),
    ):
        assert [each for each, part in parts.items() if f"[{name}]" in part] == [title]


def test_a_search_is_no_evidence_on_the_scorecard_and_not_in_the_readme(three_seeds: Path):
    outputs = three_seeds.parents[1]
    search = {**RELU_VS_TANH, "name": "relu_vs_tanh_lr", "search": "learning.lr"}
    runs = [
        Run(arm={"model.nonlinearity": level, "learning.lr": lr}, progress=falling(at))
        for level, at in (("relu", 2), ("tanh", 8))
        for lr in (0.001, 0.01, 0.1)
    ]
    write_sweep(outputs / "relu_vs_tanh_lr" / "cifar10-89abcdef", search, runs)
    reports = [write_report(sweep.parent) for sweep in sorted(outputs.glob("*/*/sweep.json"))]

    card = write_scorecard(outputs, reports)

    [part] = [each for each in card.split("\n\n## ") if "[relu_vs_tanh_lr, cifar10-8" in each]
    assert part.startswith("Searches, which choose by the same runs that they compare")
    table = readme_table(reports, outputs)
    assert ("relu_vs_tanh/" in table, "relu_vs_tanh_lr" in table) == (True, False)


def test_the_readme_has_each_effect_with_its_interval_and_says_which_claims_are_ours(
    sweep_folder: Path,
):
    ours = {**ABLATION_GRID, "claim": None, "claims": [{"by": "us", "text": "Both lower it."}]}
    report = write_report(write_sweep(sweep_folder, ours, grid_of_runs()))

    [row] = re.findall(r"\| 3\.1, 3\.3, 3\.4 \|.*", readme_table([report], sweep_folder))

    assert "| Both lower it. (our claim) |" in row
    assert (
        "| normalization: none vs lrn +2.01 (+1.88 to +2.14); pooling: non_overlapping vs "
        "overlapping +1.00 (+0.94 to +1.07) percentage points |"
    ) in row


def test_a_damaged_sweep_does_not_keep_the_others_from_being_reported(three_seeds: Path):
    damaged = three_seeds.with_name("cifar10-damaged")
    damaged.mkdir()
    (damaged / "sweep.json").write_text("{")
    done = script(three_seeds.parent)
    assert done.returncode == 1
    assert "cifar10-damaged" in done.stderr
    assert (three_seeds / "report" / "README.md").exists()


def test_a_wrong_folder_is_answered_in_one_line_with_status_2(tmp_path: Path):
    for wrong in (tmp_path, tmp_path / "nowhere"):
        done = script(wrong)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert str(wrong) in done.stderr
        assert "sweep.json" in done.stderr


def test_reporting_needs_neither_torch_nor_lightning_nor_hydra():
    check = (
        "import sys, alexnet.results.report, alexnet.results.figures.draw\n"
        "assert not {'torch', 'lightning', 'hydra'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", check], cwd=SRC, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_what_a_killed_process_was_writing_is_cleared_away(three_seeds: Path):
    left, under_way = three_seeds / ".report-1", three_seeds / ".report-2"
    for folder in (left, under_way):
        folder.mkdir()
    os.utime(left, (0, 0))

    write_report(three_seeds)

    assert not left.exists()
    assert under_way.exists()


@pytest.mark.parametrize(
    ("recorded", "shown"),
    [
        ({"commit": None, "dirty": False, "version": "9.8.7"}, "none (installed, version 9.8.7)"),
        ({"commit": None, "dirty": None, "version": "9.8.7"}, "unknown"),
        ({"commit": "0123abc", "dirty": True}, "0123abc (with uncommitted changes)"),
        ({"commit": "0123abc", "dirty": None}, "0123abc (perhaps with uncommitted changes)"),
    ],
)
def test_the_code_of_an_installed_program_is_its_version(
    three_seeds: Path, recorded: dict[str, object], shown: str
):
    for file in three_seeds.glob("*/provenance.json"):
        file.write_text(json.dumps(recorded))

    write_report(three_seeds)

    assert f"- commit: {shown}\n" in readme(three_seeds)


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"commit": "4567def"}, "code"),
        ({"dirty": True}, "code"),
        ({"versions": {"torch": "2.8.0"}}, "libraries"),
    ],
)
def test_runs_of_different_code_or_libraries_are_pointed_out(
    three_seeds: Path, changed: dict[str, object], what: str
):
    write_report(three_seeds)
    assert "Not all runs were made by the same" not in readme(three_seeds)
    file = next(three_seeds.glob("*/provenance.json"))
    file.write_text(json.dumps(json.loads(file.read_text()) | changed))

    write_report(three_seeds)

    warning = f"**Not all runs were made by the same {what}**: "
    [line] = [line for line in readme(three_seeds).splitlines() if line.startswith(warning)]
    assert "5 runs" in line
    assert "1 run" in line


def test_the_page_is_named_when_no_browser_can_show_it(
    three_seeds: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("webbrowser.open", lambda address: False)

    assert command.main([str(three_seeds), "--open"]) == 0

    page = three_seeds / "report" / "index.html"
    assert capsys.readouterr().err == f"no browser could be started: open {page}\n"


def test_a_sweep_file_without_runs_is_said_to_have_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "sweep.json").write_text("{}")

    assert command.main([str(tmp_path)]) == 2

    assert f"{tmp_path / 'sweep.json'} names no runs" in capsys.readouterr().err
