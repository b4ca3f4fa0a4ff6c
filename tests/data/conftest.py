import pytest

from alexnet.data import cifar10
from tests.data.batches import IMAGES_PER_BATCH, write_cifar10


@pytest.fixture
def cifar_root(tmp_path, monkeypatch):
    """A root with six batches of 40 random images, and a validation part of 20 (2 per class)."""
    monkeypatch.setattr(cifar10, "IMAGES_PER_BATCH", IMAGES_PER_BATCH)
    monkeypatch.setattr(cifar10, "NUM_VAL_IMAGES", 20)
    return write_cifar10(tmp_path)
