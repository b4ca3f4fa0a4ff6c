"""The folder and name of a run."""

import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from alexnet.config.check import load
from alexnet.config.schema import ConfigError
from alexnet.folders.ending import Exit
from alexnet.folders.files import DamagedFile
from alexnet.folders.run import RunDir
from alexnet.folders.sweep import SweepDir
from alexnet.run.start import check_start
from alexnet.sweep.devices import Devices
from alexnet.sweep.plan import join_plan, named_as_before, prepare, run_name
from alexnet.sweep.plan import sweep_folder as find_folder
from alexnet.sweep.preflight import starts_of
from alexnet.sweep.processes import Job
from alexnet.sweep.resume import change_run
from tests.conftest import Train, plan


def sweep_folder(outputs: Path, *arguments: str, swept: tuple[str, ...] = ()) -> SweepDir:
    """The folder of `src/train.py *arguments outputs=...`."""
    runs = plan(*arguments, f"outputs={outputs}")
    return find_folder(runs[0].config, "mnist5k", ("seed", *swept), runs, starts_of(runs))


def write_sweep(outputs: Path, *arguments: str, swept: tuple[str, ...] = ()) -> SweepDir:
    """The folder that a command leaves, with a result for every run but without training."""
    sweep = sweep_folder(outputs, *arguments, swept=swept)
    runs = plan(*arguments, f"outputs={outputs}")
    sweep.write_plan(join_plan({}, {}, ["seed", *swept], runs, {}, starts_of(runs)))
    for run in runs:
        prepare(run, sweep.run(run.name))
        sweep.run(run.name).write_result({"metrics": {"test/error": 0.5}, "seed": 0, "arm": {}})
    return sweep


# What init_from holds


def test_the_same_weights_are_the_same_sweep_wherever_they_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "c.ckpt").write_text("weights")
    monkeypatch.chdir(tmp_path / "here")
    first = write_sweep(tmp_path, "init_from=c.ckpt")

    monkeypatch.chdir(tmp_path)

    assert sweep_folder(tmp_path, "init_from=there/c.ckpt") == first


def test_other_weights_under_the_same_path_are_another_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path("c.ckpt").write_text("weights")
    first = write_sweep(tmp_path, "init_from=c.ckpt")

    Path("c.ckpt").write_text("others")

    assert sweep_folder(tmp_path, "init_from=c.ckpt") != first


def test_a_base_run_that_was_trained_on_gives_its_arms_a_new_folder(tmp_path: Path):
    base, other = RunDir(tmp_path / "base"), tmp_path / "other.ckpt"
    base.last_checkpoint.parent.mkdir(parents=True)
    base.last_checkpoint.write_text("weights")
    other.write_text("others")
    arms = (f"init_from={base.path},{other}",)
    first = write_sweep(tmp_path, *arms, swept=("init_from",))
    assert sweep_folder(tmp_path, *arms, "seed=1", swept=("init_from",)) == first

    base.last_checkpoint.write_text("trained on")

    for seed in (0, 1):
        second = sweep_folder(tmp_path, *arms, f"seed={seed}", swept=("init_from",))
        assert second.path.name == f"{first.path.name}-2"


def test_a_start_that_was_replaced_while_its_run_waited_is_refused(tmp_path: Path):
    start = tmp_path / "c.ckpt"
    start.write_text("weights")
    [planned] = starts_of(plan(f"init_from={start}")).values()
    assert check_start(str(start), planned) == planned

    start.write_text("others")

    with pytest.raises(ConfigError, match="has changed since the sweep was planned"):
        check_start(str(start), planned)


def test_an_empty_start_is_refused_before_anything_is_written(tmp_path: Path):
    (tmp_path / "c.ckpt").touch()

    with pytest.raises(ConfigError, match=r"c\.ckpt is damaged: it is empty"):
        starts_of(plan(f"init_from={tmp_path / 'c.ckpt'}"))


# Swept keys of which no name tells


@pytest.mark.parametrize("key", ["data.workers", "checkpoint.minutes", "trainer.threads"])
def test_arms_of_a_key_that_is_no_part_of_the_name_have_a_folder_of_their_own(
    tmp_path: Path, key: str
):
    alone = sweep_folder(tmp_path, f"{key}=1")

    assert sweep_folder(tmp_path, f"{key}=2") == alone
    assert sweep_folder(tmp_path, f"{key}=1,2", swept=(key,)) != alone


@pytest.mark.parametrize(
    "axis", ["outputs=a,b", "fresh=true,false", "experiment.name=a,b", "+allow=a.B,c.D"]
)
def test_what_a_command_has_one_value_of_is_not_swept(axis: str):
    with pytest.raises(ConfigError, match="has one value for all runs of a command"):
        plan(axis)


# Names


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, -1),
        ([1], [-1]),
        ("/x/A/c", "/x/A-c"),
        ("-x", "x"),
        ([[1, 2], [3]], [[1], [2, 3]]),
        (["a-b"], ["a", "b"]),
        ("가", "나"),
    ],
)
def test_different_levels_have_different_names(one: Any, other: Any):
    names = [run_name({"key": level}) for level in (one, other)]

    assert names[0] != names[1]
    assert all("/" not in name for name in names)


@pytest.mark.parametrize(
    ("level", "name"),
    [
        ("non_overlapping", "key-non-overlapping"),
        (["conv3", "conv4"], "key-conv3-conv4"),
        (1e-05, "key-1e-05"),
        (None, "key-null"),
        (False, "key-false"),
        (-1, "key--1"),
    ],
)
def test_a_level_that_can_be_read_in_a_name_stands_there(level: Any, name: str):
    assert run_name({"key": level}) == name


def test_a_name_fits_into_a_file_system():
    names = {run_name({"model.init": "x" * 300 + end}) for end in "ab"}

    assert len(names) == 2
    assert all(len(name.encode()) < 240 for name in names)


def test_a_run_keeps_the_name_that_an_earlier_version_gave_its_arm():
    [run] = plan("trainer.max_steps=-1,5", "hydra.sweeper.max_runs=1")
    before = {"runs": {"max_steps-1_seed-0": {"arm": {"trainer.max_steps": -1}, "seed": 0}}}

    assert [each.name for each in named_as_before(before, [run])] == ["max_steps-1_seed-0"]
    assert [each.name for each in named_as_before({}, [run])] == ["max_steps--1_seed-0"]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("outputs=", "outputs= is not possible: give a folder"),
        ("outputs='  '", "give a folder, such as"),
        ("outputs='s3://bucket/x'", "give a folder on this machine"),
        ("experiment.name='../../x'", "experiment.name=../../x is not possible: it names a folder"),
        ("experiment.name=/tmp/x", "it names a folder"),
        ("experiment.name='a\nb'", "it names a folder"),
        (f"experiment.name={'x' * 300}", "it names a folder"),
        ("experiment.name=''", "it names a folder"),
        ("experiment.name=.hidden", "it names a folder"),
    ],
)
def test_what_is_no_folder_is_refused(argument: str, message: str):
    with pytest.raises(ConfigError) as error:
        plan(argument)

    assert message in str(error.value)


def test_outputs_may_lie_in_ones_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))

    [run] = plan("outputs='~/x'")

    folder = find_folder(run.config, "mnist5k", (), [run], {})
    assert folder.path.is_relative_to(tmp_path / "x")


def test_an_empty_resume_trains_nothing(train_here: Train, tmp_path: Path):
    done = train_here("resume=")

    assert done.returncode == 2
    assert "resume is empty: give resume=RUN_FOLDER" in done.stderr
    assert not (tmp_path / "outputs").exists()


# Folders of runs whose configuration is another, or cannot be read


@pytest.mark.parametrize("damage", ["", "seed: [", "\0", "- 1", "seed: 0\n"])
def test_a_run_that_has_begun_with_a_damaged_configuration_is_named_and_not_begun_anew(
    tmp_path: Path, damage: str
):
    [run] = write_sweep(tmp_path).runs()
    run.config.write_text(damage)

    with pytest.raises(DamagedFile) as error:
        sweep_folder(tmp_path)

    assert str(error.value).startswith(str(run.config))
    assert "restore the file, remove the folder" in str(error.value)


def test_a_damaged_configuration_of_a_run_that_has_not_begun_is_written_anew(tmp_path: Path):
    sweep = write_sweep(tmp_path)
    [run] = sweep.runs()
    (run.path / "result.json").unlink()
    run.config.write_text("")

    assert sweep_folder(tmp_path) == sweep


def test_the_folder_of_another_run_is_left_with_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    sweep = write_sweep(tmp_path)
    [run] = sweep.runs()
    run.config.write_text(run.config.read_text().replace("dropout: 0.0", "dropout: 0.3"))

    assert sweep_folder(tmp_path).path.name == f"{sweep.path.name}-2"
    assert "has seed-0 with different model.dropout: training in" in caplog.text


def test_a_run_whose_configuration_is_damaged_cannot_be_trained_on(
    train_here: Train, tmp_path: Path
):
    [run] = write_sweep(tmp_path / "outputs").runs()
    run.last_checkpoint.parent.mkdir()
    with zipfile.ZipFile(run.last_checkpoint, "w"):
        pass
    run.config.write_text("seed: [")

    done = train_here(f"resume={run.path}", "trainer.max_epochs=9")

    assert done.returncode == 2
    assert f"{run.config} is damaged (" in done.stderr
    assert len(done.stderr.splitlines()) == 2


def test_a_finished_run_that_cannot_go_on_stays_finished(
    train_here: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    [run] = write_sweep(tmp_path / "outputs").runs()
    run.write_status({"state": "finished", "epoch": 1})
    run.last_checkpoint.parent.mkdir()
    with zipfile.ZipFile(run.last_checkpoint, "w"):
        pass
    before = {file: file.read_bytes() for file in (run.status, run.config)}

    def lacks_rows(jobs: list[Job], devices: Devices) -> dict[str, Exit]:
        error = "DamagedFile: progress.csv has lost rows"
        run.write_status({"state": "failed", "cause": "damaged file", "error": error})
        return {run.name: Exit.FAILED}

    monkeypatch.setattr("alexnet.sweep.sweep.run_jobs", lacks_rows)
    done = train_here(f"resume={run.path}", "trainer.max_epochs=9")

    assert done.returncode == Exit.FAILED
    assert done.stderr == "error: progress.csv has lost rows\n"
    assert {file: file.read_bytes() for file in before} == before
    assert run.state == "finished"


@pytest.mark.parametrize(
    ("command", "changes"),
    [
        (["trainer=cpu"], {"trainer.accelerator": "cpu"}),
        (["trainer=cpu", "trainer.max_epochs=30"],
         {"trainer.accelerator": "cpu", "trainer.max_epochs": 30}),
        (["trainer={max_epochs: 30}"], {"trainer.max_epochs": 30}),
        (["data=mnist5k"], {}),
        (["logger.mine.name=new"], {"logger.mine.name": "new"}),
    ],
)  # fmt: skip
def test_a_resumed_run_keeps_what_the_command_does_not_name(
    train_here: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    command: list[str], changes: dict[str, object],
):  # fmt: skip
    own = ("trainer.max_epochs=20", "trainer.threads=1", "data.workers=2")
    theirs = "lightning.pytorch.loggers.CSVLogger"
    logger = f"+logger.mine={{_target_: {theirs}, name: old}}"
    [run] = write_sweep(tmp_path / "outputs", *own, logger).runs()
    run.last_checkpoint.parent.mkdir()
    with zipfile.ZipFile(run.last_checkpoint, "w"):
        pass
    expected = OmegaConf.load(run.config)
    for key, value in changes.items():
        OmegaConf.update(expected, key, value)

    def trains(jobs: list[Job], devices: Devices) -> dict[str, Exit]:
        run.write_status({"state": "finished"})
        return {run.name: Exit.FINISHED}

    monkeypatch.setattr("alexnet.sweep.sweep.run_jobs", trains)
    done = train_here(f"resume={run.path}", *command, f"allow=[{theirs}]")

    assert done.returncode == 0, done.stderr
    assert OmegaConf.load(run.config) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("data=synthetic", "data=synthetic is another data set than the run's: leave it out"),
        ("trainer={precision: 64-true}", "trainer.precision cannot change on resume, only"),
    ],
)
def test_a_resumed_run_refuses_a_change_that_it_would_not_make(
    train_here: Train, tmp_path: Path, change: str, message: str
):
    [run] = write_sweep(tmp_path / "outputs").runs()
    run.last_checkpoint.parent.mkdir()
    with zipfile.ZipFile(run.last_checkpoint, "w"):
        pass
    before = run.config.read_bytes()

    done = train_here(f"resume={run.path}", change, "trainer.max_epochs=9")

    assert done.returncode == Exit.WRONG
    assert message in done.stderr
    assert run.config.read_bytes() == before


@pytest.mark.parametrize(("total", "follows"), [("${trainer.max_epochs}", 9), ("3", 3)])
def test_a_cosine_that_was_to_end_with_the_run_does_so_when_it_is_trained_on(
    tmp_path: Path, total: str, follows: int
):
    cosine = ("learning=cosine", "trainer.max_epochs=5", f"learning.scheduler.total={total}")
    [run] = write_sweep(tmp_path, *cosine).runs()
    longer = OverridesParser.create().parse_overrides(["trainer.max_epochs=9"])

    change_run(run, longer, OmegaConf.create({"trainer": {"max_epochs": 9}}))

    config = load(run.config)
    assert config.trainer.max_epochs == 9
    assert config.learning.scheduler.total == follows


def test_a_result_of_another_seed_is_not_believed_and_costs_one_run(
    train_here: Train, tmp_path: Path
):
    sweep = write_sweep(tmp_path / "outputs", "seed=0,1")
    for seed, run in enumerate(sweep.runs()):
        run.write_status({"state": "finished"})
        if seed == 0:
            run.write_result({"metrics": {"test/error": 0.25}, "seed": 0, "arm": {}})

    done = train_here("seed=0,1")  # that of seed 1 says that it is of seed 0

    assert done.returncode == 1
    assert re.search(r"seed-0 +finished before +test error 25.0 %", done.stdout)
    assert re.search(r"seed-1 +unreadable", done.stdout)
    [line] = done.stderr.splitlines()
    assert "seed-1/result.json is damaged: its seed is 0, but the run has 1. Remove" in line
    assert "1 unreadable" in (sweep.report / "README.md").read_text()
