import ast
from pathlib import Path

import pytest

from tests.mutants.catalogue import MUTANTS, PROJECT, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda each: each.name.replace(" ", "-"))
def test_a_bug_still_has_its_one_place_and_tests_that_should_catch_it(mutant: Mutant):
    text = mutant.apply(PROJECT)

    assert text != (PROJECT / mutant.file).read_text()
    if mutant.file.endswith(".py"):
        ast.parse(text)
    assert mutant.tests
    assert all((PROJECT / "tests" / each.partition("::")[0]).exists() for each in mutant.tests)


def test_there_are_twenty_bugs_or_more_each_with_its_source():
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 20
    assert all(mutant.source for mutant in MUTANTS)


@pytest.mark.parametrize("text", ["", "twice twice"])
def test_a_bug_whose_place_has_moved_is_an_error(text: str, tmp_path: Path):
    (tmp_path / "code.py").write_text(text)
    mutant = Mutant(name="m", source="s", file="code.py", old="twice", new="", tests=("t",))

    with pytest.raises(ValueError, match="must stand there once"):
        mutant.apply(tmp_path)
