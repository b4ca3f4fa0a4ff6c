import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from alexnet.data import ImageNet, imagenet
from alexnet.preparation import Request, prepare
from tests.preparation.photographs import CLASSES, class_folders, images, prepare_shards, write


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    """36 images for training and validation, 6 for the test, of 3 classes."""
    return class_folders(tmp_path_factory.mktemp("folders"))


@pytest.fixture(scope="module")
def shards(folders, tmp_path_factory) -> Path:
    """The same images, prepared."""
    return prepare_shards(folders, tmp_path_factory.mktemp("shards"))


def all_of(store):
    """Images sorted by content, so that their order does not matter."""
    data = store[np.arange(len(store))]
    rows = zip(data.labels.tolist(), [image.tobytes() for image in data.images], strict=True)
    return sorted(rows)


def test_prepared_images_and_folders_give_the_same_numbers(folders, shards):
    one, other = ImageNet(root=str(folders)), ImageNet(root=str(shards))

    for mine, theirs in zip(one.load_train_and_val(), other.load_train_and_val(), strict=True):
        assert all_of(mine) == all_of(theirs)
    assert all_of(one.load_test()) == all_of(other.load_test())
    for data in (one, other):
        data.setup("fit")
    assert torch.equal(one.mean_image, other.mean_image)
    mine, theirs = one.measure_colors(), other.measure_colors()
    assert np.array_equal(mine.eigenvalues, theirs.eigenvalues)


def test_a_batch_holds_crops_of_its_images_and_their_labels(shards):
    data = ImageNet(root=str(shards), augmentation="crop224", batch_size=8, workers=2)
    data.setup("fit")
    data.setup("test")
    batches = list(data.train_dataloader())

    assert [batch[0].shape for batch in batches] == [(8, 3, 224, 224)] * 4 + [(1, 3, 224, 224)]
    assert (
        sorted(torch.cat([batch[1] for batch in batches]).tolist())
        == [0] * 11 + [1] * 11 + [2] * 11
    )
    images, labels = data.on_after_batch_transfer(next(iter(data.test_dataloader())), 0)
    assert (images.shape, labels.shape) == ((6, 3, 224, 224), (6,))
    assert (data.num_train_images, data.num_val_images, data.num_test_images) == (33, 3, 6)


def test_workers_do_not_change_the_batches(shards):
    def batches(workers):
        data = ImageNet(root=str(shards), augmentation="crop224", batch_size=8, workers=workers)
        data.setup("fit")
        return list(data.train_dataloader())

    for one, other in zip(batches(0), batches(2), strict=True):
        assert all(map(torch.equal, one, other))


@pytest.mark.parametrize("root", ["folders", "shards"])
def test_a_subset_of_classes_keeps_their_images_under_new_labels(root, request):
    root = str(request.getfixturevalue(root))
    chosen = ["n02119789", "n01440764"]  # in whatever order
    whole, subset = ImageNet(root=root), ImageNet(root=root, classes=chosen)

    assert subset.num_classes == 2
    assert subset.class_names == (whole.class_names[0], whole.class_names[2])
    of_class = {0: 0, 1: 2}
    for mine, theirs in zip(subset.load_train_and_val(), whole.load_train_and_val(), strict=True):
        expected = [(label, image) for label, image in all_of(theirs) if label != 1]
        assert [(of_class[label], image) for label, image in all_of(mine)] == expected


def test_so_many_classes_are_the_first(shards):
    data = ImageNet(root=str(shards), classes=2)
    assert data.num_classes == 2
    assert data.class_names == tuple(sorted(CLASSES)[:2])


@pytest.mark.parametrize("root", ["folders", "shards"])
def test_a_fraction_is_of_each_class_and_always_the_same(root, request):
    root = str(request.getfixturevalue(root))
    half, val = ImageNet(root=root, fraction=0.5).load_train_and_val()
    again, _ = ImageNet(root=root, fraction=0.5, seed=7).load_train_and_val()
    whole, _ = ImageNet(root=root).load_train_and_val()

    assert np.bincount(half.labels).tolist() == [6, 6, 6]  # of 11: 5.5
    assert len(val) == 3
    assert all_of(half) == all_of(again)
    assert set(all_of(half)) < set(all_of(whole))


def test_the_mean_of_prepared_images_is_that_of_all_whatever_is_chosen(shards):
    some, whole = ImageNet(root=str(shards), classes=2, fraction=0.5), ImageNet(root=str(shards))
    for data in (some, whole):
        data.setup("fit")

    assert torch.equal(some.mean_image, whole.mean_image)


def test_bad_images_of_folders_are_told_and_left_out(tmp_path, caplog):
    bad = class_folders(tmp_path) / "train" / CLASSES[0] / "bad.JPEG"
    bad.write_bytes(b"no image")

    train, val = ImageNet(root=str(tmp_path)).load_train_and_val()

    assert len(train) + len(val) == 36
    assert f"{bad}: not an image" in caplog.text


def test_a_class_that_loses_its_training_images_to_damage_is_named(tmp_path, caplog):
    root = class_folders(tmp_path)
    for file in (root / "train" / CLASSES[1]).iterdir():
        file.write_bytes(b"no image")

    data = ImageNet(root=str(root))
    data.load_train_and_val()

    assert data.num_classes == 3
    assert f"classes without training images: {CLASSES[1]}" in caplog.messages
    assert f"classes without training images: {CLASSES[0]}" not in caplog.messages


def test_a_class_without_training_images_among_prepared_ones_is_named(tmp_path, caplog):
    root = class_folders(tmp_path / "raw")
    for file in (root / "train" / CLASSES[1]).iterdir():
        file.write_bytes(b"no image")

    ImageNet(root=str(prepare_shards(root, tmp_path / "shards")))

    assert f"classes without training images: {CLASSES[1]}" in caplog.messages


@pytest.mark.parametrize("part", ["val", "test"])
@pytest.mark.parametrize("how", ["folders", "prepared"])
def test_training_images_that_are_also_measured_on_are_told(tmp_path, caplog, part, how):
    root = class_folders(tmp_path / "raw")
    first = root / "train" / CLASSES[0]
    content = (first / f"{CLASSES[0]}_0.JPEG").read_bytes()
    if part == "test":
        write(root / "val" / CLASSES[1] / "again.JPEG", content)
    else:  # one of them is held out for validation
        for file in first.iterdir():
            file.write_bytes(content)

    if how == "prepared":
        prepare_shards(root, tmp_path / "shards")
    else:
        ImageNet(root=str(root))

    assert len([text for text in caplog.messages if "are also training images" in text]) == 1
    assert f"1 of {7 if part == 'test' else 3} {part} images are also training" in caplog.text


def test_images_that_are_all_different_are_not_compared_in_words(folders, tmp_path, caplog):
    ImageNet(root=str(folders))
    prepare_shards(folders, tmp_path / "shards")

    assert "also training images" not in caplog.text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"classes": 1}, "data.classes is 1, must be from 2 to 3"),
        ({"classes": 4}, "must be from 2 to 3"),
        ({"classes": ["n01440765", "n01443537"]}, "no class n01440765, did you mean n01440764"),
        ({"classes": ["n01440764", "n01440764"]}, "two or more different classes"),
        ({"fraction": 0.0}, "data.fraction is 0.0, must be above 0"),
    ],
)
def test_a_choice_that_is_not_possible_is_named(settings, message, shards):
    with pytest.raises(ValueError, match=message):
        ImageNet(root=str(shards), **settings)


def test_without_images_one_message_says_how_to_prepare_them(tmp_path, monkeypatch):
    monkeypatch.setattr(imagenet, "DEFAULT_ROOT", tmp_path / "cache")
    for root in (None, str(tmp_path / "cache")):
        with pytest.raises(
            FileNotFoundError, match=r"no ImageNet in .*cache: prepare it with"
        ) as e:
            ImageNet(root=root)
        assert f"python src/prepare.py source=RAW_IMAGENET dest={tmp_path / 'cache'}" in str(
            e.value
        )
    assert not (tmp_path / "cache").exists()


def test_an_empty_root_says_what_is_expected(tmp_path):
    with pytest.raises(ValueError, match=r"expected train/CLASS"):
        ImageNet(root=str(tmp_path))


def test_a_preparation_that_is_not_finished_is_no_data_set(shards, tmp_path):
    shutil.copytree(shards, tmp_path / "begun")
    (tmp_path / "begun" / "index.json").unlink()
    with pytest.raises(FileNotFoundError, match="is not finished"):
        ImageNet(root=str(tmp_path / "begun"))


def test_folders_with_too_many_images_are_to_be_prepared_first(folders, monkeypatch):
    monkeypatch.setattr(imagenet, "MOST_IN_MEMORY", 20)
    with pytest.raises(ValueError, match=rf"33 images are too many .*source={folders} dest=FOLDER"):
        ImageNet(root=str(folders)).setup("fit")


@pytest.mark.parametrize("root", ["as folders", "prepared"])
def test_validation_without_images_of_the_chosen_classes_is_refused_and_what_works_is_named(
    root, tmp_path
):
    many = tuple(f"n{i:08}" for i in range(30))
    for name, files in images(1, many).items():
        for file, content in files.items():
            write(tmp_path / "as folders" / "train" / name / file, content)
            write(tmp_path / "as folders" / "val" / name / file, content)
    if root == "prepared":
        source, dest = tmp_path / "as folders", tmp_path / root
        prepare(Request(source=source, dest=dest, workers=1), lambda *_: None)
    root = str(tmp_path / root)
    held_out = set(ImageNet(root=root).load_train_and_val()[1].labels)
    seen = [name for label, name in enumerate(many) if label not in held_out]
    least = int(min(held_out)) + 1

    with pytest.raises(ValueError, match=r"none of the 3 .* belongs to these 2 classes: add one"):
        ImageNet(root=root, classes=seen[:2])
    with pytest.raises(ValueError, match=rf"the smallest number that works is .*={least}$"):
        ImageNet(root=root, classes=least - 1)
    assert len(ImageNet(root=root, classes=least).load_train_and_val()[1]) == 1


def test_a_test_part_without_images_is_told_before_training(tmp_path):
    class_folders(tmp_path)
    for path in (tmp_path / "val").glob("*/*"):
        path.unlink()

    with pytest.raises(FileNotFoundError, match="no test images in"):
        ImageNet(root=str(tmp_path))


def test_a_damaged_shard_is_named_before_training_or_when_it_is_read(shards, tmp_path):
    root = tmp_path / "damaged"
    shutil.copytree(shards, root)
    path = root / "train-00000.jpegs"
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    data = ImageNet(root=str(root), batch_size=33, workers=1)
    data.setup("fit")
    with pytest.raises(ValueError, match=r"train-00000.jpegs is damaged at bytes .*remove it and"):
        list(data.train_dataloader())

    os.truncate(root / "test-00000.jpegs", 100)
    with pytest.raises(ValueError, match=r"test-00000.jpegs is damaged: it has 100 bytes"):
        ImageNet(root=str(root))
