"""Read the contents of W&B's offline files."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record, RunRecord


def records(file: Path) -> Iterator[Record]:
    """The records of an offline file: LevelDB's log format after a header of 7 bytes."""
    data, at, parts = file.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield Record.FromString(parts)
            parts = b""


def items(updates: Iterable[Any]) -> dict[str, Any]:
    """Values by key; a picture or a table is a dictionary."""
    found: dict[str, Any] = {}
    for each in updates:
        key, *below = [each.key] if each.key else each.nested_key
        value = json.loads(each.value_json)
        if below:
            found.setdefault(key, {})["/".join(below)] = value
        else:
            found[key] = value
    return found


class Session:
    """One offline file: one session of a W&B run."""

    def __init__(self, file: Path) -> None:
        self.records = list(records(file))

    @property
    def run(self) -> RunRecord:
        return next(each.run for each in self.records if each.HasField("run"))

    @property
    def config(self) -> dict[str, Any]:
        return {k: v for k, v in items(self.run.config.update).items() if k != "_wandb"}

    @property
    def axes(self) -> dict[str, str]:
        metrics = (each.metric for each in self.records if each.HasField("metric"))
        return {each.name: each.step_metric for each in metrics}

    @property
    def history(self) -> dict[int, dict[str, Any]]:
        """Logged values by step, without W&B's own values except the step."""
        rows = [items(each.history.item) for each in self.records if each.HasField("history")]
        return {
            row["_step"]: {key: value for key, value in row.items() if key[0] != "_"}
            for row in rows
        }

    @property
    def summary(self) -> dict[str, Any]:
        updates = [each.summary.update for each in self.records if each.HasField("summary")]
        return items(update for group in updates for update in group)

    @property
    def exit_code(self) -> int:
        [code] = [each.exit.exit_code for each in self.records if each.HasField("exit")]
        return code


def read_back(folder: Path) -> list[Session]:
    """The sessions of the folder of a run or a sweep, the earliest first."""
    files = sorted(
        folder.glob("wandb/offline-run-*/*.wandb"), key=lambda file: file.stat().st_mtime
    )
    return [Session(file) for file in files]
