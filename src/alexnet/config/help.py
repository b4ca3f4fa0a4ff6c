"""What --help says: read from the files of conf, without Hydra."""

import re

import yaml

from alexnet.paths import CONF


def _describe_files(group: str) -> str:
    """One line for each file of a group: its name and the first line of its header."""
    lines = []
    for file in sorted((CONF / group).glob("*.yaml")):
        # The first line of an experiment may be Hydra's own: # @package _global_
        headers = [line[2:] for line in file.read_text().splitlines() if line.startswith("# ")]
        header = next((line for line in headers if not line.startswith("@")), "")
        lines.append(f"  {file.stem:<20} {header}")
    return "\n".join(lines)


def _describe_groups() -> str:
    """One line for each group: its name and its choices."""
    groups = sorted(path for path in CONF.iterdir() if path.is_dir())
    return "\n".join(
        f"  {group.name:<20} {' | '.join(sorted(file.stem for file in group.glob('[!_]*.yaml')))}"
        for group in groups
        if group.name not in ("hydra", "experiment", "arm")
    )


def help_text() -> str:
    """The help of train.py: hydra.help.template, with the lists that it asks for."""
    lists = {"experiments": _describe_files("experiment"), "groups": _describe_groups()}
    template: str = yaml.safe_load((CONF / "hydra" / "lab.yaml").read_text())["help"]["template"]
    # As Hydra writes its own interpolations: it reads this file, too.
    return re.sub(r"\$\{describe_(\w+):\}", lambda asked: lists[asked[1]], template)
