import io
import os
import shutil
import tarfile
from pathlib import Path

import pytest

from alexnet.sources.raw_imagenet import SourceError, read_photograph, read_source
from tests.preparation.photographs import (
    CLASSES,
    LAYOUTS,
    class_folders,
    devkit,
    flat_val_and_devkit,
    images,
    tar,
    tar_files,
    validation_images,
    write,
)


def contents(part):
    """(label, file name, content) of every image."""
    return [
        (label, image.name.rpartition("/")[2], image.read())
        for image, label in zip(part.images, part.labels, strict=True)
    ]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_every_layout_gives_the_same_images_labels_and_order(layout, tmp_path):
    raw = read_source(layout(tmp_path))

    assert raw.class_ids == tuple(sorted(CLASSES))
    assert raw.refused == []
    expected = [
        (label, file, content)
        for label, name in enumerate(sorted(CLASSES))
        for file, content in sorted(images(12)[name].items())
    ]
    assert contents(raw.train) == expected
    label_of = {name: label for label, name in enumerate(sorted(CLASSES))}
    assert contents(raw.test) == sorted(
        (label_of[name], file, content) for file, (name, content) in validation_images().items()
    )


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_classes_have_wordnet_names_where_the_source_has_them(layout, tmp_path):
    has_names = layout.__name__ not in ("class_folders", "tar_of_each_class")
    expected = ("tench", "goldfish", "kit fox") if has_names else tuple(sorted(CLASSES))

    assert read_source(layout(tmp_path)).class_names == expected


def test_the_1000_classes_of_2012_have_names_anyway(tmp_path):
    middle = [f"n0{2_000_000 + i}" for i in range(998)]
    for name in ("n01440764", *middle, "n15075141"):
        write(tmp_path / "train" / name / "a.JPEG", b"")
    names = read_source(tmp_path).class_names

    assert (names[0], names[1], names[-1]) == ("tench", "goldfish", "toilet tissue")


def test_two_classes_of_one_name_are_told_apart(tmp_path):
    class_folders(tmp_path)
    synsets = "n01440764 crane, tall bird\nn01443537 crane, lifting device\nn02119789 kit fox, x\n"
    write(tmp_path / "synset_words.txt", synsets)

    names = read_source(tmp_path).class_names

    assert names == ("crane, tall bird", "crane, lifting device", "kit fox")


def test_a_tar_file_is_read_in_place(tmp_path):
    before = sorted(path.name for path in tar_files(tmp_path).iterdir())
    image = read_source(tmp_path).train.images[5]

    assert image.container == str(tmp_path / "ILSVRC2012_img_train.tar")
    assert image.location.endswith("_train.tar/n01440764.tar/n01440764_3.JPEG")
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_members_that_point_outside_or_are_links_are_refused(tmp_path):
    tar_files(tmp_path)
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, kind in (
            ("../evil.JPEG", tarfile.REGTYPE),
            ("/etc/evil.JPEG", tarfile.REGTYPE),
            ("a/../../evil.JPEG", tarfile.REGTYPE),
            ("link.JPEG", tarfile.SYMTYPE),
            ("hard.JPEG", tarfile.LNKTYPE),
            ("device.JPEG", tarfile.CHRTYPE),
            ("good.JPEG", tarfile.REGTYPE),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
    good = {f"{name}.tar": tar(files) for name, files in images(2).items()}
    write(
        tmp_path / "ILSVRC2012_img_train.tar", tar({**good, f"{CLASSES[0]}.tar": file.getvalue()})
    )

    raw = read_source(tmp_path)

    assert raw.train.images[0].name == "n01440764.tar/good.JPEG"
    assert len(raw.train.images) == 5
    reasons = {place.rpartition(".tar")[2].lstrip(":/ "): why for place, why in raw.refused}
    assert reasons == {
        "../evil.JPEG": "points outside", "etc/evil.JPEG": "points outside",
        "a/../../evil.JPEG": "points outside", "link.JPEG": "no ordinary file",
        "hard.JPEG": "no ordinary file", "device.JPEG": "no ordinary file",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("ILSVRC2012_img_train.tar", lambda content: content[: len(content) // 2]),
        ("ILSVRC2012_img_train.tar", lambda content: content[: -tarfile.RECORDSIZE]),
        ("ILSVRC2012_img_val.tar", lambda content: content[:700]),
        ("ILSVRC2012_img_val.tar", lambda content: b"<html>login</html>"),
        ("ILSVRC2012_devkit_t12.tar.gz", lambda content: content[:300]),
    ],
)
def test_a_download_that_was_cut_off_is_named(tmp_path, name, change):
    path = tar_files(tmp_path) / name
    path.write_bytes(change(path.read_bytes()))

    with pytest.raises(SourceError, match=rf"{name}.* is no whole (tar file|devkit).*get it again"):
        read_source(tmp_path)


def test_a_damaged_header_in_the_middle_does_not_shorten_the_list(tmp_path):
    path = tar_files(tmp_path) / "ILSVRC2012_img_val.tar"
    with tarfile.open(path) as archive:
        third = archive.getmembers()[2].offset
    content = bytearray(path.read_bytes())
    content[third + 150] ^= 0xFF  # its checksum
    path.write_bytes(content)

    with pytest.raises(SourceError, match=f"damaged or cut off at byte {third}"):
        read_source(tmp_path)


def test_other_files_are_left_alone_and_links_to_nowhere_are_told(tmp_path, caplog):
    folder = class_folders(tmp_path) / "train" / CLASSES[0]
    (folder / "Thumbs.db").write_bytes(b"x")
    (folder / "._n01440764_1.JPEG").write_bytes(b"x")
    (folder / "gone.JPEG").symlink_to(tmp_path / "nowhere")
    caplog.set_level("INFO")

    raw = read_source(tmp_path)

    assert len(raw.train.images) == 36
    assert raw.refused == [(str(folder / "gone.JPEG"), "a link to nowhere, or no ordinary file")]
    assert "left alone: 2 files and folders that are no images of a class" in caplog.text


def test_a_link_to_itself_is_no_reason_to_give_up(tmp_path):
    folder = class_folders(tmp_path) / "train" / CLASSES[0]
    (folder / "images").symlink_to("images")

    assert len(read_source(tmp_path).train.images) == 36


def test_an_image_that_is_gone_since_it_was_listed_is_no_bad_one(tmp_path):
    folders, tars = class_folders(tmp_path / "folders"), tar_files(tmp_path / "tars")
    in_folder, in_tar = (read_source(source).train.images[0] for source in (folders, tars))
    Path(in_folder.location).unlink()
    os.truncate(in_tar.container, in_tar.offset + 1)

    for image in (in_folder, in_tar):
        with pytest.raises(OSError, match=r"No such file|cut off since it was listed"):
            read_photograph(image)


def test_a_part_of_the_validation_images_keeps_its_labels(tmp_path):
    flat_val_and_devkit(tmp_path)
    for number in (1, 2, 4):
        (tmp_path / "val" / f"ILSVRC2012_val_{number:08}.JPEG").unlink()
    raw = read_source(tmp_path)

    found = {
        image.name: raw.class_ids[label]
        for image, label in zip(*vars(raw.test).values(), strict=True)
    }
    assert found == {
        name: label
        for name, (label, _) in validation_images().items()
        if int(name[-7:-5]) in (3, 5, 6)
    }


def remove_devkit(root):
    for file in (root / "ILSVRC2012_devkit_t12" / "data").iterdir():
        file.unlink()


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (remove_devkit, "nothing in .* says which classes"),
        (
            lambda root: write(root / "train" / "n09" / "x.txt", "x"),
            "no images in 1 classes, such as n09",
        ),
        (
            lambda root: write(root / "val_annotations.txt", "a.JPEG n01440764\n"),
            "does not say which class",
        ),
        (
            lambda root: write(
                root / "val.csv", "\n".join(f"{name},65" for name in validation_images())
            ),
            "has class 65, of which there are no training images",
        ),
        (
            lambda root: write(root / "ILSVRC2012_devkit_t12/data/meta.mat", b"MATLAB 5.0 no"),
            "meta.mat in .* cannot be read",
        ),
        (
            lambda root: write(
                root / "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt",
                "9\n" * 6,
            ),
            "does not fit its meta.mat",
        ),
    ],
)
def test_what_is_missing_or_wrong_is_named(tmp_path, break_it, message):
    break_it(flat_val_and_devkit(tmp_path))
    with pytest.raises(SourceError, match=message):
        read_source(tmp_path)


def test_a_test_class_without_training_images_is_refused(tmp_path):
    write(class_folders(tmp_path) / "val" / "n09999999" / "x.JPEG", b"x")
    with pytest.raises(SourceError, match=r"1 classes in .*val have no training images"):
        read_source(tmp_path)


def test_a_folder_without_images_says_what_is_expected(tmp_path):
    for root in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(SourceError, match=r"expected train/CLASS/\*\.JPEG or ILSVRC"):
            read_source(root)


@pytest.mark.parametrize("part", ["train", "val"])
def test_of_one_part_alone_the_folder_above_is_meant(tmp_path, part):
    class_folders(tmp_path)
    with pytest.raises(SourceError, match=rf"the {part} part alone: .* above it, {tmp_path}$"):
        read_source(tmp_path / part)


def test_an_unlucky_devkit_has_the_numbers_of_its_own_year(tmp_path):
    meta, _ = devkit()
    flat_val_and_devkit(tmp_path)
    write(
        tmp_path / "ILSVRC2012_devkit_t12/data/meta.mat",
        meta.replace(b"ILSVRC2012_ID", b"ILSVRC2010_ID"),
    )
    assert len(read_source(tmp_path).test.images) == 6


def test_a_table_that_is_no_text_is_refused_by_name(tmp_path):
    class_folders(tmp_path)
    shutil.rmtree(tmp_path / "val")
    write(tmp_path / "val" / "1.JPEG", b"x")
    write(tmp_path / "LOC_val_solution.csv", b"\xff\xfe1\x00")

    with pytest.raises(SourceError, match=r"LOC_val_solution.csv is no text"):
        read_source(tmp_path)
