"""How Hydra is asked: its arguments are parsed, and what it composes is checked before it runs.

Hydra calls what its own section names, as soon as it runs: callbacks, a launcher, loggers. So the
configuration is composed once beforehand, when only values can come of it.
"""

from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra._internal.core_plugins import file_config_source
from hydra._internal.hydra import Hydra
from hydra._internal.sources_registry import SourcesRegistry
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.config_source import ConfigResult
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from alexnet.config.schema import ConfigError
from alexnet.config.suggest import explain_hydra
from alexnet.config.trust import names_in, refuse_code_of_hydra
from alexnet.config.yaml_files import problem_of
from alexnet.paths import CONF

if TYPE_CHECKING:
    from alexnet.sweep.plan import PlannedRun

OUR_SWEEPER = "hydra_plugins.alexnet_lab.sweeper.ExperimentSweeper"
_VALUES = ("config_dir", "config_name", "config_path", "package", "cfg", "info")
_FLAGS = ("help", "hydra_help", "resolve", "shell_completion")


class FileConfigSource(file_config_source.FileConfigSource):
    """Files of configurations; one that is not as it should be raises ConfigError that says why.

    It bears the name of Hydra's, by which Hydra's registry tells sources apart: a worker of joblib
    receives the registry and registers Hydra's once more.
    """

    def load_config(self, config_path: str) -> ConfigResult:
        """Called by Hydra for each file."""
        file = Path(self.path) / self._normalize_file_name(config_path)
        try:
            if file.is_file() and b"*" in file.read_bytes() and (problem := problem_of(file)):
                raise ConfigError(problem)  # aliases, before they are expanded
            result = super().load_config(config_path)
        except HydraException:
            raise
        except (YAMLError, ValueError, OSError) as error:
            raise ConfigError(problem_of(file) or str(error)) from error
        if not isinstance(result.config, DictConfig):
            raise ConfigError(problem_of(file) or f"{file} has no keys")
        return result


def check_files() -> None:
    """Let Hydra read files through our FileConfigSource."""
    Plugins.instance()  # registers Hydra's own, once
    SourcesRegistry.instance().types["file"] = FileConfigSource


def parse(arguments: Sequence[str]) -> Namespace:
    """The options of Hydra, wherever they stand, and the `overrides`. Raises ConfigError."""
    for word in arguments:
        try:
            word.encode()
        except UnicodeEncodeError:
            raise ConfigError(f"{word!a} is no text in UTF-8: choose another name") from None
    parsed = get_args_parser().parse_intermixed_args(list(arguments))
    if parsed.experimental_rerun is not None:
        raise ConfigError(
            "--experimental-rerun is not possible: it would run what a pickle file says. Give the "
            "command again; it continues where it stopped"
        )
    if parsed.resolve and parsed.cfg is None and not parsed.help:
        raise ConfigError("--resolve needs --cfg job, whose values it resolves")
    return parsed


def words_of(parsed: Namespace) -> list[str]:
    """The command line again: options first. -m is left out, every command is a sweep."""
    given = {name: getattr(parsed, name) for name in _VALUES}
    values = [f"--{name.replace('_', '-')}={each}" for name, each in given.items() if each]
    flags = [f"--{name.replace('_', '-')}" for name in _FLAGS if getattr(parsed, name)]
    return [*values, *flags, *parsed.overrides]


def compose(parsed: Namespace) -> DictConfig:
    """What Hydra will compose, without what is swept, and Hydra's own section with it.

    Raises ConfigError if that section names what may not be called, or another sweeper.
    """
    return _composed(parsed)[0]


def plan(parsed: Namespace) -> "list[PlannedRun]":
    """The runs that train.py would make. Raises ConfigError as it does."""
    from hydra.plugins.launcher import Launcher

    from alexnet.sweep import ExperimentSweep  # its imports take a while

    config, loader = _composed(parsed)
    node = config.hydra.sweeper
    sweep = ExperimentSweep(
        config, loader, Launcher, params=node.params, max_runs=node.max_runs,
        max_seeds=node.max_seeds,
    )  # fmt: skip
    return sweep.plan_runs(parsed.overrides)


def _composed(parsed: Namespace) -> tuple[DictConfig, ConfigLoader]:
    search_path = create_config_search_path(parsed.config_path or str(CONF))
    if parsed.config_dir is not None:
        folder = Path(parsed.config_dir).absolute()
        if not folder.is_dir():
            raise ConfigError(f"--config-dir={parsed.config_dir} is no folder")
        search_path.prepend("command-line", f"file://{folder}", SearchPathQuery(provider="schema"))
    hydra = Hydra.create_main_hydra2(task_name="train", config_search_path=search_path)
    try:
        composed = hydra.compose_config(
            parsed.config_name or "config", parsed.overrides, RunMode.MULTIRUN,
            validate_sweep_overrides=False,
        )  # fmt: skip
    finally:
        GlobalHydra.instance().clear()
    own = composed.hydra
    named: Any = OmegaConf.to_container(own)
    refuse_code_of_hydra(named, _allowed_here(composed, parsed.overrides))
    if own.sweeper._target_ != OUR_SWEEPER:
        raise ConfigError(
            f"hydra/sweeper={own.runtime.choices['hydra/sweeper']} is not possible: this program "
            "needs its own, hydra/sweeper=experiment, which sweeps the same lists"
        )
    if own.mode != RunMode.MULTIRUN:
        raise ConfigError("hydra.mode=RUN is not possible: leave it out, one run is a sweep of one")
    return composed, hydra.config_loader


def _allowed_here(composed: DictConfig, overrides: Sequence[str]) -> list[str]:
    """What `allow` names on the command line: a file may not allow what it names itself."""
    if not any(word.lstrip("+").startswith("allow=") for word in overrides):
        return []
    plain: Any = OmegaConf.to_container(composed)
    return names_in(plain.get("allow"))


def what_to_type(error: Exception, keys: Callable[[], Mapping[str, Iterable[str]]]) -> str | None:
    """Instead of what was typed; None if that was not to blame. `keys` lists those there are."""
    if isinstance(error, ConfigError):
        return str(error)
    # Hydra's complaint of model=3 is a plain ValueError.
    is_hydras = isinstance(error, HydraException | OmegaConfBaseException)
    if is_hydras or "Config group override" in str(error):
        return explain_hydra(error, keys())
    return None
