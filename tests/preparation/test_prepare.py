import fcntl
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from alexnet.paths import PROJECT
from alexnet.preparation import job
from alexnet.sources.shards import ShardImages, check_sizes, read_index, read_sums
from tests.conftest import run_python
from tests.preparation.photographs import (
    CLASSES,
    class_folders,
    encode,
    photograph,
    tar_files,
    write,
)

SHARDS = ["train-00000", "train-00001", "train-00002", "val-00000", "test-00000"]


def prepare(*arguments: object) -> subprocess.CompletedProcess[str]:
    """`python src/prepare.py *arguments` as a user would call it."""
    return run_python("src/prepare.py", *arguments)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != ".lock"
    }


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return class_folders(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def prepared(source, tmp_path_factory) -> Path:
    """33 images for training in three shards, 3 for validation, 6 for the test."""
    dest = tmp_path_factory.mktemp("prepared") / "dest"
    ran = prepare(f"source={source}", f"dest={dest}", "workers=2", "shard_images=16")
    assert (ran.returncode, ran.stderr) == (0, "")
    return dest


def decoded(folder: Path, part: str) -> tuple[np.ndarray, list[int], list[str]]:
    """All images of a part with their labels and names, read without the program."""
    images, labels, names = [], [], []
    for about in sorted(folder.glob(f"{part}-*.npz")):
        arrays, shard = np.load(about), about.with_suffix(".jpegs").read_bytes()
        for first, size, _ in arrays["rows"]:
            images.append(np.asarray(Image.open(io.BytesIO(shard[first : first + size]))))
        labels += arrays["labels"].tolist()
        names += [name.decode() for name in arrays["names"]]
    return np.stack(images), labels, names


def test_every_image_comes_once_with_its_label(prepared, source):
    names = [name for part in ("train", "val") for name in decoded(prepared, part)[2]]
    assert sorted(names) == sorted(path.name for path in (source / "train").glob("*/*"))
    ids = sorted(CLASSES)
    for part in ("train", "val"):
        _, labels, names = decoded(prepared, part)
        assert [name.partition("_")[0] for name in names] == [ids[label] for label in labels]
    _, labels, names = decoded(prepared, "test")
    assert {(ids[k], name) for k, name in zip(labels, names, strict=True)} == {
        (path.parent.name, path.name) for path in (source / "val").glob("*/*")
    }


def test_shards_mix_classes(prepared):
    assert len(set(np.load(prepared / "train-00000.npz")["labels"])) == 3


def test_the_index_says_what_there_is(prepared):
    plain = json.loads((prepared / "index.json").read_text())

    assert plain["images"] == {"train": 33, "val": 3, "test": 6}
    assert [each["id"] for each in plain["classes"]] == sorted(CLASSES)
    assert all(
        (each["train"], each["val"], each["test"]) == (11, 1, 2) for each in plain["classes"]
    )
    assert [shard["name"] for part in plain["shards"].values() for shard in part] == SHARDS
    for shard in [shard for part in plain["shards"].values() for shard in part]:
        summed = subprocess.run(
            ["sha256sum", prepared / f"{shard['name']}.jpegs"], capture_output=True, text=True
        ).stdout
        assert summed.startswith(shard["sha256"])


def test_mean_image_and_covariance_are_those_of_a_slow_loop(prepared):
    images, _, _ = decoded(prepared, "train")
    total = np.zeros((256, 256, 3))
    for image in images:
        total += image
    found = np.load(prepared / "statistics.npz")

    assert np.array_equal(found["mean_image"], (total / 33).transpose(2, 0, 1))
    covariance = np.cov(images.reshape(-1, 3).T.astype(float), bias=True)
    vectors, values = found["eigenvectors"], found["eigenvalues"]
    np.testing.assert_allclose(vectors * values @ vectors.T, covariance, rtol=1e-8)
    assert read_sums(prepared).count == 33


def prepare_with_a_blow(
    folder: Path, after: int, blow: str, *arguments: object, hangup: str = "SIG_DFL"
) -> subprocess.CompletedProcess[str]:
    """prepare.py, whose process is hit as soon as this many shards are complete."""
    program = f"""
import os, signal, sys
from alexnet.cli import prepare
from alexnet.preparation import job

class ShardWriter(job.ShardWriter):
    finished = 0

    def close(self, sums):
        super().close(sums)
        ShardWriter.finished += 1
        if ShardWriter.finished == {after}:
            {blow}

if __name__ == "__main__":
    job.ShardWriter = ShardWriter
    # Not those of tests under nohup.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.{hangup})
    sys.exit(prepare.main(sys.argv[1:]))
"""
    write(folder / "program.py", program)
    return subprocess.run(
        [sys.executable, folder / "program.py", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(PROJECT / "src")},
        capture_output=True, text=True, timeout=60, check=False, start_new_session=True,
    )  # fmt: skip


@pytest.mark.parametrize("finished", [1, 2, 4])
def test_killed_and_said_again_it_gives_the_very_same_files(finished, prepared, source, tmp_path):
    dest = tmp_path / "dest"
    arguments = (f"source={source}", f"dest={dest}", "workers=1", "shard_images=16")
    # The parent alone: its worker must end by itself, else its output would never end.
    prepare_with_a_blow(tmp_path, finished, "os.kill(os.getpid(), 9)", *arguments)
    there = {path: path.stat().st_mtime_ns for path in dest.glob("*.npz")}
    assert len(there) == finished

    ran = prepare(*arguments)

    assert (ran.returncode, ran.stderr) == (0, "")
    assert f"continuing: {finished} of 5 shards exist" in ran.stdout
    assert all(path.stat().st_mtime_ns == when for path, when in there.items())
    assert contents(dest) == contents(prepared)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 75), (signal.SIGHUP, 75)]
)
def test_told_to_stop_it_says_so_and_goes_on(number, status, prepared, source, tmp_path):
    dest = tmp_path / "dest"
    arguments = (f"source={source}", f"dest={dest}", "workers=2", "shard_images=16")
    # To the whole group, as a terminal sends it. A second signal must not interrupt the shutdown.
    told = prepare_with_a_blow(tmp_path, 2, 2 * f"os.killpg(0, {int(number)});", *arguments)

    assert told.returncode == status
    assert "the same command continues" in told.stderr
    assert len(told.stderr.splitlines()) == 1
    assert len(list(dest.glob("*.npz"))) == 2
    assert not list(dest.glob("*.partial"))
    assert prepare(*arguments).returncode == 0
    assert contents(dest) == contents(prepared)


def test_under_nohup_a_closed_terminal_stops_nothing(prepared, source, tmp_path):
    dest = tmp_path / "dest"
    arguments = (f"source={source}", f"dest={dest}", "workers=2", "shard_images=16")
    blow = f"os.killpg(0, {int(signal.SIGHUP)})"

    ran = prepare_with_a_blow(tmp_path, 2, blow, *arguments, hangup="SIG_IGN")

    assert (ran.returncode, ran.stderr) == (0, "")
    assert contents(dest) == contents(prepared)


def test_said_again_when_all_is_done_it_says_so_and_writes_nothing(prepared, source):
    before = {path: path.stat().st_mtime_ns for path in prepared.iterdir() if path.name != ".lock"}
    ran = prepare(f"source={source}", f"dest={prepared}", "shard_images=16", "strict=true")

    assert ran.returncode == 0
    assert f"finished before: {prepared}" in ran.stdout
    last = ran.stdout.splitlines()[-1]
    assert "3 classes, 33 images for training, 3 for validation, 6 for the test" in last
    assert f"python src/train.py +experiment=alexnet_2012 data.root={prepared}" in last
    assert before == {path: path.stat().st_mtime_ns for path in before}


FILES = ["train-00001.jpegs", "val-00000.npz", "statistics.npz", "plan.json"]


@pytest.mark.parametrize(
    ("name", "size"),
    [
        *((name, size) for name in (*FILES, "index.json") for size in (0, 1)),
        *((name, None) for name in (*FILES, "bad_images.csv")),
    ],
)
def test_what_is_lost_after_the_end_is_made_again(name, size, prepared, source, tmp_path):
    folder = copy(prepared, tmp_path)
    (folder / name).write_bytes((folder / name).read_bytes()[:size])
    if size is None:
        (folder / name).unlink()
    shards = {
        path: path.stat().st_mtime_ns
        for path in folder.iterdir()
        if "-0" in path.name and path.stem != Path(name).stem
    }

    ran = prepare(f"source={source}", f"dest={folder}", "shard_images=16")

    assert (ran.returncode, ran.stderr) == (0, "")
    assert "is made again" in ran.stdout
    assert contents(folder) == contents(prepared)
    assert all(path.stat().st_mtime_ns == when for path, when in shards.items())


def test_shards_of_other_images_are_not_taken_when_the_plan_is_lost(prepared, source, tmp_path):
    folder = copy(prepared, tmp_path / "dest")
    (folder / "plan.json").unlink()
    shutil.copytree(source / "train", tmp_path / "other" / "train")
    arguments = (f"source={tmp_path / 'other'}", "shard_images=16", "test_fraction=0.5")

    assert prepare(*arguments, f"dest={folder}").returncode == 0
    assert prepare(*arguments, f"dest={tmp_path / 'anew'}").returncode == 0

    assert contents(folder).items() >= contents(tmp_path / "anew").items()


def test_what_is_finished_stays_so_until_it_can_be_made_again(prepared, tmp_path):
    folder = copy(prepared, tmp_path)
    (folder / "bad_images.csv").unlink()

    ran = prepare(f"source={tmp_path / 'moved'}", f"dest={folder}", "shard_images=16")

    assert ran.returncode == 2
    assert read_index(folder) == read_index(prepared)


def test_what_is_finished_outlives_its_source(tmp_path):
    source, dest = class_folders(tmp_path / "source"), tmp_path / "dest"
    assert prepare(f"source={source}", f"dest={dest}").returncode == 0
    shutil.rmtree(source)

    ran = prepare(f"source={source}", f"dest={dest}")

    assert ran.returncode == 0
    assert "finished before" in ran.stdout


def test_neither_the_layout_nor_the_workers_change_the_shards(prepared, tmp_path):
    tar_files(tmp_path / "source")
    ran = prepare(
        f"source={tmp_path}/source", f"dest={tmp_path}/dest", "shard_images=16", "workers=1"
    )

    assert ran.returncode == 0, ran.stderr
    ours = {name: content for name, content in contents(prepared).items() if "-0" in name}
    theirs = contents(tmp_path / "dest")
    assert all(theirs[name] == content for name, content in ours.items())
    assert read_index(tmp_path / "dest").class_names == ("tench", "goldfish", "kit fox")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ("val_per_class=9", "begun with val_per_class=50, but this is val_per_class=9"),
        ("shard_images=8", "begun with shard_images=16, but this is shard_images=8"),
        ("source={other}", "begun with source="),
    ],
)
def test_another_request_for_the_same_folder_is_refused(
    changed, message, prepared, source, tmp_path
):
    class_folders(tmp_path / "other")
    arguments = [f"source={source}", f"dest={prepared}", "shard_images=16"]

    ran = prepare(*arguments, changed.format(other=tmp_path / "other"))

    assert ran.returncode == 2
    assert message in ran.stderr


def test_other_images_than_those_it_was_begun_with_are_refused(tmp_path):
    source, dest = class_folders(tmp_path / "source"), tmp_path / "dest"
    arguments = (f"source={source}", f"dest={dest}", "shard_images=16", "workers=1")
    assert prepare(*arguments).returncode == 0
    (dest / "index.json").unlink()
    next((source / "train" / CLASSES[0]).iterdir()).unlink()

    ran = prepare(*arguments)

    assert ran.returncode == 2
    assert "was begun with images={'train': 33" in ran.stderr


BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty.JPEG": (lambda: b"", "an empty file"),
    "text.JPEG": (lambda: b"<html>not found</html>", "not an image"),
    "cut.JPEG": (lambda: encode(photograph(0, (300, 300)))[:4000], "truncated"),
    "bomb.JPEG": (lambda: encode(Image.new("1", (12_000, 9_000)), "PNG"), "too large"),
}
GOOD: dict[str, tuple[Callable[[], bytes], str]] = {
    "cmyk.JPEG": (lambda: encode(photograph(0).convert("CMYK")), "CMYK"),
    "grey.JPEG": (lambda: encode(photograph(0).convert("L")), "grey"),
    "png.JPEG": (lambda: encode(photograph(0), "PNG"), "not a JPEG"),
    "line\nbreak.JPEG": (lambda: encode(photograph(0)), "enlarged"),
}


@pytest.fixture
def bad_source(tmp_path) -> Path:
    source = class_folders(tmp_path / "source")
    for name, (make, _) in {**BAD, **GOOD}.items():
        write(source / "train" / CLASSES[0] / name, make())
    write(source / "val" / CLASSES[0] / os.fsdecode(b"\xff\xfe.JPEG"), b"no image")
    return source


def test_bad_images_are_listed_once_with_reasons_and_the_rest_is_converted(bad_source, tmp_path):
    dest = tmp_path / "dest"
    arguments = (f"source={bad_source}", f"dest={dest}", "workers=2")

    ran = prepare(*arguments)

    assert (ran.returncode, ran.stderr) == (0, "")
    assert f"5 images could not be converted, see {dest}/bad_images.csv:" in ran.stdout
    listed = (dest / "bad_images.csv").read_bytes()
    for name, (_, reason) in BAD.items():
        place = f"{bad_source}/train/{CLASSES[0]}/{name}"
        assert f"  {place}: {reason}" in ran.stdout
        assert f"{place},".encode() in listed
    assert f"{bad_source}/val/{CLASSES[0]}/".encode() + b"\xff\xfe.JPEG" in listed
    plain = json.loads((dest / "index.json").read_text())
    assert plain["bad_images"] == 5
    assert {kind: plain["converted"][kind] for kind in ("CMYK", "grey", "not a JPEG")} == {
        "CMYK": 1, "grey": 1, "not a JPEG": 1,
    }  # fmt: skip
    names = [name for part in ("train", "val") for name in decoded(dest, part)[2]]
    assert set(GOOD) <= set(names)
    assert len(names) == 36 + len(GOOD)
    # The sums leave them out, too.
    assert read_sums(dest).count == plain["images"]["train"]


def test_strict_stops_at_the_first_bad_image(bad_source, tmp_path):
    arguments = (f"source={bad_source}", f"dest={tmp_path}/dest", "workers=2")

    ran = prepare(*arguments, "strict=true")

    assert ran.returncode == 1
    assert len(ran.stderr.splitlines()) == 1
    assert str(bad_source) in ran.stderr
    assert not (tmp_path / "dest" / "index.json").exists()
    assert prepare(*arguments).returncode == 0
    again = prepare(*arguments, "strict=true")
    assert again.returncode == 1
    assert "5 images could not be converted: see" in again.stderr


def test_without_a_test_part_one_is_cut_off_if_asked_for(tmp_path):
    source, dest = class_folders(tmp_path / "source"), tmp_path / "dest"
    (source / "val").rename(tmp_path / "elsewhere")
    arguments = (f"source={source}", f"dest={dest}", "workers=1")

    refused = prepare(*arguments)
    ran = prepare(*arguments, "test_fraction=0.5")

    assert (refused.returncode, ran.returncode) == (2, 0)
    assert "test_fraction=0.5 uses half of the training images for the test" in refused.stderr
    assert json.loads((dest / "index.json").read_text())["images"] == {
        "train": 17, "val": 1, "test": 18,  # 6 of each class, then a tenth of all
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sorce={source}", "dest={dest}"], "unknown key sorce: did you mean source?"),
        (["source={source}", "dest={dest}", "num_workers=3"], "did you mean workers?"),
        (["source={source}"], "dest is missing: give dest=FOLDER"),
        (["{source}", "{dest}"], "is not key=value"),
        (["source={source}", "dest={dest}", "workers=0"], "workers=0 is not possible"),
        (["source={source}", "dest={dest}", "strict=yes"], "it must be true or false"),
        (["source={source}", "dest={dest}", "test_fraction=1"], "between 0 and 1"),
        (["source={source}", "dest={dest}", "test_fraction=0.5"], "already has a test part"),
        (["source={source}", "dest={source}/prepared"], "must not contain each other"),
        (["source={source}/train", "dest={source}"], "must not contain each other"),
        (["source={source}", "dest={foreign}"], "contains 1 other files, such as thesis.tex"),
        (["source={foreign}/nowhere", "dest={dest}"], "is not a folder: expected train/CLASS"),
        (
            ["source={source}", "dest={foreign}/thesis.tex/dest"],
            "cannot be created: Not a directory",
        ),
    ],
)
def test_a_wrong_command_is_answered_with_what_to_type(arguments, message, source, tmp_path):
    write(tmp_path / "foreign" / "thesis.tex", "precious")
    places = {"source": source, "dest": tmp_path / "dest", "foreign": tmp_path / "foreign"}

    ran = prepare(*(argument.format(**places) for argument in arguments))

    assert ran.returncode == 2
    assert message in ran.stderr
    assert "Traceback" not in ran.stderr
    assert not list(tmp_path.glob("dest/*.npz"))
    if "nowhere" in str(arguments):
        assert not (tmp_path / "dest").exists()
    assert not (source / "prepared").exists()
    assert [path.name for path in (tmp_path / "foreign").iterdir()] == ["thesis.tex"]


def test_help_is_for_the_asking():
    ran = prepare("--help")
    assert ran.returncode == 0
    for key in ("source", "dest", "workers", "strict", "val_per_class", "test_fraction"):
        assert f"    {key} " in ran.stdout


def test_a_folder_in_use_is_left_alone(prepared, source):
    with (prepared / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ran = prepare(f"source={source}", f"dest={prepared}", "shard_images=16")
    assert ran.returncode == 1
    assert "is in use by process" in ran.stderr


def test_a_worker_that_is_killed_ends_it_with_a_hint(source, tmp_path):
    dest = tmp_path / "dest"
    program = f"""
import os
from pathlib import Path
from alexnet.preparation import Request, WorkersDied, job, prepare

def die(task):
    os.kill(os.getpid(), 9)

if __name__ == "__main__":
    job._convert_some = die
    try:
        prepare(Request(source=Path({str(source)!r}), dest=Path({str(dest)!r}), workers=2), print)
    except WorkersDied as error:
        print(error)
"""
    write(tmp_path / "program.py", program)
    ran = subprocess.run(
        [sys.executable, tmp_path / "program.py"], capture_output=True, text=True, timeout=60
    )
    assert "run the same command again with fewer than workers=2" in ran.stdout, ran.stderr


def test_processes_that_convert_do_not_import_torch():
    program = "import sys, alexnet.preparation.job; print({'torch', 'scipy'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.stdout == "set()\n"


def copy(folder: Path, to: Path) -> Path:
    for name, content in contents(folder).items():
        write(to / name, content)
    return to


def test_a_shard_that_is_missing_or_of_another_size_is_named(prepared, tmp_path):
    folder = copy(prepared, tmp_path)
    index = read_index(folder)
    check_sizes(folder, index)
    path = folder / "test-00000.jpegs"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"test-00000.jpegs is damaged: it has .*remove it and"):
        check_sizes(folder, index)
    path.unlink()
    with pytest.raises(ValueError, match=r"test-00000.jpegs is missing"):
        check_sizes(folder, index)


def test_any_flipped_byte_is_found_when_it_is_read_and_the_remedy_works(prepared, source, tmp_path):
    folder = copy(prepared, tmp_path / "dest")
    path = folder / "train-00001.jpegs"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    shards = ShardImages(folder, read_index(folder).shards["train"])

    with pytest.raises(ValueError, match=r"train-00001.jpegs is damaged at bytes .*remove it and"):
        shards.read(np.arange(33))

    path.unlink()
    (folder / "index.json").unlink()
    assert prepare(f"source={source}", f"dest={folder}", "shard_images=16").returncode == 0
    assert contents(folder) == contents(prepared)


@pytest.mark.parametrize("name", ["index.json", "statistics.npz", "train-00000.npz"])
@pytest.mark.parametrize("size", [0, 100])
def test_damage_to_what_is_known_of_the_images_is_named(name, size, prepared, tmp_path):
    folder = copy(prepared, tmp_path)
    (folder / name).write_bytes((folder / name).read_bytes()[:size])

    def read_all() -> None:
        ShardImages(folder, read_index(folder).shards["train"])
        read_sums(folder)

    with pytest.raises(ValueError, match=f"{name} is .*damaged.*src/prepare.py again"):
        read_all()


def test_an_image_that_two_parts_have_is_named(caplog: pytest.LogCaptureFixture):
    """This includes an image that was moved from training to validation."""

    def part(checks: list[int]) -> list[SimpleNamespace]:
        names = np.array([f"{check}.png".encode() for check in checks])
        return [SimpleNamespace(checks=np.array(checks), names=names)]

    finished = {"train": part([1, 2]), "val": part([3, 4]), "test": part([5, 4, 1])}

    for seen, other in (("train", "val"), ("train", "test"), ("val", "test")):
        job._warn_of_same_images(finished, seen, other)

    same = "images are also {} images, with the same pixels, such as {}"
    assert caplog.messages == [
        f"1 of 3 test {same.format('training', '1.png')}",
        f"1 of 3 test {same.format('validation', '4.png')}",
    ]
