"""What --help lists: read from the files of conf, and of a folder of the user's own."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from omegaconf import OmegaConf

from alexnet.config.yaml_files import problem_of


def register(folders: Sequence[Path]) -> None:
    """Let Hydra's help template describe the configuration files of these folders."""
    for name, describe in (("files", _describe_files), ("groups", _describe_groups)):
        OmegaConf.register_new_resolver(
            f"describe_{name}", partial(describe, folders), replace=True
        )


def _describe_files(folders: Sequence[Path], group: str) -> str:
    """One line for each file of a group: its name and the first line of its header."""
    lines = []
    for file in _files(folders, group):
        if problem := problem_of(file):
            lines.append(f"  {file.stem:<20} (cannot be used: {problem})")
            continue
        text = file.read_text(encoding="utf-8")
        # The first line of an experiment may be Hydra's own: # @package _global_
        headers = [line[2:] for line in text.splitlines() if line.startswith("# ")]
        header = next((line for line in headers if not line.startswith("@")), "")
        lines.append(f"  {file.stem:<20} {header}")
    return "\n".join(lines)


def _describe_groups(folders: Sequence[Path]) -> str:
    """One line for each group: its name and its choices."""
    groups = {path.name for folder in folders for path in folder.iterdir() if path.is_dir()}
    return "\n".join(
        f"  {group:<20} {' | '.join(file.stem for file in _files(folders, group))}"
        for group in sorted(groups - {"hydra", "experiment"})
    )


def _files(folders: Sequence[Path], group: str) -> Iterator[Path]:
    """By name; of two of the same name the later folder's, which Hydra prefers."""
    found = {file.stem: file for folder in folders for file in (folder / group).glob("[!_]*.yaml")}
    yield from (found[name] for name in sorted(found))
