import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from omegaconf import OmegaConf
from safetensors import safe_open
from torch import Tensor, nn

import alexnet
from alexnet.cli import export
from alexnet.export.onnx_file import TOLERANCE
from alexnet.model import AlexNet, LocalResponseNorm
from alexnet.paths import CONF

from .saved import save

SMALL: dict[str, Any] = {"channels": [8, 16, 24, 24, 16], "hidden": [24, 16], "image_size": 67}


def preset(name: str) -> dict[str, Any]:
    """The settings of conf/model/NAME.yaml, for a smaller network."""
    model: Any = OmegaConf.to_container(OmegaConf.load(CONF / "model" / f"{name}.yaml"))
    for base in model.pop("defaults", ()):
        if base != "_self_":
            model = {**preset(base), **model}
    return model


def small(name: str) -> dict[str, Any]:
    model = preset(name)
    model["_target_"] = model["_target_"].rpartition(".")[2]
    return {"num_classes": 10, **model, **(SMALL if model["_target_"] == "AlexNet" else {})}


def exported(tmp_path: Path, format: str, *words: str, **model: Any) -> tuple[Path, Path]:
    """The checkpoint of a network and the exported file."""
    source = tmp_path / "net.ckpt"
    save(source, **model)
    dest = tmp_path / f"net{export.ENDINGS[format]}"
    command = [f"checkpoint={source}", f"format={format}", f"dest={dest}", *words]
    assert export.main(command) == 0
    return source, dest


def pixels(count: int, size: int) -> Tensor:
    random = torch.Generator().manual_seed(2)
    return torch.randint(256, (count, 3, size, size), dtype=torch.uint8, generator=random)


def by_onnxruntime(file: Path, images: Tensor) -> Tensor:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


@torch.no_grad()
def by_torch(source: Path, images: Tensor) -> Tensor:
    net = alexnet.load(source)
    return net(torch.cat([net.preprocess(image) for image in images]))


def assert_within(found: Tensor, expected: Tensor, tolerance: float) -> None:
    assert expected.std(0).max() > 1e-2 * expected.abs().max()  # images differ
    assert (found - expected).abs().max() <= tolerance * expected.abs().max()


PRESETS = sorted(file.stem for file in (CONF / "model").glob("*.yaml"))
# Every level and number of columns that no preset has.
MIXED = (
    {"nonlinearity": "tanh", "normalization": "batch", "pooling": "average", "columns": 1},
    {"nonlinearity": "sigmoid", "normalization": "none", "pooling": "non_overlapping"},
    {"nonlinearity": "gelu", "lrn_size": 3, "lrn_k": 1.0, "columns": 4},
    {"nonlinearity": "silu", "removed": ["conv4"], "sixth_convolution": True},
    {"nonlinearity": "leaky_relu", "dropout_is_inverted": True, "normalization": "batch"},
)


# ONNX divides alpha by size, 5: as printed it is 5 times the paper's 1e-4, as run in 2012 the same.
ALPHA = {"alexnet": 5e-4, "alexnet_2012": 1e-4, "cifar_net": 1e-3}


CASES = {
    **{name: small(name) for name in PRESETS},
    **{"-".join(map(str, each.values())): {**small("alexnet"), **each} for each in MIXED},
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in ("alexnet_2012", "cifar_net") else pytest.mark.slow)
        for name in CASES
    ],
)
def test_onnxruntime_says_what_torch_says_of_batches_of_any_size(name: str, tmp_path: Path):
    model = CASES[name]
    source, dest = exported(tmp_path, "onnx", **model)

    images = pixels(3, model["image_size"])
    expected = by_torch(source, images)
    assert_within(by_onnxruntime(dest, images), expected, TOLERANCE)
    one = by_onnxruntime(dest, images[:1])
    assert (one - expected[:1]).abs().max() <= TOLERANCE * expected.abs().max()

    proto = onnx.load(dest)
    norms = [node for node in proto.graph.node if node.op_type == "LRN"]
    net = alexnet.load(source)
    assert len(norms) == sum(isinstance(each, LocalResponseNorm) for each in net.modules())
    if name in ALPHA:
        attributes = {
            each.name: onnx.helper.get_attribute_value(each) for each in norms[0].attribute
        }
        assert attributes["alpha"] == pytest.approx(ALPHA[name])
        assert (attributes["beta"], attributes["size"]) == (0.75, 5)
    assert {each.domain: each.version for each in proto.opset_import} == {"": 18}
    metadata = {each.key: each.value for each in proto.metadata_props}
    about = json.loads(metadata["alexnet_lab"])
    assert about["class_names"] == list(net.class_names)
    assert about["model"]["nonlinearity"] == model["nonlinearity"]


@pytest.mark.parametrize("size", [24, 40])  # of images of 32 pixels: cropped, enlarged
def test_preprocessing_is_inside(size: int, tmp_path: Path):
    source, dest = exported(tmp_path, "onnx", num_classes=10, image_size=size, pixels=32)
    images = pixels(2, 32)

    view = images[..., 4:28, 4:28] if size == 24 else images

    assert_within(by_onnxruntime(dest, view), by_torch(source, images), TOLERANCE)


def test_preprocessing_is_beside(tmp_path: Path):
    model = {"num_classes": 10, "image_size": 24, "pixels": 32, "augmentation": None}  # reduced
    source, dest = exported(tmp_path, "torch_export", "preprocess=false", **model)
    images, net = pixels(2, 32), alexnet.load(source)

    mean = torch.from_numpy(np.load(f"{dest}.mean_image.npy"))

    torch.testing.assert_close(mean, -net.preprocess(torch.zeros_like(images[0]))[0])
    inputs = torch.cat([net.preprocess(image) for image in images])
    found = torch.export.load(dest).module()(inputs)
    assert_within(found, by_torch(source, images), TOLERANCE)


def test_a_program_of_torch_export_needs_torch_alone(tmp_path: Path):
    source, _ = exported(tmp_path, "torch_export", **small("alexnet_2012"))
    images = pixels(3, 67)
    torch.save(images, tmp_path / "images.pt")
    script = """if True:
        import sys, torch
        folder = sys.argv[1]
        net = torch.export.load(f"{folder}/net.pt2").module()
        torch.save(net(torch.load(f"{folder}/images.pt")), f"{folder}/logits.pt")
        assert not [name for name in sys.modules if name.startswith("alexnet")]
    """

    subprocess.run([sys.executable, "-P", "-c", script, str(tmp_path)], check=True, timeout=120)

    found = torch.load(tmp_path / "logits.pt")
    assert_within(found, by_torch(source, images), TOLERANCE)


def test_safetensors_hold_all_that_a_checkpoint_says(tmp_path: Path):
    model = {"num_classes": 10, "image_size": 24, "pixels": 32, "prefix": "dog, "}
    source, dest = exported(tmp_path, "safetensors", **model)

    theirs, ours = alexnet.load(dest), alexnet.load(source)
    assert theirs.class_names == ours.class_names
    images = pixels(2, 32)
    assert torch.equal(by_torch(dest, images), by_torch(source, images))
    with safe_open(dest, framework="pt") as file:
        assert torch.equal(file.get_tensor("conv1.weight"), ours.conv1.weight)
        assert file.metadata()["format"] == "pt"
    again = tmp_path / "again.safetensors"  # from the file itself
    assert export.main([f"checkpoint={dest}", "format=safetensors", f"dest={again}"]) == 0
    assert torch.equal(by_torch(again, images), by_torch(source, images))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["checkpoint=nowhere"], "nowhere does not exist"),
        (["format=onn"], "format=onn is not possible: choose onnx"),
        (["dest=net.pt"], "dest=net.pt must end in .onnx"),
        (["dest=there.onnx"], "there.onnx exists already"),
        (["dest=text.ckpt/in/net.onnx"], "text.ckpt is not a writable folder"),
        (["format=safetensors", "dest=net.safetensors", "preprocess=false"], "is for format=onnx"),
        (["data.root=x"], "data.root=x is for format=live"),
        (["chekpoint=x"], "did you mean checkpoint?"),
        (["format=card", "dest=card.md"], "net.ckpt is not the folder of a run"),
        (["format=live", "dest=live.html"], "data=NAME is missing"),
        (["checkpoint=bad.safetensors"], "bad.safetensors is damaged or not a safetensors file"),
        (["checkpoint=text.ckpt"], "text.ckpt is not a checkpoint"),
    ],
)
def test_what_cannot_be_exported_is_refused_with_the_reason(
    words: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    save(Path("net.ckpt"), num_classes=10)
    Path("there.onnx").touch()
    Path("bad.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    Path("text.ckpt").write_text("no checkpoint")
    before = sorted(tmp_path.iterdir())
    given = {"checkpoint": "net.ckpt", "dest": "net.onnx"}
    given |= dict(word.split("=") for word in words)

    assert export.main([f"{key}={value}" for key, value in given.items()]) == 2

    [line, _] = capsys.readouterr().err.splitlines()
    assert says in line
    assert sorted(tmp_path.iterdir()) == before


class Fickle(nn.Module):
    """A user's network, whose path depends on the image."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(3 * 8 * 8, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        logits = self.fc(images.flatten(1))
        return logits if logits.sum() > 0 else -logits


def test_what_torch_cannot_export_is_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    target = f"{__name__}.Fickle"
    content = {
        "state_dict": {f"net.{key}": each for key, each in Fickle(2).state_dict().items()},
        "model": {"_target_": target, "num_classes": 2},
        "mean_image": torch.zeros(3, 8, 8),
        "class_names": ["a", "b"],
        "image_size": 8,
    }
    torch.save(content, tmp_path / "net.ckpt")
    command = [f"checkpoint={tmp_path / 'net.ckpt'}", f"dest={tmp_path / 'net.pt2'}"]
    command.append("format=torch_export")

    assert export.main(command) == 2
    assert f"allow={target}" in capsys.readouterr().err

    assert export.main([*command, f"allow=[{target}]"]) == 2
    *_, line, _ = capsys.readouterr().err.splitlines()  # below what torch shows of the network
    assert f"torch cannot export {target} to torch_export: " in line
    assert not (tmp_path / "net.pt2").exists()


def test_a_missing_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    save(tmp_path / "net.ckpt", num_classes=10)
    monkeypatch.setattr("alexnet.export.packages.find_spec", lambda name: None)

    dest = tmp_path / "net.onnx"
    assert export.main([f"checkpoint={tmp_path / 'net.ckpt'}", f"dest={dest}"]) == 2

    assert "packages onnx, onnxscript, onnxruntime: pip install" in capsys.readouterr().err
    assert not dest.exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["alexnet", "alexnet_2012"])
def test_the_whole_network_says_the_same_in_onnxruntime(name: str, tmp_path: Path):
    model = {**preset(name), "_target_": "AlexNet", "num_classes": 1000, "pixels": 256}
    source, dest = exported(tmp_path, "onnx", **model)

    images = pixels(2, 256)
    view = images[..., 16:240, 16:240]
    assert_within(by_onnxruntime(dest, view), by_torch(source, images), TOLERANCE)
    assert sum(p.numel() for p in AlexNet().parameters()) * 4 < dest.stat().st_size
