import bz2
import gzip
import io
import lzma
import os
import shutil
import tarfile
import unicodedata
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
        "../evil.JPEG": "points outside", "etc/evil.JPEG": "an absolute name",
        "a/../../evil.JPEG": "points outside", "link.JPEG": "not a regular file",
        "hard.JPEG": "not a regular file", "device.JPEG": "not a regular file",
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

    with pytest.raises(SourceError, match=rf"{name}.* is not a complete (tar file|devkit)"):
        read_source(tmp_path)


def test_a_damaged_header_in_the_middle_does_not_shorten_the_list(tmp_path):
    path = tar_files(tmp_path) / "ILSVRC2012_img_val.tar"
    with tarfile.open(path) as archive:
        third = archive.getmembers()[2].offset
    content = bytearray(path.read_bytes())
    content[third + 150] ^= 0xFF  # its checksum
    path.write_bytes(content)

    with pytest.raises(SourceError, match=f"damaged or truncated at byte {third}"):
        read_source(tmp_path)


def test_other_files_are_left_alone_and_links_to_nowhere_are_told(tmp_path, caplog):
    folder = class_folders(tmp_path) / "train" / CLASSES[0]
    (folder / "Thumbs.db").write_bytes(b"x")
    (folder / "._n01440764_1.JPEG").write_bytes(b"x")
    (folder / "gone.JPEG").symlink_to(tmp_path / "nowhere")
    caplog.set_level("INFO")

    raw = read_source(tmp_path)

    assert len(raw.train.images) == 36
    assert raw.refused == [(str(folder / "gone.JPEG"), "a broken link, or not a regular file")]
    assert "ignored: 2 files and folders that are not images of a class" in caplog.text


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
        with pytest.raises(OSError, match=r"No such file|truncated since it was listed"):
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
        (remove_devkit, "nothing in .* says which class"),
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
            "has class 65, which has no training images",
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
            "does not match its meta.mat",
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
    with pytest.raises(SourceError, match=rf"only the {part} part: .* above it, {tmp_path}$"):
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

    with pytest.raises(SourceError, match=r"LOC_val_solution.csv is not valid UTF-8"):
        read_source(tmp_path)


# Tar files beside what they hold, or not as they are expected.


@pytest.mark.parametrize("part", ["train", "val"])
def test_a_class_that_lies_there_as_a_folder_and_as_a_tar_file_is_refused(tmp_path, part):
    class_folders(tmp_path)
    write(tmp_path / part / f"{CLASSES[1]}.tar", tar(images(2)[CLASSES[1]]))

    with pytest.raises(SourceError, match=f"class {CLASSES[1]} both .*{CLASSES[1]}.tar"):
        read_source(tmp_path)


@pytest.mark.parametrize("name", ["ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"])
def test_the_tar_file_of_a_part_among_the_classes_is_no_class(tmp_path, name):
    class_folders(tmp_path)
    write(tmp_path / "train" / name, tar(images(2)[CLASSES[1]]))

    with pytest.raises(SourceError, match=f"{name} is not a class: move it"):
        read_source(tmp_path)


def test_a_tar_file_of_several_classes_among_the_classes_is_no_class(tmp_path):
    class_folders(tmp_path)
    inner = {f"{name}.tar": tar(files) for name, files in images(2).items()}
    write(tmp_path / "train" / "all.tar", tar(inner))

    with pytest.raises(SourceError, match=r"all\.tar is not the tar file of one class"):
        read_source(tmp_path)


def test_shards_of_webdataset_are_no_classes(tmp_path):
    class_folders(tmp_path)
    for number in range(2):
        shard = {"a.jpg": b"x", "a.cls": b"1", "b.jpg": b"y", "b.cls": b"2"}
        write(tmp_path / "train" / f"imagenet-train-{number:06}.tar", tar(shard))

    with pytest.raises(SourceError, match=r"a\.cls beside the image .* WebDataset"):
        read_source(tmp_path)


def appended(*members: tuple[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def test_of_members_with_one_name_the_last_counts_once(tmp_path, caplog):
    caplog.set_level("WARNING")
    tar_files(tmp_path)
    new = tar({"x.JPEG": b"new"})
    old = tar({"x.JPEG": b"old", "y.JPEG": b"old"})
    write(
        tmp_path / "ILSVRC2012_img_train.tar",
        appended(
            ("a.tar", old),
            ("b.tar", appended(("x.JPEG", b"first"), ("./x.JPEG", b"last"))),
            ("a.tar", new),
            (f"{CLASSES[0]}.tar", tar(images(1)[CLASSES[0]])),
            (f"{CLASSES[1]}.tar", tar(images(1)[CLASSES[1]])),
            (f"{CLASSES[2]}.tar", tar(images(1)[CLASSES[2]])),
        ),
    )

    found = read_source(tmp_path).train

    assert [each.read() for each in found.images if each.name[0] in "ab"] == [b"new", b"last"]
    assert "2 names occur twice in a tar file" in caplog.text


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (
            ("train/a/1.JPEG", "val/a/2.JPEG", "train/b/3.JPEG"),
            "class a twice, as train/a and as val/a",
        ),
        (("a.tar", "old/a.tar", "b.tar"), r"class a twice, as a\.tar and as old/a\.tar"),
        (("a/1.JPEG", "a/more/2.JPEG", "b/3.JPEG"), "images in a/ and in a/more/"),
        (("train/1.JPEG", "train/a/2.JPEG", "train/b/3.JPEG"), "images in train/ and in train/"),
    ],
)
def test_a_tar_file_in_which_classes_are_not_clear_is_refused(tmp_path, members, message):
    content = {name: tar({"1.JPEG": b"x"}) if name.endswith(".tar") else b"x" for name in members}
    write(tmp_path / "ILSVRC2012_img_train.tar", tar(content))

    with pytest.raises(SourceError, match=message):
        read_source(tmp_path)


def test_images_in_a_tar_file_may_lie_one_folder_deeper_as_in_tiny_imagenet(tmp_path):
    members = {f"train/{name}/images/1.JPEG": b"x" for name in CLASSES}
    write(tmp_path / "ILSVRC2012_img_train.tar", tar(members))

    assert read_source(tmp_path).class_ids == tuple(sorted(CLASSES))


@pytest.mark.parametrize(
    ("compress", "kind"), [(gzip.compress, "gzip"), (bz2.compress, "bzip2"), (lzma.compress, "xz")]
)
@pytest.mark.parametrize("name", ["train.tar", "train.tar.gz", "val.tar", "class", "inner"])
def test_compressed_tar_files_are_called_that_whatever_their_name(tmp_path, compress, kind, name):
    tar_files(tmp_path)
    if name == "class":
        write(tmp_path / "train" / "a.tar", compress(tar({"1.JPEG": b"x"})))
    elif name == "inner":
        inner = {"a.tar": compress(tar({"1.JPEG": b"x"}))}
        write(tmp_path / "ILSVRC2012_img_train.tar", tar(inner))
    else:
        plain = tmp_path / f"ILSVRC2012_img_{name.removesuffix('.gz')}"
        content = plain.read_bytes()
        plain.unlink()
        write(tmp_path / f"ILSVRC2012_img_{name}", compress(content))

    with pytest.raises(SourceError, match=rf"is compressed \({kind}\) .*: decompress it"):
        read_source(tmp_path)


def test_tar_files_that_were_joined_without_tar_are_refused(tmp_path):
    first, second = (tar({f"{name}.tar": tar(images(2)[name])}) for name in CLASSES[:2])
    write(tmp_path / "ILSVRC2012_img_train.tar", first + second)

    with pytest.raises(SourceError, match=r"has data after its end, .*: join them with tar"):
        read_source(tmp_path)


def test_tar_files_may_be_named_in_capitals(tmp_path):
    tar_files(tmp_path)
    (tmp_path / "ILSVRC2012_img_val.tar").rename(tmp_path / "ILSVRC2012_img_val.TAR")
    for name, files in images(3).items():
        write(tmp_path / "train" / f"{name}.TAR", tar(files))

    raw = read_source(tmp_path)

    assert (len(raw.train.images), len(raw.test.images)) == (9, 6)
    assert raw.class_ids == tuple(sorted(CLASSES))


def test_a_member_without_a_name_is_left_alone(tmp_path):
    tar_files(tmp_path)
    for name, files in images(2).items():
        write(tmp_path / "train" / f"{name}.tar", tar({".": b"x", **files}))

    assert len(read_source(tmp_path).train.images) == 6


def test_a_tar_file_of_absolute_names_alone_says_so(tmp_path):
    members = {f"/data/{name}/1.JPEG": b"x" for name in CLASSES}
    write(tmp_path / "ILSVRC2012_img_train.tar", tar(members))

    with pytest.raises(SourceError, match=r"/data/n01440764/1.JPEG is refused: an absolute name"):
        read_source(tmp_path)


# Labels


def flat(root, names):
    """Classes "hot", "hot dog" and "cat"; test images of these names."""
    for name in ("hot", "hot dog", "cat"):
        write(root / "train" / name / "t.JPEG", name)
    for name in names:
        write(root / "val" / name, name)
    return root


def test_names_of_classes_may_have_spaces_in_any_table(tmp_path):
    tables = {
        "val.csv": "1.jpg,hot dog\n2.jpg,hot\n3.jpg,cat",
        "val.txt": "1.jpg hot dog\n2.jpg hot\n3.jpg cat",
        "val_annotations.txt": "1.jpg\thot dog\t0\t0\t62\t62\n2.jpg\thot\n3.jpg\tcat, tame",
        "LOC_val_solution.csv": "Id,Boxes\n1,hot dog 85 1 499 272 \n2,hot 1 2 3 4\n3,cat",
    }
    for file, table in tables.items():
        root = flat(tmp_path / file, ["1.jpg", "2.jpg", "3.jpg"])
        if file == "val_annotations.txt":
            (root / "train" / "cat").rename(root / "train" / "cat, tame")
        write(root / file, table)
        raw = read_source(root)
        found = [raw.class_ids[label].split(",")[0] for label in raw.test.labels]
        names = [image.name for image in raw.test.images]
        assert dict(zip(names, found, strict=True)) == {
            "1.jpg": "hot dog", "2.jpg": "hot", "3.jpg": "cat",
        }, file  # fmt: skip


def test_the_first_word_of_an_unknown_class_is_not_taken_for_a_class(tmp_path):
    write(flat(tmp_path, ["1.jpg"]) / "val.csv", "1.jpg,cat house")

    with pytest.raises(SourceError, match="has class cat house, which has no training"):
        read_source(tmp_path)


def test_lines_that_contradict_each_other_are_refused(tmp_path):
    write(flat(tmp_path, ["1.jpg", "2.jpg"]) / "val.csv", "1.jpg,hot\n2.jpg,hot\n1.jpg,cat")

    with pytest.raises(SourceError, match=r"1.jpg has class hot, but on line 3 class cat"):
        read_source(tmp_path)


def test_images_that_differ_in_their_suffix_alone_keep_their_own_classes(tmp_path):
    write(flat(tmp_path, ["1.jpg", "1.png"]) / "val.csv", "1.jpg,hot\n1.png,cat")

    raw = read_source(tmp_path)

    found = {
        i.name: raw.class_ids[n] for i, n in zip(raw.test.images, raw.test.labels, strict=True)
    }
    assert found == {"1.jpg": "hot", "1.png": "cat"}


@pytest.mark.parametrize("table", ["1,hot", "1.jpg,hot", "1.JPEG,hot\n1.bmp,cat"])
def test_a_table_that_does_not_tell_two_images_apart_is_refused(tmp_path, table):
    write(flat(tmp_path, ["1.jpg", "1.png"]) / "val.csv", table)

    with pytest.raises(SourceError, match="does not say which of the images called 1 it means"):
        read_source(tmp_path)


@pytest.mark.parametrize(
    "name", ["n01440764_1.JPEG", "ILSVRC2012_test_00000001.JPEG", "ILSVRC2012_val_1.JPEG", "1.JPEG"]
)
def test_the_devkit_gives_no_class_to_names_that_it_does_not_speak_of(tmp_path, name):
    write(flat_val_and_devkit(tmp_path) / "val" / name, b"x")

    with pytest.raises(SourceError, match=f"not of {name}: move it away"):
        read_source(tmp_path)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("file", ["words.txt", "val.csv"])
def test_a_text_that_is_not_in_utf_8_is_refused_by_name(tmp_path, encoding, file):
    root = flat(tmp_path, ["1.jpg"])
    write(root / "val.csv", "1.jpg,hot")
    write(root / file, "hot\tcafé\n".encode(encoding))

    with pytest.raises(SourceError, match=rf"{file} is not valid UTF-8 .*: save it as UTF-8"):
        read_source(root)


def test_the_mark_of_an_encoding_is_no_part_of_the_first_name(tmp_path):
    root = class_folders(tmp_path)
    write(root / "words.txt", "\ufeffn01440764\ttench\r\nn01443537\tgoldfish\r\n".encode())

    assert read_source(root).class_names[:2] == ("tench", "goldfish")


def test_two_names_of_one_class_are_refused(tmp_path):
    write(class_folders(tmp_path) / "words.txt", "n01440764\ttench\nn01440764\tcat\n")

    with pytest.raises(
        SourceError, match=r"words.txt gives class n01440764 two names, tench and cat"
    ):
        read_source(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda name: unicodedata.normalize("NFD", name), "another form of Unicode"),
        (str.upper, "differs in upper and lower case"),
    ],
)
@pytest.mark.parametrize("where", ["all folders", "one folder", "table"])
def test_classes_that_are_spelt_otherwise_in_the_test_part_are_named(
    tmp_path, change, message, where
):
    names = ["café", "naïve"]
    for name in names:
        write(tmp_path / "train" / name / "1.JPEG", b"x")
    spelt = [change(names[0]), change(names[1]) if where == "all folders" else names[1]]
    if where == "table":
        write(tmp_path / "val" / "1.JPEG", b"y")
        write(tmp_path / "val.csv", f"1.JPEG,{spelt[0]}")
    else:
        for name in spelt:
            write(tmp_path / "val" / name / "2.JPEG", b"y")

    with pytest.raises(SourceError, match=message):
        read_source(tmp_path)


def test_two_training_classes_that_look_the_same_are_refused(tmp_path):
    for form in ("NFC", "NFD"):
        write(tmp_path / "train" / unicodedata.normalize(form, "café") / "1.JPEG", b"x")

    with pytest.raises(SourceError, match="two classes café, in different forms of Unicode"):
        read_source(tmp_path)


def test_class_folders_need_not_be_unicode_and_their_names_can_be_printed(tmp_path):
    for name in (b"caf\xe9", b"tea"):
        write(tmp_path / "train" / os.fsdecode(name) / "1.JPEG", b"x")

    raw = read_source(tmp_path)

    assert raw.class_ids[0] == os.fsdecode(b"caf\xe9")
    assert raw.class_names == ("caf\\xe9", "tea")


# Folders that are not looked into


@pytest.mark.parametrize("name", ["test", "validation", "Val"])
def test_a_part_under_another_name_is_told(tmp_path, caplog, name):
    caplog.set_level("WARNING")
    root = class_folders(tmp_path)
    (root / "val").rename(root / name)

    raw = read_source(root)

    assert raw.test is None
    assert f"not read: {root / name} (only train and val are read: rename" in caplog.text
    assert str(root / name) in raw.not_read


def test_of_a_tar_file_the_folder_is_meant(tmp_path):
    root = tar_files(tmp_path)

    with pytest.raises(SourceError, match=f"is a file: give the folder that contains it, {root}$"):
        read_source(root / "ILSVRC2012_img_train.tar")


def test_training_images_under_another_name_are_told(tmp_path):
    root = class_folders(tmp_path)
    (root / "train").rename(root / "training")

    with pytest.raises(SourceError, match=rf"no training images in {root}: {root}/training \(only"):
        read_source(root)


def test_images_deeper_in_a_class_are_counted_and_told(tmp_path, caplog):
    caplog.set_level("WARNING")
    root = class_folders(tmp_path)
    for i in range(3):
        write(root / "train" / CLASSES[0] / "more" / "and more" / f"{i}.jpg", b"x")

    assert len(read_source(root).train.images) == 36
    assert "3 images in folders below CLASS/" in caplog.text


def test_a_class_whose_images_all_lie_deeper_says_so(tmp_path):
    root = class_folders(tmp_path)
    write(root / "train" / "animals" / "cats" / "1.jpg", b"x")

    with pytest.raises(
        SourceError, match=r"such as animals \(its images are in a subfolder, .*cats: move"
    ):
        read_source(root)
