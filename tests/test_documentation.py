"""Generated pages are up to date, and every page and link exists."""

import importlib.util
import re
import shlex
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from alexnet.paths import PROJECT
from tests.conftest import plan

DOCS = PROJECT / "docs"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_of_keys_is_that_of_the_schema():
    configuration = script("configuration")

    assert configuration.FILE.read_text() == configuration.page(), (
        "run python docs/configuration.py"
    )


def test_every_key_of_the_program_is_explained_where_its_default_is():
    rows = re.findall(
        r"^\| `([\w.]+)` \|.*\| (.*) \|$", (DOCS / "configuration.md").read_text(), re.M
    )
    of_others = ("hydra.launcher.", "callbacks.", "logger.")
    silent = [key for key, meaning in rows if not meaning.strip() and not key.startswith(of_others)]

    assert len(rows) > 200
    assert not silent, "add a comment in conf/"


def test_the_tables_of_results_are_those_of_the_published_sweeps():
    results = script("results")
    for file in results.FILES:
        written = file.read_text().partition(results.BEGIN)[2].partition(results.END)[0]
        assert written == results.table(file), "run python docs/results.py"


def test_the_table_of_thresholds_is_that_of_the_published_sweeps():
    six = script("where_is_the_six")
    written = six.FILE.read_text().partition(six.BEGIN)[2].partition(six.END)[0]
    assert written == f"\n{six.table()}\n", "run python docs/where_is_the_six.py"


def test_every_page_is_in_the_navigation():
    nav = yaml.safe_load((PROJECT / "mkdocs.yml").read_text())["nav"]
    listed = set(re.findall(r"[\w/]+\.md", str(nav)))

    assert listed == {page.name for page in DOCS.glob("*.md")}


@pytest.mark.parametrize("file", ["README.md", "README.ko.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_every_file_that_a_page_outside_the_site_links_to_exists(file: str):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (PROJECT / file).read_text())

    assert links
    assert not [link for link in links if not (PROJECT / link).exists()]


def commands() -> list[str]:
    """Every complete train command of a page, without its comment."""
    found: dict[str, None] = {}
    for page in (PROJECT / "README.md", *sorted(DOCS.glob("*.md"))):
        text = page.read_text().replace("\\\n", " ")
        for block in re.findall(r"^```(?:bash|)\n(.*?)^```", text, re.M | re.S):
            found |= dict.fromkeys(re.findall(r"^python src/train\.py(?: [^#\n]*)?", block, re.M))
    return [" ".join(command.split()) for command in found]


# What a page leaves to the reader, and folders that are not part of the project.
BY_THE_READER = ("--config-dir", "--help", "[NAME]", "=NAME")


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [each for each in commands() if not any(word in each for word in BY_THE_READER)]
)
def test_every_command_of_a_page_is_accepted(command: str, tmp_path: Path):
    arguments = shlex.split(command)[2:]
    given = [each for each in arguments if each not in ("-m", "--multirun")]

    assert plan(*given)
