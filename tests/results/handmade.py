"""Hand-made sweep folders, as training would have written them."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

RELU_VS_TANH: dict[str, Any] = {
    "name": "relu_vs_tanh",
    "section": "3.1",
    "claim": "A four-layer network with ReLUs reaches 25 % training error six times faster.",
    "factor": ["model.nonlinearity"],
    "measure": {"kind": "epochs_to_error", "metric": "train/error", "threshold": 0.25},
    "effect": "ratio",
    "paper": {"value": 6.0, "note": "Figure 1: an equivalent network with tanh neurons."},
    "search": None,
    "notes": "Rates: chosen for each nonlinearity separately, as in the paper.",
}
LRN_ON_OFF: dict[str, Any] = {
    "name": "lrn_on_off",
    "section": "3.3",
    "claim": "Local response normalization lowers the error from 13 % to 11 %.",
    "factor": ["model.normalization"],
    "measure": {"kind": "final", "metric": "val/error"},
    "effect": "difference",
    "paper": {"value": 0.02, "note": "Section 3.3: 13 % without, 11 % with."},
    "search": None,
    "notes": "",
}
ABLATION_GRID: dict[str, Any] = {
    **LRN_ON_OFF,
    "name": "ablation_grid",
    "section": "3.1, 3.3, 3.4",
    "claim": "Each of the three lowers the error.",
    "factor": ["model.normalization", "model.pooling"],
    "paper": None,
}


@dataclass(kw_only=True)
class Run:
    """What one run leaves behind. A run without progress and result, state None, never started."""

    arm: Mapping[str, Any]
    seed: int = 0
    progress: Sequence[tuple[float, float]] = ()  # (epoch, train/error)
    val_errors: Sequence[float] = ()
    state: str | None = "finished"
    cause: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    epochs: float = 10

    @property
    def name(self) -> str:
        levels = [f"{key.rpartition('.')[2]}-{level}" for key, level in self.arm.items()]
        return "_".join([*levels, f"seed-{self.seed}"])


def write_sweep(folder: Path, experiment: Mapping[str, Any], runs: Sequence[Run]) -> Path:
    """Write sweep.json and a folder for every run, and return the sweep's folder."""
    plan = {
        "experiment": experiment,
        "command": f"python src/train.py +experiment={experiment['name']}",
        "swept": [*runs[0].arm, "seed"],
        "runs": {run.name: {"arm": dict(run.arm), "seed": run.seed} for run in runs},
    }
    write_json(folder / "sweep.json", plan)
    for run in runs:
        if run.state is not None:
            _write_run(folder / run.name, run)
    return folder


def _write_run(folder: Path, run: Run) -> None:
    write_json(folder / "status.json", {"state": run.state, "cause": run.cause, "epoch": 1})
    write_json(
        folder / "provenance.json",
        {
            "commit": "0123abc",
            "dirty": False,
            "versions": {"torch": "2.7.0", "lightning": "2.6.6"},
            "hardware": {"cpu": "2 cores"},
            "threads": 2,
            "command": "python src/train.py",
        },
    )
    if run.progress:
        rows = [(epoch, 100 * epoch, 1.0, error) for epoch, error in run.progress]
        write_csv(folder / "progress.csv", ["epoch", "images", "train/loss", "train/error"], rows)
    if run.val_errors:
        rows = [(epoch, error) for epoch, error in enumerate(run.val_errors, start=1)]
        write_csv(folder / "metrics.csv", ["epoch", "val/error"], rows)
    config = {
        "model": {"_target_": "alexnet.model.CifarNet", "init": "paper"},
        "data": {"batch_size": 128},
        "learning": {"lr": 0.01},
        "trainer": {"max_epochs": 10},
        "seed": run.seed,
    }
    for key, value in {**run.arm, **run.config}.items():
        section, _, name = key.partition(".")
        config.setdefault(section, {})[name] = value
    (folder / ".hydra").mkdir(parents=True, exist_ok=True)
    (folder / ".hydra" / "config.yaml").write_text(yaml.safe_dump(config))
    if run.state == "finished":
        result = {
            "metrics": dict(run.metrics),
            "epochs": run.epochs,
            "seconds": 60.0,
            "images_per_second": 1000.0,
            "seed": run.seed,
            "arm": dict(run.arm),
        }
        write_json(folder / "result.json", result)


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Sequence[float]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


def falling(crossing: float, *, end: float = 10.0) -> list[tuple[float, float]]:
    """Rows of an error that falls straight through 25 % at the crossing, from 50 % at epoch 0.25.

    A row is the mean over half an epoch, which is the error in its middle.
    """
    slope = 0.25 / (crossing - 0.25)
    epochs = [0.5 * step for step in range(1, int(2 * end) + 1)]
    return [(epoch, max(0.25 + slope * (crossing + 0.25 - epoch), 0.0)) for epoch in epochs]


def relu_and_tanh(
    relu: Mapping[int, float], tanh: Mapping[int, float], *, end: float = 10.0
) -> list[Run]:
    """Runs by seed with the epoch of their crossing."""
    return [
        Run(arm={"model.nonlinearity": level}, seed=seed, progress=falling(crossing, end=end))
        for level, crossings in (("relu", relu), ("tanh", tanh))
        for seed, crossing in crossings.items()
    ]
