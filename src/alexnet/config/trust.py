"""Which classes a file may have built: checkpoints and run folders name classes, whoever made them.

A command builds what its configuration names, which comes from the files on its search path and
from the command line. What a run folder names is built only if it is shipped, is a target in one of
these files, or is allowed by name.
"""

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from alexnet.config.schema import ConfigError
from alexnet.config.signature import NoSuchTarget, signature_of
from alexnet.nested import containers
from alexnet.paths import CONF

VARIABLE = "ALEXNET_LAB_ALLOW"
"""The environment variable in which a command passes to its runs which classes they may build."""

# Of torch, what computes. By where a class is defined, which no other name for it changes.
_HARMLESS = ("torch.optim.", "torch.nn.modules.")


def targets_in(plain: Any) -> Iterator[str]:
    """Every `_target_` at any depth, and the modules of `imports`.

    Raises ValueError for what is too deep or too large to be a configuration.
    """
    for each in containers(plain):
        if not isinstance(each, Mapping):
            continue
        if "_target_" in each:
            yield str(each["_target_"])
        if isinstance(names := each.get("imports"), list | tuple):
            yield from map(str, names)


def targets_of_files(folders: Iterable[Path]) -> set[str]:
    """The targets and imports in the configuration files of some folders."""
    found = set()
    for folder in folders:
        for file in folder.rglob("*.yaml"):
            try:
                text = file.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError):
                continue
            found |= set(re.findall(r"_target_:\s*['\"]?([\w.]+)", text))
            for names in re.findall(r"(?m)^imports:\s*\[([^\]]*)\]", text):
                found |= {name.strip(" '\"") for name in names.split(",")}
    return found


def names_in(allow: str | Iterable[str] | None) -> list[str]:
    """What `allow` names, before it is checked: one name, several, or none."""
    return [allow] if isinstance(allow, str) else list(allow or ())


def allowed(names: Iterable[str] = ()) -> set[str]:
    """What is shipped, what the command that started this run allowed, and these names."""
    passed = os.environ.get(VARIABLE, "").split(",")
    return {*targets_of_files([CONF]), *filter(None, passed), *names}


def tell_runs(*names: Iterable[str]) -> None:
    """Let the processes that this one starts build these."""
    os.environ[VARIABLE] = ",".join(sorted({each for group in names for each in group}))


def refuse_strangers(plain: Any, allow: Collection[str], where: str) -> None:
    """Raises ConfigError that names what a file asks for and may not have."""
    try:
        targets = list(targets_in(plain))
    except ValueError as error:
        raise ConfigError(f"{where} is damaged, or no configuration: it is {error}") from error
    strangers = [each for each in targets if each not in allow and not _is_harmless(each)]
    if strangers:
        names = ", ".join(dict.fromkeys(strangers))
        raise ConfigError(
            f"{where} names {names}, which is neither shipped nor in a configuration file here, "
            f"and is not built unless you allow it: add allow=[{names}] if you trust it"
        )


_PLUGINS = ("hydra_plugins.", "hydra._internal.core_plugins.")
"""Hydra makes a launcher or a sweeper of these packages alone, and only if it is one."""

_LOGGING = frozenset(
    (
        "logging.StreamHandler",
        "logging.FileHandler",
        "logging.NullHandler",
        "logging.Formatter",
        "colorlog.ColoredFormatter",
        "ext://sys.stdout",
        "ext://sys.stderr",
    )
)


def refuse_code_of_hydra(hydra: Mapping[Any, Any], allow: Collection[str]) -> None:
    """Raises ConfigError that names what Hydra's own section would call, if that is not allowed.

    Hydra calls every `_target_` at any depth of its callbacks, launcher and sweeper; Python's
    logging calls what its configuration names.
    """
    named = [
        (f"hydra.{section}", name)
        for section, node in hydra.items()
        for name in _called_in(node, is_logging=str(section).endswith("_logging"))
    ]
    plugins = {
        (f"hydra.{section}", str((hydra.get(section) or {}).get("_target_")))
        for section in ("launcher", "sweeper")
    }
    for section, name in named:
        is_plugin = (section, name) in plugins and name.startswith(_PLUGINS)
        if not is_plugin and name not in _LOGGING and name not in allow:
            raise ConfigError(
                f"{section} names {name}, which Hydra would call before anything else: leave it "
                f"out, or add allow=[{name}] to the command if you trust it"
            )


def _called_in(node: Any, *, is_logging: bool) -> Iterator[str]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key == "_target_" or (is_logging and key in ("()", "class")):
                yield str(value)
            else:
                yield from _called_in(value, is_logging=is_logging)
    elif isinstance(node, list | tuple):
        for each in node:
            yield from _called_in(each, is_logging=is_logging)
    elif is_logging and isinstance(node, str) and node.startswith("ext://"):
        yield node


def _is_harmless(target: str) -> bool:
    try:
        found = signature_of(target)
    except NoSuchTarget:
        return False
    return found.is_class and f"{found.module}.".startswith(_HARMLESS)
