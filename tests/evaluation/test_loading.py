import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torchvision.models.feature_extraction import create_feature_extractor

import alexnet
from alexnet.data import FolderOfImages
from alexnet.folders.run import RunDir
from alexnet.model import CifarNet
from alexnet.paths import PROJECT

NAMES = ["cat", "dog", "owl"]
MODEL = {"_target_": "alexnet.model.CifarNet", "num_classes": 3, "image_size": 24}


@pytest.fixture(scope="module")
def mean():
    return 255 * torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return CifarNet(3, image_size=24).eval()


@pytest.fixture(scope="module")
def run(tmp_path_factory, net, mean):
    """The folder of a run on images of 32 x 32 pixels, whose network sees crops of 24 x 24."""
    folder = tmp_path_factory.mktemp("run")
    write(folder, net, mean)
    return folder


def write(folder, net, mean, **entries):
    (folder / "checkpoints").mkdir()
    content = {
        "state_dict": {f"net.{name}": value for name, value in net.state_dict().items()},
        "model": MODEL,
        "mean_image": mean,
        "class_names": NAMES,
        "augmentation": "crop24",
    }
    torch.save({**content, **entries}, folder / "checkpoints" / "last.ckpt")


def photograph(height, width):
    """An image that is smooth, so that JPEG hardly changes it."""
    coarse = torch.rand(1, 3, 4, 5, generator=torch.Generator().manual_seed(2))
    fine = F.interpolate(255 * coarse, (height, width), mode="bilinear")
    return fine[0].byte().permute(1, 2, 0).numpy()


def test_a_run_is_loaded_as_the_network_that_it_trained(run: Path, net, mean):
    loaded = alexnet.load(run)

    images = torch.randn(2, 3, 24, 24)
    assert torch.equal(loaded(images), net(images))
    assert loaded.class_names == tuple(NAMES)
    assert not any(module.training for module in loaded.modules())
    assert torch.equal(loaded.conv1.weight, net.conv1.weight)  # its layers are at hand


def test_a_file_is_loaded_as_a_run_is(run: Path):
    path = run / "checkpoints" / "last.ckpt"
    images = torch.randn(2, 3, 24, 24)
    assert torch.equal(alexnet.load(str(path))(images), alexnet.load(run)(images))


def test_an_image_of_the_training_size_is_its_centre_less_the_mean(run: Path, mean):
    image = photograph(32, 32)

    seen = alexnet.load(run).preprocess(image)

    whole = torch.from_numpy(image).permute(2, 0, 1).float() - mean
    assert torch.equal(seen, whole[None, :, 4:28, 4:28])


@pytest.mark.parametrize("size", [(32, 32), (50, 80)])
def test_an_image_is_the_same_in_whatever_way_it_is_given(run: Path, size):
    image, loaded = photograph(*size), alexnet.load(run)
    expected = loaded.preprocess(image)

    for same in (
        Image.fromarray(image),
        image.transpose(2, 0, 1),
        torch.from_numpy(image),
        torch.from_numpy(image).permute(2, 0, 1),
    ):
        assert torch.equal(loaded.preprocess(same), expected)
    assert expected.shape == (1, 3, 24, 24)


@pytest.mark.parametrize("size", [(50, 80), (300, 280), (256, 256)])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "CMYK"])
def test_an_image_of_another_size_is_seen_as_evaluation_sees_it(run, mean, tmp_path, size, mode):
    picture = Image.fromarray(photograph(*size)).convert(mode)
    picture.save(tmp_path / "a.tiff")
    if mode == "CMYK":  # which no PNG can hold
        picture = picture.convert("RGB")
        picture.save(tmp_path / "a.tiff")
    folder = FolderOfImages(
        tmp_path, class_names=NAMES, pixels=32, augmentation="crop24", image_size=24
    )
    folder.setup_evaluation("test", mean)
    views, _ = next(iter(folder.evaluation_loader("test")))

    assert torch.equal(alexnet.load(run).preprocess(picture), folder.to_input(views[:, 0]))


def test_the_orientation_that_a_camera_wrote_is_applied(run: Path, tmp_path: Path):
    image, loaded = photograph(50, 80), alexnet.load(run)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees, clockwise
    Image.fromarray(image).save(tmp_path / "a.png", exif=exif)

    with Image.open(tmp_path / "a.png") as picture:
        seen = loaded.preprocess(picture)

    assert torch.equal(seen, loaded.preprocess(np.rot90(image, -1)))


def test_a_file_is_seen_as_its_picture_is(run: Path, tmp_path: Path):
    Image.fromarray(photograph(50, 80)).save(tmp_path / "a.png")
    loaded = alexnet.load(run)

    for file in (tmp_path / "a.png", str(tmp_path / "a.png")):
        assert torch.equal(loaded.preprocess(file), loaded.preprocess(photograph(50, 80)))


def test_a_file_that_is_no_image_is_refused_by_its_name(run: Path, tmp_path: Path):
    (tmp_path / "a.jpg").write_text("a text")
    loaded = alexnet.load(run)

    with pytest.raises(ValueError, match="the image cannot be decoded: not an image: it begins"):
        loaded.preprocess(tmp_path / "a.jpg")
    with pytest.raises(FileNotFoundError, match=r"b\.jpg does not exist: give an image file"):
        loaded.preprocess(tmp_path / "b.jpg")
    with pytest.raises(FileNotFoundError, match="is a folder: give an image file"):
        loaded.preprocess(tmp_path)


@pytest.mark.parametrize(
    ("status", "says"),
    [
        ({"state": "failed", "epoch": 3, "cause": "out of memory"}, "failed, epoch 3, out of mem"),
        ({"state": "finished"}, "stopped"),
    ],
)
def test_a_run_that_has_not_finished_is_loaded_with_a_warning(
    status: dict, says: str, tmp_path: Path, net, mean, caplog: pytest.LogCaptureFixture
):
    write(tmp_path, net, mean)
    RunDir(tmp_path).write_status(status)
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "config.yaml").write_text("{}")

    alexnet.load(tmp_path)

    [warning] = caplog.messages
    assert f"{tmp_path} has not finished ({says}" in warning


def test_a_run_without_a_checkpoint_says_how_far_it_got(tmp_path: Path):
    RunDir(tmp_path).write_status({"state": "failed", "cause": "diverged"})
    with pytest.raises(FileNotFoundError, match=r"without a checkpoint \(failed, diverged\)"):
        alexnet.load(tmp_path)


def test_torchvision_extracts_the_features_of_any_layer_of_a_loaded_network(tmp_path: Path, mean):
    torch.manual_seed(0)
    net = CifarNet(3, image_size=24, dropout=0.5).eval()
    write(tmp_path, net, mean, model=MODEL | {"dropout": 0.5})
    loaded = alexnet.load(tmp_path)
    seen = {}
    net.norm1.register_forward_hook(lambda _, __, output: seen.update(norm1=output))
    images = torch.randn(2, 3, 24, 24)

    found = create_feature_extractor(loaded.net, ["norm1", "fc4"], suppress_diff_warning=True)(
        images
    )

    assert torch.equal(found["fc4"], net(images))
    assert torch.equal(found["norm1"], seen["norm1"])


def test_a_damaged_image_is_refused_and_not_seen_as_black(run: Path, tmp_path: Path):
    Image.fromarray(photograph(50, 80)).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[: len(content) // 2])

    with Image.open(tmp_path / "a.png") as picture, pytest.raises(ValueError, match="be decoded"):
        alexnet.load(run).preprocess(picture)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((32, 32, 3), np.float32), "pixels are of float32: give uint8"),
        (torch.zeros(3, 32, 32), "pixels are of float32: give uint8"),
        (np.zeros((32, 32), np.uint8), r"has shape \(32, 32\): give \(height, width, 3\)"),
        (np.zeros((2, 3, 32, 32), np.uint8), "one image at a time"),
        (np.zeros((0, 32, 3), np.uint8), r"has shape \(0, 32, 3\)"),
    ],
)
def test_pixels_that_are_not_rgb_in_0_to_255_are_refused(run: Path, image, message):
    with pytest.raises(ValueError, match=message):
        alexnet.load(run).preprocess(image)


def test_a_network_that_learnt_from_one_mean_colour_sees_photographs_of_256_pixels(tmp_path, net):
    colour = torch.tensor([120.0, 110.0, 100.0])[:, None, None]
    write(tmp_path, net, colour, augmentation="none")
    image = photograph(256, 256)

    seen = alexnet.load(tmp_path).preprocess(image)

    whole = torch.from_numpy(image).permute(2, 0, 1).float() - colour
    expected = F.interpolate(whole[None], (24, 24), mode="bilinear", antialias=True)
    torch.testing.assert_close(seen, expected)


def test_a_class_that_is_not_ours_must_be_allowed(tmp_path: Path, net, mean):
    path = "alexnet.model.cifar_net.CifarNet"  # not the name by which it is known
    write(tmp_path, net, mean, model=MODEL | {"_target_": path})

    with pytest.raises(ValueError, match=f"allow={path}"):
        alexnet.load(tmp_path)

    images = torch.randn(2, 3, 24, 24)
    assert torch.equal(alexnet.load(tmp_path, allow=[path])(images), net(images))


def test_importing_the_package_is_light():
    code = "import sys, alexnet; assert not {'torch', 'lightning'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT / "src", check=True)


def test_a_name_that_the_package_does_not_have_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'lod'"):
        alexnet.lod  # noqa: B018
