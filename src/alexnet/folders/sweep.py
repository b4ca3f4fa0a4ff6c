from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alexnet.folders.files import DamagedFile, is_count, is_mapping, is_text, read_json, write_json
from alexnet.folders.run import RunDir


def _are_runs(value: Any) -> bool:
    return is_mapping(value) and all(
        Path(name).name == name and name not in ("", "..") and "\0" not in name and _is_run(run)
        for name, run in value.items()
    )


def _is_run(value: Any) -> bool:
    return is_mapping(value) and is_mapping(value.get("arm")) and is_count(value.get("seed"))


_PLAN = {
    "runs": _are_runs,
    "experiment": is_mapping,
    "command": is_text,
    "swept": lambda value: isinstance(value, list) and all(map(is_text, value)),
    "max_seeds": lambda value: value is None or is_count(value),
    "init_from": lambda value: is_mapping(value) and all(map(is_text, value.values())),
}


@dataclass(frozen=True)
class SweepDir:
    """The folder of a sweep: all runs of one experiment under one configuration."""

    path: Path

    @property
    def report(self) -> Path:
        """Folder of the report."""
        return self.path / "report"

    def write_plan(self, plan: Mapping[str, Any]) -> None:
        """Write sweep.json: `experiment` (claim, measure) and `runs` by name (arm, seed)."""
        write_json(self.path / "sweep.json", plan)

    def read_plan(self) -> dict[str, Any]:
        """Read sweep.json; {} if the folder is not a sweep.

        Raises DamagedFile if the file is damaged, or names a run outside the folder.
        """
        return read_json(self.path / "sweep.json", _PLAN)

    def run(self, name: str) -> RunDir:
        """Return the run of this name, which need not exist yet."""
        return RunDir(self.path / name)

    def runs(self) -> Iterator[RunDir]:
        """Yield every planned run, in the order of the plan."""
        for name in self.read_plan().get("runs", {}):
            yield self.run(name)


def find_sweeps(folder: Path) -> list[SweepDir]:
    """Return the folder itself if it is a sweep, else the sweeps one or two levels below it."""
    if (folder / "sweep.json").is_file():
        return [SweepDir(folder)]
    found = (*folder.glob("*/sweep.json"), *folder.glob("*/*/sweep.json"))
    return [SweepDir(path.parent) for path in sorted(found)]


def find_checkpoint(path: Path) -> Path:
    """Return the path of a checkpoint: the file itself, or the last checkpoint of a run folder.

    Raises FileNotFoundError if there is none; the message suggests a run if the folder contains
    some.
    """
    path = path.expanduser()
    if not path.is_dir():
        if path.is_file():
            return path
        raise FileNotFoundError(f"{path} does not exist: give a checkpoint or a run folder")
    if (checkpoint := RunDir(path).last_checkpoint).is_file():
        return checkpoint
    if sweeps := find_sweeps(path):
        what = "is a sweep" if sweeps[0].path == path else "is a folder of sweeps"
        runs = (run for sweep in sweeps for run in sweep.runs())
        if trained := next((run for run in runs if run.last_checkpoint.is_file()), None):
            raise FileNotFoundError(f"{path} {what}: give one run, such as {trained.path}")
        raise FileNotFoundError(f"{path} {what}, but no run in it has checkpoints/last.ckpt")
    run = RunDir(path)
    if run.config.is_file() or run.status.is_file():
        raise FileNotFoundError(
            f"{path} is a run without a checkpoint ({how_far(run)}): run its command again to "
            "train it, or give another run"
        )
    raise FileNotFoundError(
        f"{path} is a folder without checkpoints/last.ckpt: give a checkpoint or a run folder"
    )


def how_far(run: RunDir) -> str:
    """Describe the state of a run, with the epoch and the cause in status.json, if known."""
    try:
        state, status = run.state, run.read_status()
    except DamagedFile as error:
        return str(error)
    epoch = f"epoch {status['epoch']:g}" if status.get("epoch") is not None else ""
    if state == "finished":
        return "finished, and its checkpoints were removed"
    return ", ".join(filter(None, [state, epoch, str(status.get("cause") or "")]))


def run_of(checkpoint: Path) -> RunDir | None:
    """Return the run that a checkpoint belongs to, if it is in a run's checkpoint folder."""
    run = RunDir(checkpoint.absolute().parent.parent)
    return (
        run
        if run.last_checkpoint.parent == checkpoint.absolute().parent and run.config.is_file()
        else None
    )
