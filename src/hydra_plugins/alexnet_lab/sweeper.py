from functools import partial
from importlib.util import find_spec
from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class ExperimentSweeper(Sweeper):
    """Hydra's adapter for alexnet.sweep.ExperimentSweep."""

    def __init__(
        self, params: DictConfig, max_runs: int | None = None, max_seeds: int | None = None
    ) -> None:
        self.settings: dict[str, Any] = {
            "params": params, "max_runs": max_runs, "max_seeds": max_seeds
        }  # fmt: skip

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Called by Hydra with the configuration before anything is swept."""
        from hydra.core.plugins import Plugins

        from alexnet.config.schema import ConfigError
        from alexnet.paths import install_command
        from alexnet.sweep import ExperimentSweep

        package = ".".join(config.hydra.launcher._target_.split(".")[:2])
        if find_spec(package) is None:
            name = config.hydra.runtime.choices["hydra/launcher"]
            raise ConfigError(
                f"hydra/launcher={name} needs {package}: {install_command('cluster')}"
            )
        # Called later: submitit's launcher resolves its folder, hydra.sweep.dir, when it is made.
        make_launcher = partial(
            Plugins.instance().instantiate_launcher,
            hydra_context=hydra_context,
            task_function=task_function,
            config=config,
        )
        loader = hydra_context.config_loader
        self._sweep = ExperimentSweep(config, loader, make_launcher, **self.settings)

    def sweep(self, arguments: list[str]) -> Any:
        """Plan, run and report; ends the process."""
        self._sweep.run(arguments)
