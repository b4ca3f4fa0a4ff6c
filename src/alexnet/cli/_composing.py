"""Parse Hydra's arguments, and check the composed configuration before Hydra runs.

Hydra calls the classes that its own section names (callbacks, launcher, loggers) as soon as it
runs. So the configuration is composed once beforehand, which only yields values.
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
    """Read configuration files; an invalid file raises ConfigError with the reason.

    The class has the name of Hydra's own, because Hydra's registry identifies sources by name: a
    joblib worker receives the registry and registers Hydra's class again.
    """

    def load_config(self, config_path: str) -> ConfigResult:
        """Load one file; Hydra calls this for each."""
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
    """Make Hydra read files through our FileConfigSource."""
    Plugins.instance()  # registers Hydra's own class, once
    SourcesRegistry.instance().types["file"] = FileConfigSource


def parse(arguments: Sequence[str]) -> Namespace:
    """Parse Hydra's options, in any position, and the `overrides`. Raises ConfigError."""
    for word in arguments:
        try:
            word.encode()
        except UnicodeEncodeError:
            raise ConfigError(f"{word!a} is not valid UTF-8: choose another name") from None
    parsed = get_args_parser().parse_intermixed_args(list(arguments))
    if parsed.experimental_rerun is not None:
        raise ConfigError(
            "--experimental-rerun is not possible: it would execute code from a pickle file. Run "
            "the same command again; it continues where it stopped"
        )
    if parsed.resolve and parsed.cfg is None and not parsed.help:
        raise ConfigError("--resolve needs --cfg job, whose values it resolves")
    return parsed


def words_of(parsed: Namespace) -> list[str]:
    """Rebuild the command line, options first; -m is omitted: every command is a sweep."""
    given = {name: getattr(parsed, name) for name in _VALUES}
    values = [f"--{name.replace('_', '-')}={each}" for name, each in given.items() if each]
    flags = [f"--{name.replace('_', '-')}" for name in _FLAGS if getattr(parsed, name)]
    return [*values, *flags, *parsed.overrides]


def compose(parsed: Namespace) -> DictConfig:
    """Compose what Hydra will compose: without the swept values, with Hydra's own section.

    Raises ConfigError if that section names a class that may not be called, or another sweeper.
    """
    return _composed(parsed)[0]


def plan(parsed: Namespace) -> "list[PlannedRun]":
    """Return the runs that train.py would make. Raises the ConfigError that it would."""
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
            raise ConfigError(f"--config-dir={parsed.config_dir} is not a folder")
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
        raise ConfigError("hydra.mode=RUN is not possible: leave it out; one run is a sweep, too")
    return composed, hydra.config_loader


def _allowed_here(composed: DictConfig, overrides: Sequence[str]) -> list[str]:
    """Return the names in `allow` on the command line: a file may not allow its own classes."""
    if not any(word.lstrip("+").startswith("allow=") for word in overrides):
        return []
    plain: Any = OmegaConf.to_container(composed)
    return names_in(plain.get("allow"))


def what_to_type(error: Exception, keys: Callable[[], Mapping[str, Iterable[str]]]) -> str | None:
    """Explain an error in the command line; None if the cause is another.

    `keys` returns the known keys of each section, for suggestions.
    """
    if isinstance(error, ConfigError):
        return str(error)
    # For model=3 Hydra raises a plain ValueError.
    is_hydras = isinstance(error, HydraException | OmegaConfBaseException)
    if is_hydras or "Config group override" in str(error):
        return explain_hydra(error, keys())
    return None
