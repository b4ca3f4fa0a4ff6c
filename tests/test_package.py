import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from email.parser import Parser
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml
from packaging.requirements import Requirement

from alexnet import __version__, cli
from alexnet.paths import PROJECT
from alexnet.run import provenance

assert PROJECT is not None


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as `pip install .` builds it, without network access."""
    if find_spec("hatchling") is None:
        pytest.skip("hatchling is not installed: make setup")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-P", "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=PROJECT, check=True, capture_output=True)
    [file] = folder.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH with the contents of the wheel."""
    folder = tmp_path_factory.mktemp("site-packages")
    ZipFile(wheel).extractall(folder)
    return folder


def run_installed(installed: Path, place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`alexnet-lab *words` of the unpacked wheel, called in another folder."""
    script = installed / "bin" / "alexnet-lab"
    script.parent.mkdir(exist_ok=True)
    script.write_text("import sys\nfrom alexnet.cli import main\nsys.exit(main())\n")
    return subprocess.run(
        [sys.executable, str(script), *words], cwd=place, capture_output=True, text=True,
        env={"PYTHONPATH": str(installed), "PATH": "/usr/bin:/bin", "HOME": str(place)},
        timeout=240, check=False,
    )  # fmt: skip


def tracked(*patterns: str) -> Iterator[str]:
    for pattern in patterns:
        for file in sorted(PROJECT.glob(pattern)):
            if "__pycache__" not in file.parts:
                yield file.relative_to(PROJECT).as_posix()


def test_the_wheel_holds_all_code_and_all_of_conf_and_nothing_else(wheel: Path):
    code = {file.removeprefix("src/") for file in tracked("src/*/**/*.py", "src/alexnet/py.typed")}
    static = ("src/alexnet/results/page/static/*", "src/alexnet/export/live/static/*")
    code |= {file.removeprefix("src/") for file in tracked(*static)}
    conf = {f"alexnet/{file}" for file in tracked("conf/**/*.yaml")}

    names = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}

    assert names == code | conf
    # With an __init__.py there, other packages' launchers would be hidden.
    assert "hydra_plugins/__init__.py" not in names


def test_there_is_one_version(wheel: Path):
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text())
    changelog = (PROJECT / "CHANGELOG.md").read_text()
    newest = next(line for line in changelog.splitlines() if line.startswith("## ["))
    with ZipFile(wheel) as file:
        [name] = [name for name in file.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = Parser().parsestr(file.read(name).decode())

    assert metadata["Version"] == __version__
    assert citation["version"] == __version__
    assert newest.startswith(f"## [{__version__}]")


def test_the_tested_versions_are_among_those_that_are_allowed():
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    lines = (PROJECT / "constraints.txt").read_text().splitlines()
    tested = dict(line.split("==") for line in lines if line and not line.startswith("#"))

    for text in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        requirement = Requirement(text)
        if requirement.name != project["name"]:
            assert requirement.name in tested
            assert requirement.specifier.contains(tested[requirement.name]), text


def test_an_installed_program_lists_what_lies_in_the_current_folder(
    installed: Path, tmp_path: Path
):
    done = run_installed(installed, tmp_path, "runs")

    assert (done.returncode, done.stderr) == (0, "")
    assert f"no sweeps yet in {tmp_path}/outputs" in done.stdout


def test_an_installed_program_finds_its_configuration(installed: Path, tmp_path: Path):
    # A user's own Hydra program in the same places.
    for folder in (tmp_path, installed.parent):
        (folder / "conf").mkdir()
        (folder / "conf" / "config.yaml").write_text("mine: true\n")

    help_text = run_installed(installed, tmp_path, "train", "--help").stdout
    wrong = run_installed(installed, tmp_path, "train", "mdoel=alexnet")

    assert "relu_vs_tanh" in help_text
    assert wrong.returncode == 2
    assert "did you mean model?" in wrong.stderr
    assert not (tmp_path / "outputs").exists()


@pytest.mark.slow
def test_an_installed_program_trains_and_records_its_version(installed: Path, tmp_path: Path):
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)  # somebody else's
    words = ("train", "data=synthetic", "+debug=smoke", "trainer.threads=1")

    done = run_installed(installed, tmp_path, *words)

    assert done.returncode == 0, done.stdout + done.stderr
    [file] = tmp_path.glob("outputs/train/*/*/provenance.json")
    recorded = json.loads(file.read_text())
    assert recorded["version"] == __version__
    assert (recorded["commit"], recorded["dirty"]) == (None, False)
    assert recorded["command"] == f"alexnet-lab {' '.join(words)}"


def test_usage_has_a_line_for_each_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(sys, "argv", ["alexnet-lab", "--help"])

    assert cli.main() == 0
    lines = capsys.readouterr().out.splitlines()
    modules = {
        file.stem for file in (PROJECT / "src/alexnet/cli").glob("[!_]*.py")
        if "\ndef main(" in file.read_text()
    }  # fmt: skip
    assert set(cli.COMMANDS) == modules
    for name in modules:
        assert sum(line.startswith(f"  {name} ") for line in lines) == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [([], "usage: alexnet-lab COMMAND"), (["trian"], "unknown command trian: did you mean train?")],
)
def test_a_wrong_command_ends_with_2_and_says_what_to_type(
    words: list[str],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setattr(sys, "argv", ["alexnet-lab", *words])

    assert cli.main() == 2
    assert says in capsys.readouterr().err


def test_the_version_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(sys, "argv", ["alexnet-lab", "--version"])

    assert cli.main() == 0
    assert capsys.readouterr().out == f"alexnet-lab {__version__}\n"


@pytest.mark.parametrize(
    ("given", "typed"),
    [
        ("/v/bin/python3 /v/bin/alexnet-lab train seed=0,1", "alexnet-lab train seed=0,1"),
        ("/v/bin/python3 src/train.py -m seed=0,1", "python src/train.py -m seed=0,1"),
    ],
)
def test_the_command_is_recorded_as_it_was_typed(
    given: str, typed: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys, "orig_argv", given.split())
    monkeypatch.setattr(sys, "argv", ["src/train.py", "seed=0,1", "-m"])  # as Hydra needs them

    assert provenance.command_line() == typed


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@b.c"]
    command = ["git", "-c", f"safe.directory={folder}", "-C", str(folder), *identity, *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    (tmp_path / "file").write_text("1\n")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-q", "-m", "one")
    return tmp_path


def test_the_commit_of_a_checkout_and_whether_it_was_changed(repository: Path):
    commit = git(repository, "rev-parse", "HEAD")

    assert provenance._commit(repository) == (commit, False)
    (repository / "file").write_text("2\n")
    assert provenance._commit(repository) == (commit, True)


def test_the_commit_of_another_users_checkout_is_read(repository: Path):
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    for path in (repository, *repository.rglob("*")):
        os.chown(path, 65534, 65534)

    assert provenance._commit(repository) == (git(repository, "rev-parse", "HEAD"), False)


def test_a_source_archive_inside_another_repository_has_no_commit(
    repository: Path, caplog: pytest.LogCaptureFixture
):
    (repository / "unpacked").mkdir()

    assert provenance._commit(repository / "unpacked") == (None, None)
    assert "not recorded" in caplog.text
