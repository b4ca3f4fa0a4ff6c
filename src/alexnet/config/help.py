"""The text of --help, made without Hydra from the files of conf/ and of the user's folders."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from alexnet.paths import CONF


def help_text(own: Sequence[Path] = ()) -> str:
    """Return the help of train.py: hydra.help.template with its lists filled in.

    `own` are the user's folders of configuration files.
    """
    folders = [CONF, *own]
    lists = {
        "experiments": _describe_files(folders, "experiment"),
        "groups": _describe_groups(folders),
    }
    template: str = yaml.safe_load((CONF / "hydra" / "lab.yaml").read_text())["help"]["template"]
    # Written as an interpolation, because Hydra reads this file, too.
    return re.sub(r"\$\{describe_(\w+):\}", lambda asked: lists[asked[1]], template)


def _describe_files(folders: Sequence[Path], group: str) -> str:
    """Describe each file of a group in a line: its name and the first line of its header."""
    lines = []
    for file in _files(folders, group):
        if CONF not in file.parents and (problem := _problem_of(file)):
            lines.append(f"  {file.stem:<20} (cannot be used: {problem})")
            continue
        text = file.read_text(encoding="utf-8")
        # The first line of an experiment may be Hydra's own: # @package _global_
        headers = [line[2:] for line in text.splitlines() if line.startswith("# ")]
        header = next((line for line in headers if not line.startswith("@")), "")
        lines.append(f"  {file.stem:<20} {header}")
    return "\n".join(lines)


def _problem_of(file: Path) -> str | None:
    from alexnet.config.yaml_files import problem_of  # which imports OmegaConf

    return problem_of(file)


def _describe_groups(folders: Sequence[Path]) -> str:
    """List each group in a line: its name and its choices."""
    groups = {path.name for folder in folders for path in folder.iterdir() if path.is_dir()}
    return "\n".join(
        f"  {group:<20} {' | '.join(file.stem for file in _files(folders, group))}"
        for group in sorted(groups - {"hydra", "experiment"})
    )


def _files(folders: Sequence[Path], group: str) -> Iterator[Path]:
    """Yield a group's files by name; of two with the same name the later folder's, as in Hydra."""
    found = {file.stem: file for folder in folders for file in (folder / group).glob("[!_]*.yaml")}
    yield from (found[name] for name in sorted(found))
