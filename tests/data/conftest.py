import pickle

import numpy as np
import pytest

from alexnet.data import cifar10


@pytest.fixture
def cifar_root(tmp_path, monkeypatch):
    """A root with six batches of 40 random images, and a validation part of 20 (2 per class)."""
    monkeypatch.setattr(cifar10, "IMAGES_PER_BATCH", 40)
    monkeypatch.setattr(cifar10, "NUM_VAL_IMAGES", 20)
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    random = np.random.default_rng(0)
    for name in ["test_batch", *(f"data_batch_{i}" for i in range(1, 6))]:
        rows = random.integers(256, size=(40, 3072), dtype=np.uint8)
        batch = {"data": rows, "labels": [i % 10 for i in range(40)]}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
    return tmp_path
