"""Sweeps whose runs end at once: planned, launched and reported as usual, but not trained."""

import platform
from collections.abc import Callable, Sequence
from os import cpu_count
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobReturn, JobStatus
from hydra.initialize import initialize_config_dir
from hydra.types import RunMode
from omegaconf import OmegaConf

from alexnet.folders.ending import Exit
from alexnet.folders.run import RunDir
from alexnet.folders.sweep import SweepDir
from alexnet.paths import CONF
from alexnet.run.provenance import cpu_name
from alexnet.sweep import ExperimentSweep
from alexnet.sweep.devices import gpus_here

Error = Callable[[str, int], float]

LRN = ("+experiment=lrn_13_to_11", "data=synthetic")
"""An experiment of two arms, normalization lrn and none, whose measure is an error."""


class Trained:
    """Replaces the launcher: every run ends at once with the error that a function returns."""

    def __init__(self, error_of: Error, *, dies_at: int | None = None) -> None:
        self.error_of = error_of
        self.dies_at = dies_at
        self.seeds: list[int] = []

    def launch(self, jobs: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        for words in jobs:
            values = dict(word.split("=", 1) for word in words)
            folder = values["hydra.sweep.dir"].strip("'")
            run = SweepDir(Path(folder)).run(values["hydra.sweep.subdir"])
            planned = SweepDir(Path(folder)).read_plan()["runs"][run.name]
            self.seeds.append(planned["seed"])
            if planned["seed"] == self.dies_at:
                raise KeyboardInterrupt
            self._train(run, planned)
        return [JobReturn(status=JobStatus.COMPLETED, _return_value=Exit.FINISHED)]

    def _train(self, run: RunDir, planned: dict[str, Any]) -> None:
        [level] = planned["arm"].values()
        error = self.error_of(str(level), planned["seed"])
        run.write_status({"state": "finished"})
        hardware = {"cpu": cpu_name(), "cores": cpu_count(), "gpus": gpus_here()}
        run.write_provenance({"hardware": {**hardware, "host": platform.node()}})
        run.write_result(
            {
                "metrics": {"val/error": error, "test/error": error}, "epochs": 1, "seconds": 1.0,
                "images_per_second": 1.0, **planned,
            }
        )  # fmt: skip


def sweep(outputs: Path, trained: Trained, *arguments: str) -> int:
    """`python src/train.py *arguments`, with runs that end at once; its exit status."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        words = [*arguments, f"outputs={outputs}"]
        config = hydra.compose_config("config", words, run_mode=RunMode.MULTIRUN)
        node = config.hydra.sweeper
        made = ExperimentSweep(
            config, hydra.config_loader, lambda: trained, params=node.params,
            max_runs=node.max_runs, max_seeds=node.max_seeds,
        )  # fmt: skip
        drawing = patch("alexnet.results.report._draw", return_value=["figure"])  # takes seconds
        with drawing, pytest.raises(SystemExit) as end:
            made.run(OmegaConf.to_container(config.hydra.overrides.task))
    return int(end.value.code)
