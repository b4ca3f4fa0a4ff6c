import hashlib
import os
import pickle
import tarfile
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from alexnet.data import CIFAR10, MNIST5k, Synthetic, cifar10

IMAGES_PER_BATCH = 40
TRAIN_FILES = [f"data_batch_{i}" for i in range(1, 6)]


def no_network(*args, **kwargs):
    raise urllib.error.URLError("name or service not known")


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setattr(torchvision.datasets, "CIFAR10", no_network)


def all_of(loader):
    return map(torch.cat, zip(*loader, strict=True))


def write_batch(path, content, protocol=2):
    path.write_bytes(pickle.dumps(content, protocol))


def stored(root, name):
    return pickle.loads((root / "cifar-10-batches-py" / name).read_bytes())


class TestCIFAR10:
    def test_training_and_validation_are_the_five_training_batches(self, cifar_root):
        data = CIFAR10(root=str(cifar_root), verify=False)
        data.prepare_data()
        data.setup("fit")
        train, _ = all_of(data.train_dataloader())
        val, val_labels = all_of(data.val_dataloader())
        found = sorted(image.numpy().tobytes() for image in torch.cat([train, val]))
        batches = [stored(cifar_root, name)["data"] for name in TRAIN_FILES]
        assert found == sorted(row.tobytes() for row in np.concatenate(batches))
        assert (data.num_train_images, data.num_val_images) == (180, 20)
        assert torch.bincount(val_labels).tolist() == [2] * 10

    def test_images_keep_their_labels_and_channels(self, cifar_root):
        data = CIFAR10(root=str(cifar_root), verify=False)
        data.setup("test")
        images, labels = all_of(data.test_dataloader())
        test = stored(cifar_root, "test_batch")
        assert labels.tolist() == test["labels"]
        # A row holds the red plane, then green, then blue, each row by row.
        assert images[7, 1, 2, 3] == test["data"][7, 1024 + 2 * 32 + 3]

    def test_validation_images_do_not_depend_on_the_seed(self, cifar_root):
        first, second = (CIFAR10(root=str(cifar_root), verify=False, seed=seed) for seed in (0, 1))
        first.setup("fit")
        second.setup("fit")
        for one, other in zip(
            all_of(first.val_dataloader()), all_of(second.val_dataloader()), strict=True
        ):
            assert torch.equal(one, other)

    def test_root_may_be_the_folder_of_the_batches_itself(self, cifar_root):
        data = CIFAR10(root=str(cifar_root / "cifar-10-batches-py"), verify=False)
        data.prepare_data()
        data.setup("fit")
        assert data.num_train_images == 180

    def test_a_wrong_checksum_names_file_and_sums_and_the_way_out(self, cifar_root):
        path = cifar_root / "cifar-10-batches-py" / "data_batch_1"
        with pytest.raises(ValueError, match=r"data\.verify=false") as caught:
            CIFAR10(root=str(cifar_root)).setup("fit")
        found = hashlib.md5(path.read_bytes()).hexdigest()
        for part in (str(path), "c99cafc152244af753f735de768cd75f", found):
            assert part in str(caught.value)

    def test_a_right_checksum_is_accepted(self, cifar_root, monkeypatch):
        folder = cifar_root / "cifar-10-batches-py"
        sums = {name: hashlib.md5((folder / name).read_bytes()).hexdigest() for name in TRAIN_FILES}
        monkeypatch.setattr(cifar10, "_TRAIN_MD5", sums)
        data = CIFAR10(root=str(cifar_root))
        data.setup("fit")
        assert data.num_train_images == 180

    def test_a_named_root_that_does_not_exist_is_an_error_and_is_not_created(self, tmp_path):
        root = tmp_path / "nowhere"
        with pytest.raises(FileNotFoundError, match="nowhere is not a folder"):
            CIFAR10(root=str(root)).prepare_data()
        assert not root.exists()

    @pytest.mark.usefixtures("offline")
    def test_without_files_and_network_one_message_says_what_to_do(self, tmp_path):
        with pytest.raises(FileNotFoundError) as caught:
            CIFAR10(root=str(tmp_path)).prepare_data()
        message = str(caught.value)
        for part in (str(tmp_path / "cifar-10-batches-py"), "data=mnist5k", "data.verify=false"):
            assert part in message
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.usefixtures("offline")
    def test_the_default_root_is_created(self, tmp_path, monkeypatch):
        monkeypatch.setattr(cifar10, "DEFAULT_ROOT", tmp_path / "cache" / "alexnet-lab")
        with pytest.raises(FileNotFoundError, match="no CIFAR-10 batches"):
            CIFAR10().prepare_data()
        assert (tmp_path / "cache" / "alexnet-lab").is_dir()

    def test_a_download_is_moved_into_the_root(self, cifar_root, tmp_path_factory, monkeypatch):
        def download(root, download):
            assert download
            os.rename(cifar_root / "cifar-10-batches-py", Path(root) / "cifar-10-batches-py")

        monkeypatch.setattr(torchvision.datasets, "CIFAR10", download)
        root = tmp_path_factory.mktemp("named")
        data = CIFAR10(root=str(root), verify=False)
        data.prepare_data()
        data.setup("fit")
        assert [path.name for path in root.iterdir()] == ["cifar-10-batches-py"]

    @pytest.mark.usefixtures("offline")
    def test_an_archive_that_is_there_is_unpacked_and_not_downloaded_again(
        self, cifar_root, tmp_path_factory
    ):
        root = tmp_path_factory.mktemp("named")
        with tarfile.open(root / "cifar-10-python.tar.gz", "w:gz") as archive:
            archive.add(cifar_root / "cifar-10-batches-py", "cifar-10-batches-py")

        data = CIFAR10(root=str(root), verify=False)
        data.prepare_data()

        expected = CIFAR10(root=str(cifar_root), verify=False).load_test()
        assert np.array_equal(data.load_test().images, expected.images)
        assert sorted(path.name for path in root.iterdir()) == [
            "cifar-10-batches-py", "cifar-10-python.tar.gz",
        ]  # fmt: skip

    @pytest.mark.usefixtures("offline")
    @pytest.mark.parametrize("damage", ["cut", "another", "text"])
    def test_an_archive_that_is_damaged_is_named(self, cifar_root, tmp_path_factory, damage):
        archive = tmp_path_factory.mktemp("named") / "cifar-10-python.tar.gz"
        with tarfile.open(archive, "w:gz") as tar:
            name = "cifar-100-python" if damage == "another" else "cifar-10-batches-py"
            tar.add(cifar_root / "cifar-10-batches-py", name)
        if damage != "another":
            content = archive.read_bytes()
            archive.write_bytes(content[: len(content) // 2] if damage == "cut" else b"<html>")

        with pytest.raises(ValueError, match=r"cifar-10-python\.tar\.gz is damaged, or not the ar"):
            CIFAR10(root=str(archive.parent), verify=False).prepare_data()
        assert [path.name for path in archive.parent.iterdir()] == [archive.name]

    def test_keys_may_be_bytes(self, cifar_root):
        batch = {key.encode(): value for key, value in stored(cifar_root, "test_batch").items()}
        write_batch(cifar_root / "cifar-10-batches-py" / "test_batch", batch, protocol=4)

        assert (
            CIFAR10(root=str(cifar_root), verify=False).load_test().labels.tolist()
            == batch[b"labels"]
        )

    @pytest.mark.usefixtures("offline")
    def test_a_missing_batch_is_named(self, cifar_root):
        (cifar_root / "cifar-10-batches-py" / "data_batch_3").unlink()
        data = CIFAR10(root=str(cifar_root), verify=False)
        with pytest.raises(FileNotFoundError, match="incomplete, it lacks data_batch_3"):
            data.prepare_data()
        with pytest.raises(FileNotFoundError, match="data_batch_3"):
            data.setup("fit")

    def test_a_truncated_file_is_named(self, cifar_root):
        path = cifar_root / "cifar-10-batches-py" / "data_batch_4"
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(ValueError, match="data_batch_4 is damaged"):
            CIFAR10(root=str(cifar_root), verify=False).setup("fit")

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (
                {"data": np.zeros((7, 3072), np.uint8), "labels": [0] * 7},
                r"incomplete.*\(7, 3072\)",
            ),
            ({"data": np.zeros((IMAGES_PER_BATCH, 3072)), "labels": [0] * 40}, "float64"),
            ({"data": np.zeros((IMAGES_PER_BATCH, 3072), np.uint8), "labels": [10] * 40}, "labels"),
            ({"labels": [0] * IMAGES_PER_BATCH}, "damaged or not a CIFAR-10 batch: 'data'"),
            ([1, 2], "damaged or not a CIFAR-10 batch"),
        ],
    )
    def test_what_is_not_a_whole_batch_is_named(self, cifar_root, content, message):
        write_batch(cifar_root / "cifar-10-batches-py" / "data_batch_2", content)
        with pytest.raises(ValueError, match=f"data_batch_2 is .*{message}"):
            CIFAR10(root=str(cifar_root), verify=False).setup("fit")

    def test_a_pickle_cannot_run_a_program(self, cifar_root, tmp_path):
        class Program:
            def __reduce__(self):
                return os.mkdir, (str(tmp_path / "ran"),)

        write_batch(cifar_root / "cifar-10-batches-py" / "data_batch_2", {"data": Program()})
        with pytest.raises(ValueError, match="only arrays are accepted"):
            CIFAR10(root=str(cifar_root), verify=False).setup("fit")
        assert not (tmp_path / "ran").exists()

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_batches_of_every_pickle_protocol_are_read(self, cifar_root, protocol):
        batch = stored(cifar_root, "test_batch")
        batch["labels"] = list(np.array(batch["labels"]))  # NumPy's integers
        write_batch(cifar_root / "cifar-10-batches-py" / "test_batch", batch, protocol)
        assert len(CIFAR10(root=str(cifar_root), verify=False).load_test()) == IMAGES_PER_BATCH

    def test_a_batch_written_by_python_2_is_read(self, cifar_root):
        # The published files: byte strings, and functions where NumPy 1 had them.
        batch = stored(cifar_root, "test_batch")
        path = cifar_root / "cifar-10-batches-py" / "test_batch"
        write_batch(path, batch)
        path.write_bytes(path.read_bytes().replace(b"numpy._core", b"numpy.core"))
        images = CIFAR10(root=str(cifar_root), verify=False).load_test().images
        assert np.array_equal(images.reshape(-1, 3072), batch["data"])


def test_mnist5k_is_4000_500_500_with_as_many_of_every_digit():
    data = MNIST5k()
    data.setup("fit")
    data.setup("test")
    assert (data.num_train_images, data.num_val_images, data.num_test_images) == (4000, 500, 500)
    parts = [data.train_dataloader(), data.val_dataloader(), data.test_dataloader()]
    for loader, count in zip(parts, (400, 50, 50), strict=True):
        images, labels = all_of(loader)
        assert torch.bincount(labels).tolist() == [count] * 10
        assert images.shape[1:] == (1, 28, 28)
        assert (images.min(), images.max()) == (0, 255)


def test_synthetic_makes_a_quarter_as_many_images_for_validation_and_test():
    data = Synthetic(num_images=100, num_classes=7, image_size=20)
    data.setup("test")
    assert (data.num_train_images, data.num_val_images, data.num_test_images) == (100, 25, 25)
    assert data.num_classes == len(data.class_names) == 7
    assert data.mean_image.shape == (3, 20, 20)


def test_synthetic_images_are_always_the_same_and_differ_between_parts():
    first, second = Synthetic(num_images=40), Synthetic(num_images=40, seed=5)
    (train, val), (again, _) = first.load_train_and_val(), second.load_train_and_val()
    assert np.array_equal(train.images, again.images)
    assert not np.array_equal(train.images[:10], val.images)
    assert not np.array_equal(val.images, first.load_test().images)


def test_synthetic_classes_can_be_told_apart_by_their_patterns():
    data = Synthetic(num_images=200)
    train, val = data.load_train_and_val()
    patterns = np.stack([train.images[train.labels == i].mean(0) for i in range(10)])
    distance = ((val.images[:, None] - patterns) ** 2).sum((2, 3, 4))  # (50, 10)
    assert np.array_equal(distance.argmin(1), val.labels)


def test_classes_are_known_before_setup():
    assert CIFAR10().class_names[3] == "cat"
    assert MNIST5k().class_names == tuple("0123456789")
    assert [data.num_classes for data in (CIFAR10(), MNIST5k(), Synthetic())] == [10, 10, 10]
