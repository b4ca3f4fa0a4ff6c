import json
import shutil
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback

from alexnet.config.grammar import quoted
from alexnet.config.names import sweep_name
from alexnet.config.schema import ConfigError
from alexnet.folders.files import FolderInUse, hold
from alexnet.folders.run import RunDir
from alexnet.folders.sweep import SweepDir
from alexnet.sweep import ExperimentSweep
from alexnet.sweep.plan import join_plan, spread
from tests.conftest import Train, plan, run_python, run_train, the_sweep


def test_a_run_is_named_by_what_is_swept():
    names = [run.name for run in plan("model.nonlinearity=relu,tanh", "seed=0,1")]

    assert names == [
        "nonlinearity-relu_seed-0",
        "nonlinearity-relu_seed-1",
        "nonlinearity-tanh_seed-0",
        "nonlinearity-tanh_seed-1",
    ]


def test_a_level_on_the_command_line_replaces_those_of_the_experiment():
    runs = plan("+experiment=relu_vs_tanh", "seed=7", "model.nonlinearity=tanh")

    assert [run.name for run in runs] == ["nonlinearity-tanh_seed-7"]


@pytest.mark.parametrize("name", ["alexnet_2012", "dropout"])
def test_an_arm_of_an_experiment_that_has_none_is_refused(name: str):
    with pytest.raises(ConfigError, match=rf"^\+arm=as_run is not possible: {name} has no arms$"):
        plan(f"+experiment={name}", "+arm=choice(as_run)")


def test_a_swept_group_is_an_arm():
    runs = plan("model=alexnet,cifar_net")

    assert [run.arm for run in runs] == [{"model": "alexnet"}, {"model": "cifar_net"}]


def test_one_wrong_level_refuses_the_whole_sweep():
    with pytest.raises(ConfigError, match="tnah"):
        plan("model.nonlinearity=relu,tnah")


@pytest.mark.parametrize("seeds", ["1,01", "010", "1.0", "true", "-1", "x", "9" * 20])
def test_a_seed_is_a_whole_number_typed_as_one(seeds: str):
    with pytest.raises(ConfigError, match=r"seed=.* is not possible: give a whole number"):
        plan(f"seed={seeds}")


def test_a_level_is_the_same_however_it_is_typed():
    with pytest.raises(ConfigError, match="name each once"):
        plan("model.dropout=0,0.0")
    assert [run.name for run in plan("model.dropout=0,5e-1")] == [
        "dropout-0.0_seed-0",
        "dropout-0.5_seed-0",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("learning.lr=interval(0.1,1)", r"needs a number of trials: add trials=8"),
        ("learning.lr=interval(0.1,1) trials=3", r"is for a key that is searched: list the levels"),
        ("learning.lr=interval(0,1) trials=3", r"scale and needs 0 < LOW < HIGH"),
        ("learning.lr=interval(1,0.1) trials=3", r"scale and needs 0 < LOW < HIGH"),
        ("learning.lr=interval(0.1,1) trials=99999", r"trials=99999 are too many: at most 10000"),
        ("learning.lr=0.1,1 trials=3", r"trials=3 is for a search of an interval"),
        ("trials=0", r"trials=0 is not possible: give a number from 1, or null"),
        ("trials=2,3", r"trials has one value for all runs of a command"),
    ],
)
def test_an_interval_that_cannot_be_searched_is_refused_with_what_to_type(words: str, message: str):
    with pytest.raises(ConfigError, match=message):
        plan(*words.split())


def test_every_arm_of_a_search_has_the_same_trials_and_more_of_them_continue_the_sequence():
    def trials(*words: str) -> dict[str, list[tuple[float, float]]]:
        found: dict[str, list[tuple[float, float]]] = {}
        for run in plan("+experiment=lrn_on_off", "+tune=lr_and_decay", *words):
            pair = (run.config.learning.lr, run.config.learning.weight_decay)
            found.setdefault(run.arm["model.normalization"], []).append(pair)
        return found

    few, many = trials("trials=4"), trials("trials=9")

    assert few["lrn"] == few["none"] == many["lrn"][:4] == many["none"][:4]
    assert len(set(many["lrn"])) == 9
    for lr, decay in many["lrn"]:
        assert 1e-4 < lr < 1e-1
        assert 1e-5 < decay < 1e-1


def test_trials_are_no_part_of_a_sweeps_name_and_are_noted_with_their_interval():
    def name(*words: str) -> str:
        base = plan("+experiment=relu_vs_tanh_lr", *words)[0]
        return sweep_name("cifar10", base.config, [*base.arm, "seed"])

    assert name() == name("trials=15") == name("learning.lr=0.001,0.002")
    [run] = plan("seed=0")
    first = join_plan({}, {}, [], [run], {}, intervals={"learning.lr": (0.1, 1.0)})
    wider = join_plan(first, {}, [], [run], {}, intervals={"learning.lr": (0.1, 9.0)})
    again = join_plan(wider, {}, [], [run], {}, intervals={"learning.lr": (0.1, 1.0)})
    assert wider["intervals"] == [{"learning.lr": [0.1, 1.0]}, {"learning.lr": [0.1, 9.0]}]
    assert again["intervals"] == wider["intervals"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("seed=range(5,2)", r"seed=range\(5,2\) has no levels"),
        ("model.nonlinearity=glob(x*)", "has no levels: no name or number matches"),
        ("model=glob(zzz*)", "has no levels"),
        ("learning.lr=range(0,1e9)", "has too many levels: at most 10000"),
        ("seed=range(0,1000000000)", "has too many levels: at most 10000"),
        ("seed=range(0,200) learning.lr=range(1,100)", "these are 19800 runs: at most 10000"),
        ("hydra.sweeper.max_runs=0", "max_runs=0 is not possible: give a number from 1, or null"),
        ("hydra.sweeper.max_runs=-1", "max_runs=-1 is not possible"),
        ("hydra.sweeper.max_seeds=true", "max_seeds=True is not possible"),
        ("hydra.sweeper.max_seeds=x", "max_seeds=x is not possible"),
    ],
)
def test_a_sweep_has_at_least_one_run_and_not_more_than_it_can_plan(words: str, message: str):
    with pytest.raises(ConfigError, match=message):
        plan(*words.split())


@pytest.mark.parametrize("key", ["factor", "search"])
def test_an_experiment_that_compares_a_key_that_does_not_exist_is_refused(key: str):
    level = "[model.nonlinearty]" if key == "factor" else "model.nonlinearty"

    with pytest.raises(ConfigError, match=rf"experiment\.{key}: unknown key .* did you mean model"):
        plan(f"experiment.{key}={level}")


def test_a_rehearsal_shows_every_level_in_at_most_four_runs_of_one_seed():
    runs = plan("+experiment=ablation_grid", "+debug=smoke")

    assert len(runs) <= 4
    assert {run.config.seed for run in runs} == {1}  # the experiment's first
    for key in ("model.nonlinearity", "model.normalization", "model.pooling"):
        assert len({run.arm[key] for run in runs}) == 2


def test_a_cut_grid_keeps_its_order():
    grid = [{"a": a, "b": b} for a in "12" for b in "12"]

    assert spread(grid, 2) == [{"a": "1", "b": "1"}, {"a": "2", "b": "2"}]
    assert spread(grid, None) == grid


def test_more_seeds_join_the_plan_first_levels_first():
    levels = {"model.nonlinearity": ["relu", "tanh"], "seed": ["0", "1"]}
    runs = plan("+experiment=relu_vs_tanh", "seed=1")
    first = join_plan({}, {}, [], plan("+experiment=relu_vs_tanh", "seed=0"), levels)

    joined = join_plan(first, {}, [], runs, levels)

    assert list(joined["runs"]) == [
        "nonlinearity-relu_seed-0",
        "nonlinearity-relu_seed-1",
        "nonlinearity-tanh_seed-0",
        "nonlinearity-tanh_seed-1",
    ]


def test_a_plan_is_ordered_by_value_registered_once_and_notes_looks():
    levels = {"model.dropout": ["0", "0.5"]}
    first = join_plan({}, {}, [], plan("model.dropout=0.5,0"), levels)
    runs = plan("model.dropout=0,0.5", "seed=0,1")

    unseen = join_plan(first, {}, [], runs, levels)
    seen = join_plan(first, {}, [], runs, levels, is_reported=True)

    assert [run["arm"]["model.dropout"] for run in first["runs"].values()] == [0.0, 0.5]
    assert first["registered"]["content"]["seeds"] == [0]
    assert seen["registered"] == first["registered"]
    assert (first["looks"], unseen["looks"], seen["looks"]) == ([], [], [1])


def test_a_folder_is_held_by_one_process_at_a_time(tmp_path: Path):
    with (
        hold(tmp_path),
        pytest.raises(FolderInUse, match=r"is in use by process \d+"),
        hold(tmp_path),
    ):
        pass

    with hold(tmp_path):
        pass


# From here on as a user would: src/train.py in a process of its own.

TINY = ("data=synthetic", "data.num_images=32", "data.batch_size=8", "trainer.threads=1")
ONE_EPOCH = (*TINY, "trainer.max_epochs=1")


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outputs = tmp_path_factory.mktemp("outputs")
    assert run_train(outputs, *ONE_EPOCH).returncode == 0
    return outputs


@pytest.fixture
def finished(made_once: Path, tmp_path: Path) -> SweepDir:
    """A sweep of one run, seed-0, below tmp_path/outputs, after the command ONE_EPOCH."""
    shutil.copytree(made_once, tmp_path / "outputs")
    return the_sweep(tmp_path / "outputs")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model.activaton=tanh"], "did you mean model.nonlinearity"),
        (["+model.activaton=tanh"], "did you mean model.nonlinearity"),
        (["++modle=alexnet"], "did you mean model"),
        (["model=alexnte"], "did you mean alexnet"),
        (["+experiment=relu_vs_tan"], "did you mean relu_vs_tanh"),
        (["experiment=relu_vs_tanh"], "+experiment=NAME"),
        (["-m", "model.nonlinearity=relu,tnah"], "choose relu, tanh, sigmoid, gelu"),
        (["learning.lr=fast"], "learning.lr=fast is not possible"),
        (["model.nonlinearity"], "model.nonlinearity cannot be read: write key=value"),
        (["model.dropout=[0.1"], "model.dropout=[0.1 cannot be read: write key=value"),
        (["+data=cifar10"], "data=NAME without a plus sign replaces"),
        (["+model=alexnet"], "model=NAME without a plus sign replaces"),
        (["++model=alexnet"], "model=NAME without a plus sign replaces"),
        (["+experiment=lrn_on_off", "+experiment=relu_vs_tanh"], "one experiment at a time"),
        (["model=3"], "takes the name of a file"),
        (["model=[alexnte]"], "there is no conf/model/alexnte.yaml"),
        (["hydra.launcher.paralel=2"], "did you mean hydra.launcher.parallel?"),
        (["data.nothing=1"], "available: data.augmentation, data.batch_size,"),
        (["learning=net_147", "learning.drops={weights: {1: 0.1}}"], "has entries already"),
        (["hydra.sweep.dir=/tmp"], "Set outputs="),
        (["optimizer.lr=0.1"], "unknown key optimizer.lr: did you mean learning.lr?"),
        (["model.optimizer.lr=0.1"], "unknown key model.optimizer.lr: did you mean learning.lr?"),
        (["model="], "available: alexnet, "),
        (["seed=0,1", "model=alexnte"], "did you mean alexnet?"),
        (["seed=0,1", "callbacks=shout"], "available: early_stopping, none"),
        (["seed=0,1", "model.activation=relu"], "did you mean model.nonlinearity?"),
        (["hydra.mode=RUN"], "hydra.mode=RUN is not possible"),
        (["hydra/sweeper=basic"], "hydra/sweeper=basic is not possible"),
        (["--cfg", "job", "model.nonlinearity=tnah"], "choose relu, tanh, sigmoid"),
        (["--cfg", "job", "seed=0,1"], "--cfg shows one run"),
        (["--resolve"], "--resolve needs --cfg job"),
        (["--experimental-rerun=x.pickle"], "--experimental-rerun is not possible"),
        (["hydra.launcher._target_=pandas.read_pickle"], "hydra.launcher names pandas.read_pickle"),
        (["hydra.sweeper._target_=pandas.read_pickle"], "hydra.sweeper names pandas.read_pickle"),
        (["+hydra.callbacks.x._target_=os.abort"], "hydra.callbacks names os.abort"),
        (
            ["hydra/job_logging=default", "hydra.job_logging.handlers.console.class=os.abort"],
            "hydra.job_logging names os.abort",
        ),
        (["+hydra.launcher.x={_target_: os.abort}"], "hydra.launcher names os.abort"),
    ],
)
def test_a_wrong_command_is_answered_in_few_lines_before_anything_starts(
    train_here: Train, tmp_path: Path, arguments: list[str], message: str
):
    done = train_here(*arguments)

    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len((done.stdout + done.stderr).splitlines()) <= 12
    assert not (tmp_path / "outputs").exists()


BAD_FILES = {
    "tab": (b"seed:\t1\n", "line 1: there is a tab: indent with spaces"),
    "twice": (b"seed: 1\nseed: 2\n", "line 2: found duplicate key seed"),
    "latin": (b"seed: 1\n# caf\xe9\n", "line 2: this is not valid UTF-8"),
    "nul": (b"seed: 1\n# \0\n", "line 2: there is a NUL byte"),
    "two": (b"seed: 1\n---\nseed: 2\n", "line 2: a second document begins"),
    "tag": (b"seed: !number 2\n", "line 1: could not determine a constructor for the tag"),
    "list": (b"- seed\n", "contains a list: write key: value"),
    "bracket": (b"seed: [1\nfresh: true\n", "line 2: "),
    "bomb": (
        b"a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n"
        + b"".join(
            b"a%d: &a%d [%s]\n" % (i, i, b",".join([b"*a%d" % (i - 1)] * 10)) for i in range(1, 9)
        ),
        "its aliases (*name) expand to more than 100000 values",
    ),
    "itself": (b"a: &a [1, *a]\n", "*a refers to something that contains it"),
}  # fmt: skip


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder of configurations, for --config-dir."""
    folder = tmp_path / "my conf=a, b's" / "experiment"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_configuration_file_that_cannot_be_read_is_named_with_the_line(
    train_here: Train, own: Path, name: str
):
    content, message = BAD_FILES[name]
    (own / f"{name}.yaml").write_bytes(content)

    done = train_here("--config-dir", str(own.parent), f"+experiment={name}")

    assert done.returncode == 2
    assert f"{own / name}.yaml" in done.stderr
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 2


def test_help_skips_a_file_that_cannot_be_read_with_a_word(train_here: Train, own: Path):
    (own / "twice.yaml").write_text("seed: 1\nseed: 2\n")
    (own / "mine.yaml").write_text("# @package _global_\n# My own question\nseed: 1\n")

    done = train_here("--config-dir", str(own.parent), "--help")

    assert done.returncode == 0
    assert "mine                 My own question" in done.stdout
    assert f"(cannot be used: {own}/twice.yaml, line 2: found duplicate key seed)" in done.stdout


def test_a_file_does_not_have_hydra_call_what_it_names(
    train_here: Train, own: Path, monkeypatch: pytest.MonkeyPatch
):
    (own / "evil.yaml").write_text(
        "# @package _global_\nallow: [tests.sweep.test_sweep.called]\n"
        "hydra: {callbacks: {x: {_target_: tests.sweep.test_sweep.called}}}\n"
    )
    words = ("--config-dir", str(own.parent), "+experiment=evil", "model.nonlinearity=tnah")
    calls.clear()

    refused = train_here(*words)

    assert refused.returncode == 2
    assert "hydra.callbacks names tests.sweep.test_sweep.called" in refused.stderr
    assert not calls

    train_here(*words, "allow=tests.sweep.test_sweep.called")

    assert calls == ["called"]


calls: list[str] = []


def called() -> Callback:
    """Record a call, as a Hydra callback would."""
    calls.append("called")
    return Callback()


def test_arms_in_a_folder_of_ones_own_are_found_wherever_the_option_stands(
    train_here: Train, own: Path
):
    (own / "mine.yaml").write_text(
        "# @package _global_\nexperiment: {name: mine, factor: [arm]}\n"
        "arms: {small: {model.dropout: 0.1}, big: {model.dropout: 0.2}}\n"
    )

    for words in (
        ("--config-dir", str(own.parent), "+experiment=mine", "+arm=smal"),
        ("+experiment=mine", f"--config-dir={own.parent}", "+arm=smal"),
        ("-m", "+experiment=mine", "+arm=smal", "-cd", str(own.parent)),
    ):
        done = train_here(*words)

        assert done.returncode == 2
        assert "mine has no such arm: did you mean small?" in done.stderr


def test_a_list_is_shown_where_one_run_is_and_multirun_is_no_error(train_here: Train):
    done = train_here("-m", "--cfg", "job", "seed=3")

    assert done.returncode == 0
    assert "seed: 3" in done.stdout


def test_a_wrong_key_in_the_file_of_a_run_is_not_taken_for_the_commands(
    train_here: Train, finished: SweepDir
):
    [run] = finished.runs()
    run.config.write_text(run.config.read_text().replace("fresh:", "frehs:"))

    done = train_here(f"resume={run.path}", "trainer.max_epochs=2")

    assert done.returncode == 2
    assert f"{run.config}, the configuration of the run" in done.stderr
    assert "unknown key frehs: did you mean fresh?" in done.stderr


@pytest.mark.parametrize("text", ["plain", "it's", "a, b", "x=1", r"back\slash", r"ends\\", r"\'"])
def test_a_value_that_is_quoted_is_read_back_by_hydra(text: str):
    [override] = OverridesParser.create().parse_overrides([f"key={quoted(text)}"])

    assert override.value() == text


def test_a_folder_with_a_quote_is_given_to_a_launcher_as_it_is(
    train_here: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    launched: list[list[str]] = []

    class Recorder:
        def launch(self, jobs: list[list[str]], initial_job_idx: int) -> list[object]:
            launched.extend(jobs)
            return []

    monkeypatch.setattr(ExperimentSweep, "_make_launcher", lambda self: Recorder())
    outputs = tmp_path / "it's here"

    train_here(*TINY, outputs=f'"{outputs}"')  # type: ignore[arg-type]

    [run] = the_sweep(outputs).runs()
    [words] = launched
    job = OverridesParser.create().parse_overrides(words)
    folder = {each.key_or_group: each.value() for each in job}["hydra.sweep.dir"]
    assert folder == str(run.path.parent)


def test_a_wrong_command_is_answered_so_by_a_process_too(train: Train, tmp_path: Path):
    for arguments, message in (
        (["+model.activaton=tanh"], "did you mean model.nonlinearity"),
        (["model.dropout=[0.1"], "model.dropout=[0.1 cannot be read: write key=value"),
        (["+experiment=lrn_on_off", "+experiment=relu_vs_tanh"], "one experiment at a time"),
    ):
        done = train(*arguments)

        assert done.returncode == 2
        assert message in done.stderr
        assert "Traceback" not in done.stderr
        assert len((done.stdout + done.stderr).splitlines()) <= 12
        assert not (tmp_path / "outputs").exists()


def test_an_option_of_hydra_may_stand_between_keys(train: Train):
    done = train("seed=3", "--cfg", "job", "model.dropout=0.25")

    assert done.returncode == 0, done.stderr
    assert "seed: 3" in done.stdout
    assert "dropout: 0.25" in done.stdout


@pytest.mark.parametrize("parallel", ["0", "-1", "true"])
def test_a_launcher_that_cannot_be_is_refused_before_anything_is_written(
    train_here: Train, tmp_path: Path, parallel: str
):
    done = train_here(*TINY, f"hydra.launcher.parallel={parallel}")

    assert done.returncode == 2
    assert "is not possible: give auto, or a number from 1" in done.stderr
    assert not list(tmp_path.rglob("sweep.json"))


def test_help_lists_experiments_and_groups_without_importing_hydra_or_torch():
    program = (
        "import sys; from alexnet.cli.train import main; code = main(['seed=1', '--help']); "
        "sys.exit(code or {'hydra', 'omegaconf', 'torch'} & set(sys.modules) or 0)"
    )

    done = run_python("-c", program)

    assert "  relu_vs_tanh         3.1" in done.stdout
    assert "  pooling_overlap " in done.stdout
    assert "  data                 cifar10 | imagenet | mnist5k | synthetic\n" in done.stdout
    assert "${" not in done.stdout
    assert done.returncode == 0, done.stderr


def test_a_folder_of_data_that_does_not_exist_is_refused_before_anything_starts(
    train_here: Train, tmp_path: Path
):
    done = train_here("+experiment=relu_vs_tanh", "data.root=/nowhere/at/all")

    assert done.returncode == 2
    assert "data.root=/nowhere/at/all is not a folder: set data.root to" in done.stderr
    assert len(done.stderr.splitlines()) == 2
    assert not (tmp_path / "outputs").exists()


def test_data_that_are_missing_end_the_sweep_with_status_2_and_a_way_out(
    train: Train, tmp_path: Path
):
    (tmp_path / "data_batch_1").touch()

    done = train("+experiment=relu_vs_tanh", f"data.root={tmp_path}")

    assert done.returncode == 2
    assert f"CIFAR-10 in {tmp_path} is incomplete" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(list(the_sweep(tmp_path / "outputs").path.glob("*/status.json"))) == 1


def test_a_finished_run_is_not_made_again_and_a_new_seed_joins(train: Train, finished: SweepDir):
    first = finished.run("seed-0").path / "result.json"
    written = first.stat().st_mtime_ns

    done = train(*ONE_EPOCH, "seed=0,1")

    assert done.returncode == 0
    assert "finished before: seed-0" in done.stdout
    assert first.stat().st_mtime_ns == written
    assert finished.run("seed-1").is_finished


def test_what_was_finished_is_reported_when_another_arm_cannot_be_built(
    train: Train, tmp_path: Path
):
    arms = ("-m", "model=cifar_net,alexnet", "model.image_size=32", "seed=0,1")
    done = train(*TINY, *arms)

    assert done.returncode == 1
    assert "images of image_size=32 are too small for the layers" in done.stdout
    assert done.stdout.count("finished         test error") == 2
    assert (the_sweep(tmp_path / "outputs").report / "README.md").exists()


@pytest.mark.parametrize("name", ["sweep.json", "seed-0/result.json"])
def test_a_damaged_file_is_named(train: Train, finished: SweepDir, name: str):
    (finished.path / name).write_text("{")

    done = train(*ONE_EPOCH, "seed=0,1", "hydra.sweeper.max_runs=1")

    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert f"{name} is damaged" in line


def test_fresh_starts_over_in_a_new_folder(train: Train, finished: SweepDir):
    done = train(*ONE_EPOCH, "fresh=true")

    assert done.returncode == 0
    folders = sorted(path.name for path in finished.path.parent.iterdir())
    assert len(folders) == 2
    assert folders[1] == f"{folders[0]}-2"


def test_another_run_under_the_same_name_gets_a_folder_of_its_own(train: Train, finished: SweepDir):
    [run] = finished.runs()
    # As if a file that the sweep's name does not tell of had been edited since.
    run.config.write_text(run.config.read_text().replace("dropout: 0.0", "dropout: 0.3"))

    done = train(*ONE_EPOCH)

    assert done.returncode == 0
    assert f"{run.path.parent}-2" in done.stdout


def test_a_run_that_diverges_is_a_result_and_the_others_finish(train: Train, tmp_path: Path):
    done = train(*TINY, "trainer.max_epochs=2", "-m", "learning.lr=1e12,0.01")

    sweep = the_sweep(tmp_path / "outputs")
    [bad] = [run for run in sweep.runs() if not run.is_finished]
    [good] = [run for run in sweep.runs() if run.is_finished]
    status = bad.read_status()
    assert done.returncode == 0
    assert bad.is_settled
    assert (status["state"], status["cause"]) == ("failed", "diverged")
    assert "Diverged" in status["traceback"]
    assert str(bad.log) in done.stdout
    assert good.read_status()["state"] == "finished"
    assert (sweep.report / "verdict.json").exists()


def test_a_run_folder_holds_what_it_promises(train: Train, tmp_path: Path):
    done = train(*TINY, "trainer.max_epochs=2", "logger=wandb")

    run: RunDir = next(the_sweep(tmp_path / "outputs").runs())
    result = run.read_result()
    assert done.returncode == 0, done.stderr
    assert set(result) >= {"metrics", "epochs", "seconds", "images_per_second", "seed", "arm"}
    assert {"test/error", "val/error", "train/error"} <= set(result["metrics"])
    assert run.read_provenance()["threads"] == 1
    assert "torch" in run.read_provenance()["versions"]
    assert run.read_status()["state"] == "finished"
    assert json.loads((run.path / "status.json").read_text())["pid"] > 0
    assert [row["epoch"] for row in run.read_metrics()] == [1, 2]
    assert not any(
        "test" in column for column in run.metrics.read_text().splitlines()[0].split(",")
    )
    assert run.last_checkpoint.exists()
    assert run.best_checkpoint.exists()
    assert list(run.path.glob("wandb/offline-run-*/*.wandb"))
