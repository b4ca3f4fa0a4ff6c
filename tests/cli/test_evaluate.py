import csv
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from torch import nn

from alexnet.cli import evaluate
from alexnet.config.names import sweep_name
from alexnet.config.schema import ConfigError
from alexnet.data import Synthetic
from alexnet.folders.ending import Exit
from alexnet.folders.run import RunDir
from alexnet.folders.sweep import SweepDir, find_checkpoint
from alexnet.model import AlexNet, CifarNet
from alexnet.paths import PROJECT
from tests.conftest import Train, plan, the_sweep

MODEL = {"_target_": "alexnet.model.CifarNet", "num_classes": 6, "init": "he", "image_size": 24}
DATA = ("data=synthetic", "data.num_images=100", "data.num_classes=6", "data.size=32")
NAMES = tuple(f"class {i}" for i in range(6))


def make_net(seed: int = 11) -> CifarNet:
    torch.manual_seed(seed)
    net = CifarNet(6, init="he", image_size=24).eval()
    # As after training: classes differ.
    nn.init.normal_(net.fc4.weight, std=0.3)
    return net


def save(path: Path, net: nn.Module, **changes: Any) -> Path:
    """Save a checkpoint as a run does, without the entries that only training needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "state_dict": {f"net.{name}": value for name, value in net.state_dict().items()},
        "model": MODEL,
        "mean_image": torch.full((3, 32, 32), 120.0),
        "class_names": list(NAMES),
        "augmentation": "crop24",
        "global_step": 20,
    }
    torch.save(content | changes, path)
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run on synthetic images."""
    [planned] = plan(*DATA, "model.image_size=24", "data.augmentation=crop24")
    folder = tmp_path / "runs" / "seed-0"
    save(folder / "checkpoints" / "last.ckpt", make_net())
    (folder / ".hydra").mkdir()
    OmegaConf.save(OmegaConf.create(planned.config.plain()), folder / ".hydra" / "config.yaml")
    return folder


def errors_of(tmp_path: Path, *arguments: object) -> dict[str, Any]:
    out = tmp_path / "out.json"
    assert evaluate.main([*map(str, arguments), f"out={out}"]) == 0
    return json.loads(out.read_text())


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as opened:
        return list(csv.DictReader(opened))


def centre(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images)[..., 4:28, 4:28].float() - 120


def test_a_run_folder_says_all_that_is_needed(run: Path, tmp_path: Path):
    result = errors_of(tmp_path, f"checkpoint={run}")

    data = Synthetic(num_images=100, num_classes=6, size=32).load_test()
    wrong = (make_net()(centre(data.images)).argmax(1) != torch.from_numpy(data.labels)).sum()
    assert result["images"] == 25
    assert result["metrics"]["test/error"] == wrong / 25
    assert result["checkpoints"][0]["path"] == str(run / "checkpoints" / "last.ckpt")
    low, high = result["ci95_over_images"]["test/error"]
    assert low < wrong / 25 < high
    assert set(result["provenance"]) >= {"commit", "dirty", "versions", "hardware", "command"}


def test_predictions_hold_every_image_once_and_give_the_errors_again(run: Path, tmp_path: Path):
    file = tmp_path / "new" / "predictions.csv"

    result = errors_of(tmp_path, f"checkpoint={run}", f"predictions={file}", "data.batch_size=7")
    assert b"\r" not in file.read_bytes()

    rows = rows_of(file)
    assert [row["image"] for row in rows] == [str(i) for i in range(25)]
    assert {row["true_class"] for row in rows} <= set(NAMES)
    wrong = sum(1 - float(row["right_top1_ties_shared"]) for row in rows)
    assert wrong == pytest.approx(result["wrong"]["test/error"])
    for row in rows:
        found = [float(row[f"probability_{i}"]) for i in range(1, 6)]
        assert found == sorted(found, reverse=True)
        assert (row["class_1"] == row["true_class"]) == (row["right_top1_ties_shared"] == "1")


ENTRY = {"arm": {}, "seed": 0}  # of a run in a plan


@pytest.mark.parametrize(("where", "what"), [("..", "a sweep"), ("../..", "a folder of sweeps")])
def test_a_sweep_is_refused_with_one_of_its_runs(
    run: Path, where: str, what: str, capsys: pytest.CaptureFixture[str]
):
    folder = (run / where).resolve()
    SweepDir(run.parent).write_plan({"runs": {"not-begun": ENTRY, run.name: ENTRY}})

    assert evaluate.main([f"checkpoint={folder}"]) == Exit.WRONG

    assert f"{folder} is {what}: give one run, such as {run}" in capsys.readouterr().err


def test_a_sweep_without_checkpoints_has_no_run_to_name(run: Path):
    SweepDir(run.parent).write_plan({"runs": {"not-begun": ENTRY}})

    with pytest.raises(FileNotFoundError, match="no run in it has checkpoints"):
        find_checkpoint(run.parent)


def test_several_checkpoints_are_averaged_by_their_weights(run: Path, tmp_path: Path):
    nets = [make_net(), make_net(3)]
    other = save(tmp_path / "other.ckpt", nets[1])
    file = tmp_path / "p.csv"

    errors_of(tmp_path, f"checkpoint={run},{other}", "weights=3,1", f"predictions={file}")

    images = Synthetic(num_images=100, num_classes=6, size=32).load_test().images
    found = [net(centre(images)).double().softmax(1) for net in nets]
    best = (0.75 * found[0] + 0.25 * found[1]).max(1)
    for row, value, label in zip(rows_of(file), *best, strict=True):
        assert float(row["probability_1"]) == pytest.approx(value.item(), rel=1e-4)
        assert row["class_1"] == NAMES[label]


def test_a_checkpoint_elsewhere_needs_to_be_told_its_data(tmp_path: Path, run: Path):
    checkpoint = save(tmp_path / "with space = and, sign.ckpt", make_net())

    result = errors_of(tmp_path, f"checkpoint=['{checkpoint}']", *DATA)

    assert result["metrics"] == errors_of(tmp_path, f"checkpoint={run}")["metrics"]


def test_ten_views_and_the_validation_part(run: Path, tmp_path: Path):
    result = errors_of(tmp_path, f"checkpoint={run}", "crops=10", "split=val")

    assert set(result["metrics"]) == {"val/loss", "val/error", "val/error_top5"}
    assert (result["crops"], result["images"]) == (10, 25)


@pytest.mark.parametrize(
    ("arguments", "is_kept"),
    [
        (["crops=10"], True),
        (["crops=10", "data.batch_size=5"], True),
        (["crops=1"], False),
        (["crops=10", "split=val"], False),
        (["crops=10", "data.num_images=60"], False),  # other images
    ],
)
def test_ten_views_of_a_finished_run_are_kept_with_it(
    run: Path, arguments: list[str], is_kept: bool
):
    RunDir(run).write_result({"metrics": {"test/error": 0.5}})

    assert evaluate.main([f"checkpoint={run}", *arguments]) == 0

    kept = RunDir(run).read_evaluation()
    assert bool(kept) == is_kept
    assert not is_kept or (kept["crops"], kept["images"]) == (10, 25)
    RunDir(run).write_result({"metrics": {"test/error": 0.4}})  # of other weights
    assert not RunDir(run).read_evaluation()


def test_classes_in_another_order_are_put_in_order(run: Path, tmp_path: Path):
    net, order = make_net(), [3, 1, 0, 5, 4, 2]
    net.fc4.weight.data, net.fc4.bias.data = net.fc4.weight[order].data, net.fc4.bias[order].data
    names = [NAMES[i] for i in order]
    checkpoint = save(tmp_path / "a.ckpt", net, class_names=names)

    result = errors_of(tmp_path, f"checkpoint={checkpoint}", *DATA)

    expected = errors_of(tmp_path, f"checkpoint={run}")["metrics"]
    assert result["metrics"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data=synthetic"], "checkpoint is missing"),
        (["checkpoint=nowhere"], "nowhere does not exist"),
        (["checkpoint={run}/.."], "a folder without checkpoints/last.ckpt"),
        (["checkpoint={run}", "crop=10"], "unknown key crop: did you mean crops?"),
        (["checkpoint={run}", "+crop=10"], "unknown key crop: did you mean crops?"),
        (["checkpoint={run}", "crops=5"], "crops=5 is not possible: choose 1 or 10"),
        (["checkpoint={run}", "data=sinthetic"], "did you mean synthetic?"),
        (["checkpoint={run}", "data.sizes=3"], "unknown key data.sizes: did you mean data.size?"),
        (["checkpoint={run}", "data.workers=-1"], "data.workers=-1 is not possible"),
        (["checkpoint={run}", "data.image_size=9"], "the network's input size"),
        (["checkpoint={run}", "model=alexnet"], "the checkpoint names its network"),
        (["checkpoint={run}", "layout=torchvision"], "does not have the parameters of"),
        (["checkpoint={run}", "layout=caffe"], "add model=alexnet"),
        (["checkpoint={run}", "weights=1,2"], "2 weights for 1 checkpoints"),
        (["checkpoint={run}", "crops=10", "data.augmentation=none"], "set crops=1"),
        (["checkpoint={run}", "data.size=28"], "these images have 28 x 28 pixels"),
        (["checkpoint={run}", "data.num_classes=5"], "has other classes (6, such as class 5)"),
        (["checkpoint={run}", "images={run}"], "need predictions=FILE.csv"),
        (["checkpoint={run}", "images={run}", "predictions=x"], "contains no images"),
        (["checkpoint={run}", "images=x", "split=val"], "leave out split and out"),
        (["checkpoint={run}", "predictions={run}"], "is a folder: give the name of a file in it"),
        (["checkpoint={run}", "out={run}"], "is a folder: give the name of a file in it"),
        (
            ["checkpoint={run}", "figures={run}/.hydra/config.yaml"],
            "cannot be created: File exists",
        ),
        (["checkpoint={run}/.hydra/config.yaml"], "is damaged or not a checkpoint"),
    ],
)
def test_a_wrong_command_is_answered_in_few_lines(
    run: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    status = evaluate.main([argument.format(run=run) for argument in arguments])

    captured = capsys.readouterr()
    assert status == 2
    assert message in captured.err
    assert len(captured.err.splitlines()) <= 3


@pytest.mark.parametrize("content", [b"", b"[1, 2]", b"data: {", b"\xff\xfe", b"data: 3"])
def test_a_damaged_configuration_of_the_run_is_named_with_the_way_out(
    run: Path, capsys: pytest.CaptureFixture[str], content: bytes
):
    (run / ".hydra" / "config.yaml").write_bytes(content)

    assert evaluate.main([f"checkpoint={run}"]) == Exit.WRONG
    [line, _] = capsys.readouterr().err.splitlines()
    assert f"{run / '.hydra' / 'config.yaml'} is damaged (" in line
    assert line.endswith("add data=NAME")


def test_the_configuration_of_the_run_is_not_needed_where_data_are_named(run: Path):
    (run / ".hydra" / "config.yaml").write_text("data: {")

    assert evaluate.main([f"checkpoint={run}", *DATA]) == 0


def test_a_refused_command_leaves_no_folders(run: Path, tmp_path: Path):
    places = [f"{key}={tmp_path}/new/{key}" for key in ("figures", "predictions", "out")]

    status = evaluate.main([f"checkpoint={run}", "data.num_classes=5", *places])

    assert status == 2
    assert not (tmp_path / "new").exists()


def test_without_a_word_all_that_there_is_to_say_is_shown(capsys: pytest.CaptureFixture[str]):
    assert evaluate.main(["--help"]) == 0

    help_text = capsys.readouterr().out
    for key in OmegaConf.load(evaluate.CONF / "evaluate.yaml"):
        assert str(key) == "defaults" or str(key) in help_text


def test_any_folder_of_images_gets_predictions(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = tmp_path / "my pictures"
    (folder / "deep" / "down").mkdir(parents=True)
    random = np.random.default_rng(0)
    for name, shape in {"a.png": (300, 400, 3), "deep/b.JPG": (64, 20, 3)}.items():
        Image.fromarray(random.integers(256, size=shape, dtype=np.uint8)).save(folder / name, "PNG")
    (folder / "deep" / "down" / "broken.jpg").write_bytes(b"no image")
    (folder / "notes.txt").write_text("not meant to be one")
    file = tmp_path / "predictions.csv"

    status = evaluate.main([f"checkpoint={run}", f"images={folder}", f"predictions={file}"])

    assert status == 1  # for the one that is broken
    assert "broken.jpg: not an image" in capsys.readouterr().err
    rows = rows_of(file)
    assert [row["image"] for row in rows] == ["a.png", "deep/b.JPG"]
    assert all(row["class_1"] in NAMES and row["true_class"] == "" for row in rows)


def test_what_can_be_no_picture_is_passed_over_unread_and_told_in_one_line(
    run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    folder, file = tmp_path / "pictures", tmp_path / "predictions.csv"
    (folder / ".thumbnails").mkdir(parents=True)
    Image.new("RGB", (30, 30)).save(folder / "a.png")
    for name in ("._a.png", ".thumbnails/a.png", "notes.txt"):
        (folder / name).write_text("no picture")
    (folder / "gone.png").symlink_to("nowhere")
    os.mkfifo(folder / "pipe.jpg")
    caplog.set_level("INFO")

    status = evaluate.main([f"checkpoint={run}", f"images={folder}", f"predictions={file}"])

    assert status == 0
    assert [row["image"] for row in rows_of(file)] == ["a.png"]
    [line] = [text for text in caplog.messages if "skipped in" in text]
    assert "2 hidden, such as ._a.png; " in line
    assert "2 broken links or not regular files, such as gone.png" in line
    assert "1 without the suffix of an image, such as notes.txt" in line


def test_names_of_pictures_need_not_be_unicode(run: Path, tmp_path: Path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    name = os.fsdecode(b"caf\xe9.png")
    Image.new("RGB", (30, 30)).save(folder / "a.png")
    (folder / "a.png").rename(folder / name)
    file = tmp_path / "predictions.csv"

    assert evaluate.main([f"checkpoint={run}", f"images={folder}", f"predictions={file}"]) == 0
    assert os.fsencode(name) in file.read_bytes()


def test_a_picture_of_the_right_size_is_seen_as_it_is(run: Path, tmp_path: Path):
    # Brought to 256 x 256 and back to the 32 x 32 of the training images.
    plain = np.full((256, 256, 3), (200, 90, 30), np.uint8)
    (tmp_path / "images").mkdir()
    Image.fromarray(plain).save(tmp_path / "images" / "plain.png")
    file = tmp_path / "predictions.csv"

    evaluate.main([f"checkpoint={run}", f"images={tmp_path / 'images'}", f"predictions={file}"])

    seen = torch.tensor([200.0, 90.0, 30.0])[:, None, None].expand(1, 3, 24, 24) - 120
    best = make_net()(seen).double().softmax(1).max(1)
    [row] = rows_of(file)
    assert row["class_1"] == NAMES[best.indices]
    assert float(row["probability_1"]) == pytest.approx(best.values.item(), abs=0.02)  # JPEG


def test_pictures_of_the_size_of_the_training_images_get_the_predictions_of_the_split(
    run: Path, tmp_path: Path
):
    data = Synthetic(num_images=100, num_classes=6, size=32).load_test()
    (tmp_path / "images").mkdir()
    for row, image in enumerate(data.images):
        name = tmp_path / "images" / f"{row:02}.png"
        Image.fromarray(image.transpose(1, 2, 0)).save(name)
    file = tmp_path / "predictions.csv"

    evaluate.main([f"checkpoint={run}", f"images={tmp_path / 'images'}", f"predictions={file}"])

    probabilities = make_net()(centre(data.images)).double().softmax(1).max(1).values
    found = [float(row["probability_1"]) for row in rows_of(file)]
    assert found == pytest.approx(probabilities.tolist(), abs=1e-5)


def test_the_figures_of_the_paper_are_drawn(run: Path, tmp_path: Path):
    folder = tmp_path / "figures"

    status = evaluate.main([f"checkpoint={run}", f"figures={folder}", "neighbours_among=50"])

    assert status == 0
    for name in ("figure_3", "figure_4_left", "figure_4_right"):
        assert (folder / f"{name}.png").stat().st_size > 1000
        assert (folder / f"{name}.svg").exists()
    assert "command" in json.loads((folder / "provenance.json").read_text())


def test_of_several_networks_figure_3_is_drawn_for_each_and_compared(run: Path, tmp_path: Path):
    other = save(tmp_path / "other.ckpt", make_net(seed=12))
    folder = tmp_path / "figures"

    status = evaluate.main([f"checkpoint={run},{other}", f"figures={folder}"])

    assert status == 0
    assert (folder / "network_1" / "figure_3.png").exists()
    assert (folder / "network_2" / "figure_3.png").exists()
    assert (folder / "figure_4_left.png").exists()
    found = json.loads((folder / "specialization.json").read_text())
    assert found["sentence"] == "One column: nothing to compare."  # CifarNet has no columns


# init_from, as a user would: src/train.py in a process of its own.

TINY = (
    "data=synthetic", "data.num_images=32", "data.batch_size=8", "data.num_classes=4",
    "model.image_size=24", "trainer.threads=1", "trainer.max_steps=1", "learning.lr=1e-20",
)  # fmt: skip


def test_a_run_starts_from_a_checkpoint_in_all_layers_but_the_last(train: Train, tmp_path: Path):
    checkpoint = save(tmp_path / "a.ckpt", make_net())

    done = train(*TINY, f"init_from={checkpoint}")

    assert done.returncode == 0, done.stderr
    [run] = the_sweep(tmp_path / "outputs").runs()
    trained = torch.load(run.last_checkpoint, weights_only=True)["state_dict"]
    for name, value in make_net().state_dict().items():
        if not name.startswith("fc4"):
            torch.testing.assert_close(trained[f"net.{name}"], value)
    assert trained["net.fc4.weight"].shape[0] == 4
    assert "conv1, conv2, conv3 from" in run.log.read_text()


@pytest.mark.slow
def test_a_run_starts_from_the_weights_of_another_program(train: Train, tmp_path: Path):
    words = ("model=alexnet", "model.image_size=64", "model.channels=[4,4,4,4,4]")
    model = ("model.hidden=[4,4]", "model.init=source_2012", "model.columns=1")
    [planned] = plan(*TINY, *words, *model)
    arguments = planned.config.model.plain() | {"num_classes": 5}
    del arguments["_target_"]
    theirs = AlexNet(**arguments).state_dict()
    torch.save({"model_state_dict": theirs}, tmp_path / "a.pth")

    start = f"init_from={tmp_path / 'a.pth'}"
    done = train(*TINY, *words, *model, start, "init_layout=caffe")

    assert done.returncode == 0, done.stderr
    [run] = the_sweep(tmp_path / "outputs").runs()
    trained = torch.load(run.last_checkpoint, weights_only=True)["state_dict"]
    torch.testing.assert_close(trained["net.conv1.weight"], theirs["conv1.weight"].flip(1))
    torch.testing.assert_close(trained["net.fc7.weight"], theirs["fc7.weight"])


def test_the_layout_of_a_start_is_refused_without_one_and_is_no_part_of_the_name_at_its_default():
    with pytest.raises(ConfigError, match="init_layout=caffe needs init_from: add init_from"):
        plan("init_layout=caffe")
    [plain], [other] = plan("init_from=a"), plan("init_from=a", "init_layout=caffe")
    assert sweep_name("x", plain.config, ()) != sweep_name("x", other.config, ())


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("nowhere.ckpt", f"init_from={PROJECT}/nowhere.ckpt: {PROJECT}/nowhere.ckpt does not"),
        ("a.ckpt", "conv1.weight is 32 x 3 x 5 x 5 there and 96 x 3 x 11 x 11 here"),
    ],
)
def test_a_start_that_cannot_be_is_refused_before_anything_is_trained(
    train: Train, tmp_path: Path, model: str, message: str
):
    if model == "a.ckpt":
        model = str(save(tmp_path / model, make_net()))

    done = train(*TINY, "model=alexnet", "model.image_size=64", f"init_from={model}")

    assert done.returncode == 2
    assert message in done.stderr
    assert not list(tmp_path.glob("outputs/*/*/*/metrics.csv"))


def test_fine_tuning_of_nothing_is_refused_before_anything_starts(
    train_here: Train, tmp_path: Path
):
    done = train_here("+experiment=fine_tuning", "data=synthetic")

    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == (
        "error: init_from is missing: fine_tuning starts from a trained network. Give "
        "init_from=RUN_FOLDER or init_from=CHECKPOINT"
    )
    assert not list(tmp_path.glob("outputs/*"))


def test_fine_tuning_may_start_from_several_networks_in_one_command():
    runs = plan("+experiment=fine_tuning", "init_from=a.ckpt,b.ckpt")

    starts = [run.config.init_from for run in runs]
    assert starts == [str(Path(name).absolute()) for name in ("a.ckpt", "b.ckpt")]


def test_where_a_run_starts_from_is_part_of_its_name():
    [one], [other] = plan("init_from=a.ckpt"), plan("init_from=b.ckpt")

    assert sweep_name("mnist5k", one.config, ()) != (sweep_name("mnist5k", other.config, ()))
