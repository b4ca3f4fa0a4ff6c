"""Which images a run is of: fingerprints, and runs that must not come together."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from alexnet.data import cifar10 as data
from alexnet.folders.ending import CANNOT_BE_BUILT, Exit
from alexnet.folders.run import RunDir
from alexnet.paths import PROJECT
from alexnet.run.images import Images, contradiction, identify
from alexnet.sources import cifar10
from tests.conftest import Train, plan, run_folder, run_python, run_train, the_sweep
from tests.preparation.photographs import (
    LAYOUTS,
    class_folders,
    encode,
    photograph,
    prepare_shards,
    write,
)


def cifar10_batches(root: Path) -> Path:
    for name in cifar10.FILES:
        write(root / cifar10.FOLDER / name, f"the images of {name}")
    return root


def prepared(root: Path, *, images: int = 12) -> Path:
    return prepare_shards(class_folders(root / "raw", images), root / "prepared")


def fingerprint(data: str, root: Path) -> str:
    found = identify(plan(f"data={data}", f"data.root={root}")[0].config.data)
    assert found is not None
    assert found.root == str(root.resolve())
    return found.fingerprint


@pytest.mark.parametrize(
    ("data", "make"),
    [("cifar10", cifar10_batches), ("imagenet", class_folders), ("imagenet", prepared)],
)
def test_the_same_images_at_another_path_have_the_same_fingerprint(
    data: str, make: Callable[[Path], Path], tmp_path: Path
):
    root = make(tmp_path / "here")
    there, link = tmp_path / "there", tmp_path / "link"
    shutil.copytree(root, there)
    link.symlink_to(root)

    assert len(fingerprint(data, root)) == 16
    assert fingerprint(data, root) == fingerprint(data, there) == fingerprint(data, link)


def test_the_folder_of_cifar10_has_the_fingerprint_of_the_root_that_holds_it(tmp_path: Path):
    root = cifar10_batches(tmp_path)

    assert fingerprint("cifar10", root) == fingerprint("cifar10", root / cifar10.FOLDER)


@pytest.mark.parametrize("name", ["data_batch_3", "test_batch"])
def test_one_other_byte_in_a_batch_gives_cifar10_another_fingerprint(name: str, tmp_path: Path):
    before = fingerprint("cifar10", cifar10_batches(tmp_path))
    file = tmp_path / cifar10.FOLDER / name
    file.write_bytes(file.read_bytes()[:-1] + b"?")

    assert fingerprint("cifar10", tmp_path) != before


def test_the_files_of_cifar10_are_those_that_torchvision_knows():
    assert set(cifar10.FILES) == set(data._MD5)
    assert data.torchvision.datasets.CIFAR10.base_folder == cifar10.FOLDER


def test_one_image_more_gives_prepared_images_another_fingerprint(tmp_path: Path):
    one, other = prepared(tmp_path / "one"), prepared(tmp_path / "other", images=13)

    assert fingerprint("imagenet", one) != fingerprint("imagenet", other)


def add(root: Path) -> None:
    write(root / "train" / "n01440764" / "one_more.JPEG", encode(photograph(1)))


def remove(root: Path) -> None:
    (root / "train" / "n01440764" / "n01440764_3.JPEG").unlink()


def change(root: Path) -> None:
    write(root / "val" / "n01440764" / "ILSVRC2012_val_00000001.JPEG", encode(photograph(2)))


def move_to_another_class(root: Path) -> None:
    shutil.move(root / "train" / "n01440764" / "n01440764_3.JPEG", root / "train" / "n01443537")


@pytest.mark.parametrize("alter", [add, remove, change, move_to_another_class])
def test_one_image_in_class_folders_makes_the_difference(
    alter: Callable[[Path], None], tmp_path: Path
):
    before = fingerprint("imagenet", class_folders(tmp_path))

    alter(tmp_path)

    assert fingerprint("imagenet", tmp_path) != before


def test_neither_the_order_of_files_nor_what_is_no_image_makes_a_difference(tmp_path: Path):
    before = fingerprint("imagenet", class_folders(tmp_path / "one"))
    root = tmp_path / "other"
    for file in reversed(sorted((tmp_path / "one").rglob("*.JPEG"))):
        write(root / file.relative_to(tmp_path / "one"), file.read_bytes())
    write(root / "train" / "n01440764" / ".DS_Store", "a desktop's")
    write(root / "train" / "README", "words")

    assert fingerprint("imagenet", root) == before


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_a_layout_does_not_make_a_difference(layout: Callable[[Path], Path], tmp_path: Path):
    plain = class_folders(tmp_path / "plain")

    assert fingerprint("imagenet", layout(tmp_path / "layout")) == fingerprint("imagenet", plain)


@pytest.mark.parametrize("data", ["mnist5k", "synthetic"])
def test_images_that_come_with_the_program_have_none(data: str):
    assert identify(plan(f"data={data}")[0].config.data) is None


@pytest.mark.parametrize("data", ["cifar10", "imagenet"])
def test_images_that_are_not_there_have_none_to_be_told(data: str, tmp_path: Path):
    with pytest.raises((OSError, ValueError)):
        fingerprint(data, tmp_path)


def test_of_many_runs_some_are_named():
    here = Images(name="CIFAR10", root="/b", fingerprint="2")
    before = {
        f"seed-{i}": Images(name="CIFAR10", root="/a", fingerprint="12"[i == 3]) for i in range(9)
    }

    problem = contradiction(here, before)

    assert problem == (
        "the images in data.root=/b are not those that seed-0, seed-1, seed-2, seed-4, seed-5, "
        "seed-6 and 2 more were trained on, found in /a"
    )


def test_the_same_imagenet_in_other_shards_is_not_said_to_be_other_images():
    here = Images(name="ImageNet", root="/b", fingerprint="2")
    before = {"seed-0": Images(name="ImageNet", root="/a", fingerprint="1")}

    assert contradiction(here, before) == (
        "the images in data.root=/b are not those that seed-0 was trained on, found in /a, or were "
        "prepared differently"
    )


def test_torch_is_not_imported_to_tell_them(tmp_path: Path):
    program = (
        "import sys; from pathlib import Path; import alexnet.run.images; "
        "from alexnet.sources import cifar10, raw_imagenet, shards; "
        "raw_imagenet.fingerprint(Path(sys.argv[1])); "
        "assert 'torch' not in sys.modules"
    )
    root = class_folders(tmp_path)

    subprocess.run([sys.executable, "-c", program, root], cwd=PROJECT / "src", check=True)


# From here on as a user would: src/train.py in a process of its own.

QUICK = ("data=imagenet", "data.workers=0", "data.augmentation=none", "data.batch_size=16",
         "trainer.max_epochs=1", "trainer.threads=1")  # fmt: skip


@pytest.fixture(scope="module")
def a(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return class_folders(tmp_path_factory.mktemp("images") / "a")


@pytest.fixture(scope="module")
def b(a: Path) -> Path:
    return class_folders(a.with_name("b"), per_class=11)


@pytest.fixture(scope="module")
def finished(a: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    outputs = tmp_path_factory.mktemp("outputs")
    done = run_train(outputs, *QUICK, f"data.root={a}")
    assert done.returncode == 0, done.stderr
    return outputs


@pytest.fixture
def outputs(finished: Path, tmp_path: Path) -> Path:
    """One run, seed-0, finished on the images in a."""
    return shutil.copytree(finished, tmp_path / "outputs")


def only_run(outputs: Path) -> RunDir:
    [run] = the_sweep(outputs).runs()
    return run


def half_done(outputs: Path) -> RunDir:
    run = only_run(outputs)
    (run.path / "result.json").unlink()
    return run


def test_a_run_notes_where_its_images_were_and_which(outputs: Path, a: Path):
    expected = {"name": "ImageNet", "root": str(a), "fingerprint": fingerprint("imagenet", a)}

    assert only_run(outputs).read_provenance()["data"] == expected


@pytest.mark.parametrize("begin", [only_run, half_done])
@pytest.mark.parametrize("seeds", ["seed=0", "seed=0,1", "seed=1"])
def test_a_folder_of_runs_on_other_images_is_refused_before_anything_starts(
    begin: Callable[[Path], RunDir],
    seeds: str,
    outputs: Path,
    a: Path,
    b: Path,
    train_here: Train,
):
    run = begin(outputs)
    files = {file: file.stat().st_mtime_ns for file in outputs.rglob("*.json")}

    done = train_here(*QUICK, f"data.root={b}", seeds, outputs=outputs)

    assert done.returncode == Exit.WRONG
    assert done.stderr.splitlines()[0] == (
        f"error: {run.path.parent}: the images in data.root={b} are not those that seed-0 was "
        f"trained on, found in {a}, or were prepared differently: set data.root to their folder, "
        "or start in a new folder with outputs=OTHER_FOLDER"
    )
    assert "finished before" not in done.stdout
    assert {file: file.stat().st_mtime_ns for file in outputs.rglob("*.json")} == files


def test_images_that_have_moved_are_the_same(outputs: Path, a: Path, tmp_path: Path):
    moved = shutil.copytree(a, tmp_path / "moved")

    done = run_train(outputs, *QUICK, f"data.root={moved}", "seed=0,1")

    assert done.returncode == 0, done.stderr
    assert "finished before: seed-0" in done.stdout
    one, other = (run.read_provenance()["data"] for run in the_sweep(outputs).runs())
    assert (one["root"], other["root"]) == (str(a), str(moved))
    assert one["fingerprint"] == other["fingerprint"]


def test_other_images_have_a_new_folder_with_fresh(outputs: Path, b: Path):
    done = run_train(outputs, *QUICK, f"data.root={b}", "fresh=true")

    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_roots_may_be_what_is_swept(tmp_path: Path, a: Path, b: Path):
    for seed in (0, 1):
        done = run_train(tmp_path, *QUICK, "-m", f"data.root={a},{b}", f"seed={seed}")
        assert done.returncode == 0, done.stderr

    assert len(list(the_sweep(tmp_path).runs())) == 4


@pytest.mark.parametrize("rest", ["nothing", "an empty folder"])
def test_finished_runs_are_reported_when_their_images_are_gone(
    rest: str, outputs: Path, tmp_path: Path
):
    gone = tmp_path / "gone"
    if rest == "an empty folder":
        gone.mkdir()

    done = run_train(outputs, *QUICK, f"data.root={gone}")

    assert done.returncode == 0, done.stderr
    assert f"not compared with the images of the runs before: {gone}" in done.stdout.replace(
        "no training images in ", ""
    )
    assert "finished before: seed-0" in done.stdout


def test_runs_that_have_not_noted_their_images_are_accepted(outputs: Path, b: Path):
    run = only_run(outputs)
    provenance = run.read_provenance()
    del provenance["data"]
    run.write_provenance(provenance)

    done = run_train(outputs, *QUICK, f"data.root={b}")

    assert done.returncode == 0, done.stderr
    assert "finished before: seed-0" in done.stdout


def test_the_process_of_a_run_does_not_go_on_with_other_images(outputs: Path, a: Path, b: Path):
    # As under a launcher whose workers alone see the images.
    run = half_done(outputs)
    run.config.write_text(run.config.read_text().replace(str(a), str(b)))
    provenance = run.read_provenance()

    done = run_folder(run)

    status = run.read_status()
    assert done.returncode == Exit.WRONG
    assert (status["state"], status["cause"]) == ("failed", CANNOT_BE_BUILT)
    assert status["error"].startswith(
        f"the images in data.root={b} are not those that seed-0 was trained on, found in {a}"
    )
    assert "Traceback" not in done.stderr
    assert run.read_provenance() == provenance


def test_nor_does_it_join_a_sweep_on_other_images(outputs: Path, a: Path, b: Path):
    first = only_run(outputs)
    run = RunDir(first.path.with_name("seed-1"))
    run.config.parent.mkdir(parents=True)
    run.config.write_text(
        first.config.read_text().replace(str(a), str(b)).replace("seed: 0", "seed: 1")
    )
    sweep = the_sweep(outputs)
    plan = sweep.read_plan()
    sweep.write_plan({**plan, "runs": {**plan["runs"], "seed-1": {"arm": {}, "seed": 1}}})

    run_folder(run)

    assert "are not those that seed-0 was trained on" in run.read_status()["error"]


def test_resume_takes_the_same_images_from_another_path_and_no_others(
    outputs: Path, a: Path, b: Path, tmp_path: Path
):
    run, moved = only_run(outputs), shutil.copytree(a, tmp_path / "moved")
    config = run.config.read_text()

    refused = run_train(outputs, f"resume={run.path}", "trainer.max_epochs=2", f"data.root={b}")

    assert refused.returncode == Exit.WRONG
    assert "are not those that seed-0 was trained on" in refused.stderr
    assert run.config.read_text() == config

    done = run_train(outputs, f"resume={run.path}", "trainer.max_epochs=2", f"data.root={moved}")

    assert done.returncode == 0, done.stderr
    assert len(run.read_metrics()) == 2
    assert json.loads((run.path / "provenance.json").read_text())["data"]["root"] == str(moved)


def test_evaluation_on_other_images_says_so(outputs: Path, a: Path, b: Path):
    run = only_run(outputs)
    same, other = (
        run_python("src/evaluate.py", f"checkpoint={run.path}", f"data.root={root}")
        for root in (a, b)
    )

    assert same.returncode == other.returncode == 0, other.stderr
    assert f"are not those that {run.path} was trained on" in other.stdout
    assert "are not those" not in same.stdout
