"""Decide which classes may be built: checkpoints and run folders name classes, whoever made them.

A command builds the classes named in its own configuration: in files on its search path and on the
command line. A class that a run folder names is built only if it is shipped with the program, is a
target in one of these files, or is allowed by name.
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
"""The environment variable in which a command tells its runs which classes they may build."""

# Parts of torch that only compute. The module that defines a class counts, not one with an alias.
_HARMLESS = ("torch.optim.", "torch.nn.modules.")


def targets_in(plain: Any) -> Iterator[str]:
    """Yield every `_target_` at any depth, and the modules in `imports`.

    Raises ValueError for data that are nested too deeply or too large for a configuration.
    """
    for each in containers(plain):
        if not isinstance(each, Mapping):
            continue
        if "_target_" in each:
            yield str(each["_target_"])
        if isinstance(names := each.get("imports"), list | tuple):
            yield from map(str, names)


def targets_of_files(folders: Iterable[Path]) -> set[str]:
    """Return the targets and imports in the configuration files of some folders."""
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
    """Return the names in an unchecked `allow`: a text, a list, or None."""
    return [allow] if isinstance(allow, str) else list(allow or ())


def allowed(names: Iterable[str] = ()) -> set[str]:
    """Return the shipped classes, those allowed by the command that started us, and `names`."""
    passed = os.environ.get(VARIABLE, "").split(",")
    return {*targets_of_files([CONF]), *filter(None, passed), *names}


def tell_runs(*names: Iterable[str]) -> None:
    """Allow the processes that this one starts to build these classes."""
    os.environ[VARIABLE] = ",".join(sorted({each for group in names for each in group}))


def refuse_strangers(plain: Any, allow: Collection[str], where: str) -> None:
    """Raise ConfigError that names the classes in a file that are not allowed."""
    try:
        targets = list(targets_in(plain))
    except ValueError as error:
        raise ConfigError(f"{where} is damaged or not a configuration: it is {error}") from error
    strangers = [each for each in targets if each not in allow and not _is_harmless(each)]
    if strangers:
        names = ", ".join(dict.fromkeys(strangers))
        raise ConfigError(
            f"{where} names {names}, which is neither part of this program nor in a configuration "
            f"file here, and is not built unless you allow it: add allow=[{names}] if you trust it"
        )


_PLUGINS = ("hydra_plugins.", "hydra._internal.core_plugins.")
"""Hydra makes launchers and sweepers only from these packages, and only from their own classes."""

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
    """Raise ConfigError if Hydra's own section names a class or function that is not allowed.

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
