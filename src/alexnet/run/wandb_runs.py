"""W&B runs: one for each run folder, and one for the report of a sweep.

This is the only module that imports wandb. wandb.json in a folder holds its W&B id, and under
`sent`, by destination, what W&B has received.
"""

import hashlib
import json
import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from alexnet import vocabulary
from alexnet.folders.files import is_mapping, is_text, read_json, write_json
from alexnet.folders.run import RunDir, metrics_columns
from alexnet.folders.sweep import SweepDir

if TYPE_CHECKING:
    from wandb import Run

    from alexnet.results.parts import Table

Mode = Literal["offline", "online"]

PROJECT = "alexnet-lab"

PICTURES = "pictures"
"""Prefix of the names of images in W&B and TensorBoard."""

_FILE = {"id": is_text, "sent": is_mapping}

# A run that is uploaded afterwards has neither a console nor hardware of its own to watch.
_UPLOAD: dict[str, Any] = {
    "console": "off",
    "disable_git": True,
    "save_code": False,
    "silent": True,
    "x_disable_machine_info": True,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_save_requirements": False,
}


@dataclass(frozen=True, kw_only=True)
class Destination:
    """Where W&B runs go: a server, or with `offline` files beside the run."""

    mode: Mode = "offline"
    project: str = PROJECT
    entity: str | None = None

    @property
    def name(self) -> str:
        """The name in wandb.json: "offline", or the address of the project."""
        if self.mode == "offline":
            return self.mode
        server = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")
        return "/".join(filter(None, [server.rstrip("/"), self.entity, self.project]))


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What W&B has received of a folder: rows up to this step, and a summary with this digest."""

    step: int = -1
    digest: str = ""

    @classmethod
    def read(cls, folder: Path, destination: Destination) -> Self:
        """Read the folder's wandb.json; without one, nothing has been sent."""
        noted = read_json(folder / "wandb.json", _FILE).get("sent", {}).get(destination.name, {})
        return cls(**noted)

    def write(self, folder: Path, destination: Destination) -> None:
        """Write to the folder's wandb.json."""
        content = read_json(folder / "wandb.json", _FILE)
        sent = {**content.get("sent", {}), destination.name: asdict(self)}
        write_json(folder / "wandb.json", {**content, "sent": sent})


def digest(content: Any) -> str:
    """Return a digest, which changes with the content: anything that JSON can hold, also NaN."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Identity:
    """The description of a W&B run."""

    name: str
    group: str
    job_type: Literal["train", "report"]
    tags: Sequence[str]
    config: Mapping[str, Any]


def identity_of(run: RunDir, *, experiment: str, config: Mapping[str, Any]) -> Identity:
    """Return the description of a run; `config` are its flat hyper-parameters.

    In addition, the configuration in W&B has the keys by which dashboards group and filter: sweep,
    arm, factor, seed, commit, dirty, hardware.
    """
    sweep = SweepDir(run.path.parent)
    planned = sweep.read_plan().get("runs", {}).get(run.name, {})
    arm = planned.get("arm", {})
    origin = run.read_provenance()
    group = f"{experiment}/{sweep.path.name}"
    about = {
        "sweep": group,
        "arm": ", ".join(map(str, arm.values())) or "none",
        "factor": ", ".join(arm) or "none",
        "seed": planned.get("seed", config.get("seed")),
        "commit": origin.get("commit"),
        "dirty": origin.get("dirty"),
        "hardware": origin.get("hardware", {}),
    }
    return Identity(
        name=run.name,
        group=group,
        job_type="train",
        tags=tags_of(experiment, config.get("experiment.section")),
        config={**config, **about},
    )


def tags_of(experiment: str, section: str | None) -> list[str]:
    """Return the experiment's name, and the section of the paper if it is about one."""
    return [experiment, *([f"section {section}"] if section else [])]


def begin(
    folder: Path, destination: Destination, identity: Identity, *, is_upload: bool = False
) -> "Run":
    """Open the W&B run of a folder; a folder that has one keeps it.

    W&B's step is the number of updates. Rows that are repeated after a resume are therefore dropped
    by W&B instead of appearing twice. Curves are drawn over epochs.
    """
    import wandb

    if is_upload:  # an upload is not the trial of an agent that may have started this process
        for name in ("WANDB_RUN_ID", "WANDB_SWEEP_ID", "WANDB_SWEEP_PARAM_PATH"):
            os.environ.pop(name, None)
    identifier = wandb_id(folder)
    os.environ.pop("WANDB_RUN_ID", None)  # it would override `id` for all runs of a sweep
    run = wandb.init(
        dir=folder,
        id=identifier,
        mode=destination.mode,
        project=destination.project,
        entity=destination.entity,
        name=identity.name,
        group=identity.group,
        job_type=identity.job_type,
        tags=identity.tags,
        config=dict(identity.config),
        allow_val_change=True,
        # Offline there is nothing to resume: `wandb sync` finds the run by its id.
        resume="allow" if destination.mode == "online" else None,
        reinit="finish_previous",
        settings=wandb.Settings(**(_UPLOAD if is_upload else {})),
    )
    if identity.job_type == "train":
        _draw_over_epochs(run)
    return run


def _draw_over_epochs(run: "Run") -> None:
    for key in (*metrics_columns(), *vocabulary.METRICS):
        if key != "epoch":
            run.define_metric(key, step_metric="epoch")
    for key in (vocabulary.TRAIN_LOSS, vocabulary.TRAIN_ERROR):
        run.define_metric(f"progress/{key}", step_metric="progress/epoch")


def finish(run: "Run", summary: Mapping[str, Any], *, is_failed: bool) -> None:
    """Write the summary and close the run, which W&B then shows as finished or failed."""
    try:
        run.summary.update(dict(summary))
    finally:
        run.finish(exit_code=1 if is_failed else 0)


def log_pictures(run: "Run", files: Mapping[str, Path], *, step: int | None = None) -> None:
    """Show PNG files under these names."""
    import wandb

    run.log({name: [wandb.Image(str(file))] for name, file in files.items()}, step=step)


def log_report(run: "Run", tables: "Mapping[str, Table]", page: Path, *, step: int) -> None:
    """Log the tables of a report, with cells as they are printed, and its page."""
    import wandb

    content: dict[str, Any] = {
        f"tables/{name}": wandb.Table(columns=list(table.head), data=[*map(list, table.rows)])
        for name, table in tables.items()
    }
    run.log({**content, "report": wandb.Html(str(page), inject=False)}, step=step)


def log_checkpoints(run: "Run", folder: RunDir) -> None:
    """Keep last.ckpt and best.ckpt as an artifact of the run."""
    import wandb

    files = [file for file in (folder.last_checkpoint, folder.best_checkpoint) if file.is_file()]
    if not files:
        return
    artifact = wandb.Artifact(f"checkpoints-{run.id}", type="model")
    for file in files:
        # Not copied: they may be large, and a resumed run replaces whole files.
        artifact.add_file(str(file), skip_cache=True, policy="immutable")
    run.log_artifact(artifact)


def wandb_id(folder: Path) -> str:
    """Return the id in the folder's wandb.json, which is created if it does not exist.

    Older run folders have no such file, but W&B's own folder in them is named
    wandb/offline-run-<time>-<id>. The agent of a W&B sweep sets the id of the run that it starts.
    """
    file = folder / "wandb.json"
    content = read_json(file, _FILE)
    if known := content.get("id"):
        return str(known)
    earlier = sorted(folder.glob("wandb/*run-*-*"), key=lambda each: each.name.partition("run-")[2])
    agents = os.environ.get("WANDB_RUN_ID") if os.environ.get("WANDB_SWEEP_ID") else None
    last = earlier[-1].name.rpartition("-")[2] if earlier else None
    identity = last or agents or uuid.uuid4().hex[:16]
    write_json(file, {**content, "id": identity})
    return identity
