from pathlib import Path

import pytest


@pytest.fixture
def sweep_folder(tmp_path: Path) -> Path:
    """The folder of a sweep called cifar10-0123abcd."""
    return tmp_path / "outputs" / "relu_vs_tanh" / "cifar10-0123abcd"
