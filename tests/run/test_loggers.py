import os
from pathlib import Path
from typing import Any, ClassVar

import pytest

from alexnet.folders.run import RunDir
from alexnet.run.loggers import WandB


class Fake:
    """Notes with which id a run would be known: the environment's beats the one that is given."""

    experiment = None
    ids: ClassVar[list[str]] = []

    def __init__(self, *, id: str, **settings: Any) -> None:
        self.ids.append(os.environ.get("WANDB_RUN_ID", id))


def test_runs_of_a_sweep_have_ids_of_their_own_under_a_wandb_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("lightning.pytorch.loggers.WandbLogger", Fake)
    monkeypatch.setattr(Fake, "ids", [])

    for seed in (0, 1, 0):
        monkeypatch.setenv("WANDB_RUN_ID", "agent-7")
        WandB(run=RunDir(tmp_path / f"seed-{seed}"), experiment="train", config={})

    first, second, again = Fake.ids
    assert first != second
    assert first == again
    assert "agent-7" not in Fake.ids
