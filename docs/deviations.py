"""Write the table of docs/deviations.md that is made from the configurations.

    python docs/deviations.py

A row for every key in which `+experiment=alexnet_paper` and `+experiment=alexnet_2012` differ, with
its value there and in a run without a preset, and what the comment on the key's line says.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir

from alexnet.config.check import check
from alexnet.config.names import confounds, flatten
from alexnet.config.schema import Config
from alexnet.paths import CONF

FILE = Path(__file__).with_suffix(".md")
BEGIN = "<!-- Made by docs/deviations.py, from here -->\n"
END = "<!-- to here -->\n"

LEFT_OUT = "experiment"  # names and texts


def table() -> str:
    """The rows, with their head."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        paper, source = (
            _composed("+experiment=alexnet_paper"),
            _composed("+experiment=alexnet_2012"),
        )
        plain = _composed("model=alexnet", "data=imagenet")
    columns = [flatten(config.plain()) for config in (paper, source, plain)]
    comments = dict(_comments())
    lines = [
        "| key | `alexnet_paper` | `alexnet_2012` | without a preset | source of 2012's |",
        "|---|---|---|---|---|",
    ]
    for key in sorted(_keys(paper, source), key=_place):
        values = [_value(column, key) for column in columns]
        lines.append(f"| `{key}` | {' | '.join(values)} | {comments[key]} |")
    return "\n".join(lines) + "\n"


def _composed(*overrides: str) -> Config:
    return check(compose("config", list(overrides)))


def _keys(paper: Config, source: Config) -> set[str]:
    """The keys that differ; a mapping is one key, whatever it holds."""
    keys = {re.sub(r"^(learning\.drops)\..*", r"\1", key) for key in confounds(paper, source)}
    return {key for key in keys if not key.startswith(LEFT_OUT)}


def _place(key: str) -> tuple[int, str]:
    """In the order of the paper: network, data, learning."""
    return ("model", "data", "learning", "trainer").index(key.partition(".")[0]), key


def _value(column: dict[str, Any], key: str) -> str:
    if key in column:
        value = column[key]
        return "none" if value in (None, {}) else str(value).lower()
    groups: dict[str, list[str]] = {}
    for name, factor in column.items():
        if name.startswith(f"{key}."):
            group, epoch = name.removeprefix(f"{key}.").split(".")
            groups.setdefault(group, []).append(f"{epoch}: {factor:g}")
    return "; ".join(f"{group} {', '.join(drops)}" for group, drops in groups.items()) or "none"


def _comments() -> Iterator[tuple[str, str]]:
    """Every key's comment, that of the preset of 2012 last, because it names its source."""
    files = [
        CONF / f"{name}.yaml"
        for name in (
            "model/alexnet", "data/_every", "trainer/auto", "learning/paper", "learning/constant",
            "learning/net_145_2010", "model/alexnet_2012", "experiment/alexnet_2012",
        )
    ]  # fmt: skip
    for file in files:
        section = "" if file.parent.name == "experiment" else f"{file.parent.name}."
        for line in file.read_text().splitlines():
            if match := re.match(r"(\w+):$", line):
                section = f"{match[1]}." if file.parent.name == "experiment" else section
            elif match := re.match(r"\s*(\w+):[^#]*#\s+(.+)", line):
                yield f"{section}{match[1]}", match[2].replace("|", "or")


def main() -> None:
    """Put the table into its place."""
    text = FILE.read_text()
    before, _, rest = text.partition(BEGIN)
    FILE.write_text(before + BEGIN + table() + END + rest.partition(END)[2])


if __name__ == "__main__":
    main()
