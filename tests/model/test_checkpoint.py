import argparse
import dataclasses
import logging
import struct
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from alexnet.model import AlexNet, CifarNet, read_checkpoint, start_from

SMALL: dict[str, Any] = {
    "_target_": "alexnet.model.AlexNet",
    "num_classes": 7,
    "channels": [12, 16, 20, 20, 16],
    "hidden": (24, 24),
    "image_size": 64,
}


def build(model: dict[str, Any], seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    arguments = {key: value for key, value in model.items() if key != "_target_"}
    return {"AlexNet": AlexNet, "CifarNet": CifarNet}[model["_target_"].split(".")[-1]](**arguments)


def save(path: Path, net: nn.Module, model: dict[str, Any]) -> Path:
    """Save a checkpoint as a run does, without the entries that only training needs."""
    torch.save(
        {
            "state_dict": {f"net.{name}": value for name, value in net.state_dict().items()},
            "model": model,
            "mean_image": torch.full((3, 64, 64), 100.0),
            "class_names": [f"class {i}" for i in range(model["num_classes"])],
            "global_step": 20,
        },
        path,
    )
    return path


def pixels(count: int, size: int) -> torch.Tensor:
    return 255 * torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def test_a_network_comes_back_as_it_was_saved(tmp_path: Path):
    net = build(SMALL).eval()
    saved = read_checkpoint(save(tmp_path / "a.ckpt", net, SMALL))
    state = torch.get_rng_state()

    again = saved.build()

    assert torch.equal(again(pixels(2, 64)), net(pixels(2, 64)))
    assert not again.training
    assert torch.equal(torch.get_rng_state(), state)
    assert (saved.num_classes, saved.image_size, saved.steps) == (7, 64, 20)
    assert saved.class_names == tuple(f"class {i}" for i in range(7))
    assert torch.equal(saved.mean_image, torch.full((3, 64, 64), 100.0))


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"there is no checkpoint .*a\.ckpt"):
        read_checkpoint(tmp_path / "a.ckpt")


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text"])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: str):
    path = save(tmp_path / "a.ckpt", build(SMALL), SMALL)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle] ^= 1
    path.write_bytes(
        {"cut": content[:middle], "flipped": content, "empty": b"", "text": b"hello"}[damage]
    )

    with pytest.raises(ValueError, match=r"a\.ckpt is (damaged|no checkpoint)"):
        read_checkpoint(path)


class Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("this was run",))


def test_nothing_in_a_file_is_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    torch.save({"state_dict": Harmful()}, tmp_path / "a.ckpt")

    with pytest.raises(ValueError, match="more than tensors and plain data"):
        read_checkpoint(tmp_path / "a.ckpt")

    assert "this was run" not in capsys.readouterr().out


def test_a_checkpoint_of_another_program_is_refused_with_what_to_say(tmp_path: Path):
    torch.save({"state_dict": {}}, tmp_path / "a.ckpt")

    with pytest.raises(ValueError, match=r"not a checkpoint of this project.*layout=torchvision"):
        read_checkpoint(tmp_path / "a.ckpt")


class SmallNet(nn.Module):
    """A user's network with batch norm, without image_size and pixel_scale."""

    def __init__(self, num_classes, width=4, pool=nn.AdaptiveAvgPool2d):
        super().__init__()
        self.head = nn.Conv2d(3, width, 3)
        self.norm = nn.BatchNorm2d(width)
        self.pool = pool(1)
        self.fc = nn.Linear(width, num_classes)

    def forward(self, images):
        return self.fc(self.pool(self.norm(self.head(images))).flatten(1))


def no_network(num_classes):
    return num_classes


SMALL_NET = f"{__name__}.SmallNet"


def save_small_net(path, model=None, seed=0, **entries):
    torch.manual_seed(seed)
    net = SmallNet(7)
    net(pixels(4, 8))
    model = model or {"_target_": SMALL_NET, "num_classes": 7}
    save(path, net, model)
    torch.save({**torch.load(path), "image_size": 8, "format": 2, **entries}, path)
    return path, net.eval()


@pytest.mark.parametrize("where", ["the network", "an argument", "deep in its arguments"])
@pytest.mark.parametrize(
    ("target", "argument"), [("os.system", "command"), ("builtins.eval", "source")]
)
def test_what_a_hostile_file_names_is_not_called(tmp_path: Path, where, target, argument):
    trace = tmp_path / "was_here"
    hostile = {"_target_": target, argument: f"__import__('os').system('touch {trace}')"}
    if target == "os.system":
        hostile[argument] = f"touch {trace}"
    model = {
        "the network": SMALL | hostile,
        "an argument": SMALL | {"init": hostile},
        "deep in its arguments": SMALL | {"channels": [1, [{"a": hostile}]]},
    }[where]
    path = save(tmp_path / "a.ckpt", build(SMALL), model)

    with pytest.raises(ValueError, match=rf"a\.ckpt names the class {target}, .*allow={target}"):
        read_checkpoint(path, allow=[SMALL_NET])

    honest = read_checkpoint(save(tmp_path / "b.ckpt", build(SMALL), SMALL))
    with pytest.raises(ValueError, match=f"names the class {target}, which is not built"):
        dataclasses.replace(honest, model=model).build()
    assert not trace.exists()


def test_the_module_of_a_class_that_is_not_allowed_is_not_imported(tmp_path: Path, monkeypatch):
    (tmp_path / "module_with_effects.py").write_text("raise SystemExit")
    monkeypatch.syspath_prepend(tmp_path)
    model = SMALL | {"_target_": "module_with_effects.Net"}

    with pytest.raises(ValueError, match=r"names the class module_with_effects\.Net"):
        read_checkpoint(save(tmp_path / "a.ckpt", build(SMALL), model))

    assert "module_with_effects" not in sys.modules


@pytest.mark.parametrize("allow", [[SMALL_NET], {SMALL_NET}, SMALL_NET], ids=["list", "set", "one"])
def test_a_users_network_comes_back_if_its_class_is_allowed(tmp_path: Path, allow):
    path, net = save_small_net(tmp_path / "a.ckpt")

    saved = read_checkpoint(path, allow=allow)

    assert (saved.num_classes, saved.image_size) == (7, 8)
    assert torch.equal(saved.build()(pixels(2, 8)), net(pixels(2, 8)))


def test_classes_in_the_arguments_of_a_users_network_are_built_if_they_are_allowed(tmp_path: Path):
    pool = {"_target_": "torch.nn.AdaptiveMaxPool2d", "_partial_": True}
    model = {"_target_": SMALL_NET, "num_classes": 7, "pool": pool}
    path, _ = save_small_net(tmp_path / "a.ckpt", model)

    with pytest.raises(ValueError, match=r"allow=torch\.nn\.AdaptiveMaxPool2d"):
        read_checkpoint(path, allow=[SMALL_NET])

    saved = read_checkpoint(path, allow=[SMALL_NET, "torch.nn.AdaptiveMaxPool2d"])
    assert isinstance(saved.build().pool, nn.AdaptiveMaxPool2d)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"_target_": "my_lab.nets.Net"},
            r"my_lab\.nets\.Net, which cannot be imported.*PYTHONPATH",
        ),
        ({"_target_": f"{__name__}.Missing"}, "Missing, which cannot be imported"),
        ({"_target_": f"{__name__}.SMALL_NET"}, "not a class or a function"),
        ({"_target_": f"{__name__}.no_network"}, "returns int instead of a torch.nn.Module"),
        ({"depth": 3}, r"does not fit .*SmallNet.*unexpected keyword argument 'depth'"),
        ({"width": "wide"}, "cannot be built with the arguments in the file: TypeError"),
        ({"width": 5}, r"head\.weight is 4 x 3 x 3 x 3, but the network needs 5 x 3 x 3 x 3"),
    ],
)
def test_a_users_network_that_cannot_be_built_is_one_clear_error(tmp_path: Path, change, message):
    model = {"_target_": SMALL_NET, "num_classes": 7} | change
    path, _ = save_small_net(tmp_path / "a.ckpt", model)
    saved = read_checkpoint(path, allow=[model["_target_"]])

    with pytest.raises(ValueError, match=rf"a\.ckpt.*{message}"):
        saved.build()


@pytest.mark.parametrize(
    ("entries", "must"),
    [
        ({"model": "AlexNet"}, "model must be a dictionary"),
        ({"model": {1: 2}}, "model must be a dictionary"),
        ({"model": SMALL | {"num_classes": "7"}}, r"model\.num_classes must be a positive integer"),
        ({"model": SMALL | {"image_size": None}}, "image_size must be a positive integer"),
        ({"class_names": list(range(7))}, "class_names must be texts"),
        ({"class_names": ["a", "b"]}, "one for each class"),
        ({"class_names": "abcdefg"}, "class_names must be texts"),
        ({"mean_image": None}, "mean_image must be a tensor"),
        ({"mean_image": [1.0, 2.0, 3.0]}, "mean_image must be a tensor"),
        ({"mean_image": torch.zeros(64, 64)}, r"of shape \(3, height, width\)"),
        ({"mean_image": torch.full((3, 64, 64), torch.nan)}, "mean_image must be a tensor"),
        ({"mean_image": torch.zeros(3, 64, 64).to_sparse()}, "mean_image must be a tensor"),
        ({"image_size": 10**6}, "image_size is 1000000 and must equal that of its model"),
        ({"state_dict": [1]}, "state_dict must be a dictionary"),
        ({"state_dict": None}, "state_dict must be a dictionary"),
        ({"state_dict": {"net.a": torch.zeros(3).to_sparse()}}, "state_dict must hold tensors"),
        ({"state_dict": {1: torch.zeros(1)}}, "state_dict must be a dictionary"),
        ({"state_dict": {"net.conv1.weight": "x"}}, "state_dict must hold tensors"),
        ({"global_step": "20"}, "global_step must be an integer"),
        ({"augmentation": 3}, "augmentation must be a text"),
        ({"format": "new"}, "format must be a positive integer, but is 'new'"),
    ],
)
def test_odd_entries_are_one_clear_error(tmp_path: Path, entries, must):
    path = save(tmp_path / "a.ckpt", build(SMALL), SMALL)
    torch.save({**torch.load(path), **entries}, path)

    with pytest.raises(ValueError, match=rf"a\.ckpt is damaged or not a checkpoint.*its .*{must}"):
        read_checkpoint(path)


@pytest.mark.parametrize("kind", [torch.int64, torch.complex64])
def test_parameters_are_not_rounded_to_what_the_network_takes(tmp_path: Path, kind):
    path = save(tmp_path / "a.ckpt", build(SMALL), SMALL)
    content = torch.load(path)
    content["state_dict"] = {name: value.to(kind) for name, value in content["state_dict"].items()}
    torch.save(content, path)

    with pytest.raises(ValueError, match=rf"conv1\.weight has dtype {kind}, but the network needs"):
        read_checkpoint(path).build()


def test_a_description_of_a_function_is_no_network(tmp_path: Path):
    path = save(tmp_path / "a.ckpt", build(SMALL), SMALL | {"_partial_": True})

    with pytest.raises(ValueError, match=r"AlexNet returns partial instead of a torch\.nn\.Module"):
        read_checkpoint(path).build()


def test_names_of_classes_can_be_printed_and_written(tmp_path: Path):
    path = save(tmp_path / "a.ckpt", build(SMALL), SMALL)
    names = ["a\n", "\udce9", *"cdefg"]
    torch.save({**torch.load(path), "class_names": names}, path)

    assert read_checkpoint(path).class_names == ("a\\n", "\\xe9", *"cdefg")


def test_arguments_that_contain_themselves_are_refused(tmp_path: Path):
    endless: list[Any] = []
    endless.append(endless)
    path = save(tmp_path / "a.ckpt", build(SMALL), SMALL | {"channels": endless})

    with pytest.raises(ValueError, match="nested too deeply"):
        read_checkpoint(path)


@pytest.mark.parametrize("entries", [{}, {"format": 1}, {"format": 2}])
def test_checkpoints_of_this_and_of_earlier_formats_are_read(tmp_path: Path, entries):
    path = save(tmp_path / "a.ckpt", build(SMALL), SMALL)
    torch.save({**torch.load(path), **entries}, path)

    assert read_checkpoint(path).image_size == 64


def test_a_checkpoint_of_a_newer_format_is_refused_with_what_to_do(tmp_path: Path):
    path = save(tmp_path / "a.ckpt", build(SMALL), SMALL)
    torch.save({**torch.load(path), "format": 3}, path)

    with pytest.raises(ValueError, match=r"newer version .*format 3; .* up to 2\): update"):
        read_checkpoint(path)


def test_a_shipped_network_that_another_version_has_written_is_refused(tmp_path: Path):
    path = save(tmp_path / "a.ckpt", build(SMALL), SMALL | {"colour": "blue"})

    with pytest.raises(ValueError, match=r"does not fit alexnet\.model\.AlexNet.*'colour'"):
        read_checkpoint(path).build()


def test_a_users_network_starts_from_another_with_its_running_statistics(tmp_path: Path):
    path, theirs = save_small_net(tmp_path / "a.ckpt", seed=1)
    torch.manual_seed(0)
    net = SmallNet(3)
    before = net.fc.weight.detach().clone()

    start_from(net, read_checkpoint(path, allow=SMALL_NET), model={"_target_": SMALL_NET})

    for name, value in net.state_dict().items():
        if not name.startswith("fc"):
            assert torch.equal(value, theirs.state_dict()[name]), name
    assert net.norm.num_batches_tracked == 1
    assert torch.equal(net.fc.weight.flatten().sort().values, before.flatten().sort().values)


def test_a_users_network_does_not_start_from_one_that_scales_its_pixels(tmp_path: Path):
    theirs = {"_target_": "alexnet.model.CifarNet", "num_classes": 7, "image_size": 24}
    saved = read_checkpoint(save(tmp_path / "a.ckpt", build(theirs), theirs))
    net = nn.Sequential()
    net.conv1, net.fc = nn.Conv2d(3, 32, 5), nn.Linear(32, 7)

    with pytest.raises(ValueError, match=r"it multiplies pixels by 0\.015625, this network by 1"):
        start_from(net, saved, model={"_target_": "my_lab.Net"})


def test_shapes_that_do_not_fit_are_named_by_layer(tmp_path: Path):
    path = save(tmp_path / "a.ckpt", build(SMALL), SMALL | {"columns": 1, "num_classes": 8})

    with pytest.raises(ValueError, match=r"conv2\.weight is 16 x 6 x 5 x 5") as error:
        read_checkpoint(path).build()

    assert "the network needs 16 x 12 x 5 x 5" in str(error.value)
    assert "fc8.bias is 7, but the network needs 8" in str(error.value)
    assert "fc6" not in str(error.value)


def torchvisions_alexnet() -> nn.Module:
    """The original convolutions, and fully connected layers small enough to save quickly."""
    torch.manual_seed(0)
    with torch.device("meta"):
        net = torchvision.models.alexnet()
    net.classifier[1] = nn.Linear(256 * 6 * 6, 32, device="meta")
    net.classifier[4] = nn.Linear(32, 32, device="meta")
    net.classifier[6] = nn.Linear(32, 5, device="meta")
    net.to_empty(device="cpu")
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.1)
    return net.eval()


@pytest.mark.parametrize("wrapped", ["bare", "reference script", "ImageNet example"])
def test_torchvisions_network_gives_torchvisions_logits(tmp_path: Path, wrapped: str):
    theirs = torchvisions_alexnet()
    state = theirs.state_dict()
    if wrapped == "reference script":
        state = {"model": state, "epoch": 3}
    if wrapped == "ImageNet example":
        parallel = {name.replace("features.", "features.module."): x for name, x in state.items()}
        state = {"state_dict": parallel, "arch": "alexnet"}
    torch.save(state, tmp_path / "a.pth")
    images = pixels(2, 224)
    normalized = torchvision.transforms.Normalize(
        mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]
    )(images / 255)

    saved = read_checkpoint(tmp_path / "a.pth", layout="torchvision")
    logits = saved.build()(images - saved.mean_image)

    assert (saved.image_size, saved.num_classes, saved.class_names) == (224, 5, None)
    torch.testing.assert_close(logits, theirs(normalized), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"model_state_dict": state, "epoch": 3, "optimizer_state_dict": {}},
        lambda state: {"net": state, "acc": 0.5},
        lambda state: {"state_dict_ema": state, "epoch": 3},
        lambda state: {"model": {"state_dict": state}},
        lambda state: {"weird name": state},
        lambda state: {f"_orig_mod.{name}": value for name, value in state.items()},
        lambda state: {f"model.{name}": value for name, value in state.items()},
        lambda state: {f"module._orig_mod.net.{name}": x for name, x in state.items()},
        lambda state: {"state_dict": {f"model.backbone.{name}": x for name, x in state.items()}},
        lambda state: {name: value.half() for name, value in state.items()},
    ],
)
def test_parameters_are_found_inside_and_under_longer_names(tmp_path: Path, wrap):
    theirs = torchvisions_alexnet()
    torch.save(theirs.state_dict(), tmp_path / "a.pth")
    torch.save(wrap(theirs.state_dict()), tmp_path / "b.pth")

    plain, found = (
        read_checkpoint(tmp_path / name, layout="torchvision").state for name in ("a.pth", "b.pth")
    )

    assert plain.keys() == found.keys()
    for name, value in plain.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("first", ["state_dict", "state_dict_ema"])
def test_of_several_tables_the_plain_one_is_read_and_the_other_is_told(
    tmp_path: Path, caplog, first
):
    caplog.set_level(logging.INFO)
    theirs = torchvisions_alexnet().state_dict()
    zeros = {name: torch.zeros_like(value) for name, value in theirs.items()}
    tables = {"state_dict_ema": zeros, "state_dict": theirs}
    torch.save({first: tables[first], **tables}, tmp_path / "a.pth")

    saved = read_checkpoint(tmp_path / "a.pth", layout="torchvision")

    assert torch.equal(saved.state["conv2.weight"], theirs["features.3.weight"])
    assert "the parameters in state_dict; not used: state_dict_ema" in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"epoch": 3, "generator": {"a": 1}}, "no parameters by name, but epoch, generator: save"),
        ([torch.zeros(1)], "no parameters by name, but a list"),
        (torch.zeros(1), "no parameters by name, but a Tensor"),
        (
            {"one": {"a.weight": torch.zeros(1)}, "other": {"a.weight": torch.zeros(1)}},
            "contains several sets of parameters, one, other: save the one you mean",
        ),
        (
            {"module.a.weight": torch.zeros(1), "a.weight": torch.zeros(1)},
            "contains parameters twice: module.a.weight, a.weight",
        ),
    ],
)
def test_where_there_are_no_parameters_what_is_there_is_named(tmp_path: Path, content, message):
    torch.save(content, tmp_path / "a.pth")

    with pytest.raises(ValueError, match=message):
        read_checkpoint(tmp_path / "a.pth", layout="torchvision")


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("features.0.weight", (64, 1, 11, 11)),
        ("features.0.weight", (1, 3, 11, 11)),
        ("features.0.weight", (11,)),
        ("features.0.bias", (1,)),
        ("features.0.bias", ()),
        ("classifier.6.bias", (1,)),
        ("classifier.6.weight", (1, 32)),
        ("classifier.6.bias", (5, 1)),
    ],
)
def test_shapes_that_would_be_stretched_are_refused(tmp_path: Path, name, shape):
    state = torchvisions_alexnet().state_dict()
    torch.save(state | {name: torch.zeros(shape)}, tmp_path / "a.pth")

    with pytest.raises(ValueError, match=r"a\.pth"):
        read_checkpoint(tmp_path / "a.pth", layout="torchvision").build()


@pytest.mark.parametrize(
    "value",
    [
        torch.zeros(5, dtype=torch.cfloat),
        torch.zeros(5).long(),
        torch.zeros(1).half().expand(10**15),
        torch.zeros(5).to_sparse(),
    ],
)
def test_parameters_of_another_kind_of_number_are_refused(tmp_path: Path, value):
    state = torchvisions_alexnet().state_dict()
    torch.save(state | {"classifier.6.bias": value}, tmp_path / "a.pth")

    with pytest.raises(ValueError, match=r"classifier\.6\.bias must be floating point"):
        read_checkpoint(tmp_path / "a.pth", layout="torchvision")


class Options(argparse.Namespace):
    pass


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        (np.float64(0.5), "a number of NumPy"),
        (argparse.Namespace(lr=0.1), r"the options of a command \(argparse\.Namespace\)"),
        (Options(lr=0.1), r"test_checkpoint\.Options"),
        (Path("x"), r"pathlib\.PosixPath"),
    ],
)
def test_what_is_not_read_beside_parameters_is_named_with_the_way_out(tmp_path, entry, what):
    torch.save({"state_dict": {}, "more": entry}, tmp_path / "a.pth")

    with pytest.raises(ValueError, match=rf"for safety: .*{what}\. If you trust it, extract the"):
        read_checkpoint(tmp_path / "a.pth", layout="torchvision")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.pth", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        ("a.pth", b"\x93NUMPY\x01\x00v\x00{'descr'", "an array of NumPy"),
        ("a.npy", b"\x93NUMPY\x01\x00v\x00{'descr'", "an array of NumPy"),
        ("a.pth", b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras"),
        ("a.h5", b"anything", "an HDF5 file, as Keras"),
        ("a.caffemodel", b"\n\x07AlexNet\x9a", "a model of Caffe: .* and give layout=caffe"),
        ("a.onnx", b"\x08\x08\x12\x07pytorch", "a model of ONNX"),
        ("a.safetensors", b"\x10\0\0\0\0\0\0\0{}", "damaged or not a safetensors file"),
        ("a.pth", b"<!DOCTYPE html><html>", "a web page: download"),
        ("a.pth", b"\x1f\x8b\x08\0\0", "compressed with gzip: unpack it"),
    ],
)
def test_a_file_of_another_kind_is_called_what_it_is(tmp_path: Path, name, content, message):
    (tmp_path / name).write_bytes(content)

    for layout in ("alexnet_lab", "torchvision"):
        with pytest.raises(ValueError, match=rf"{name} is .*{message}"):
            read_checkpoint(tmp_path / name, layout=layout)


def test_arrays_and_programs_in_an_archive_are_called_what_they_are(tmp_path: Path):
    np.savez(tmp_path / "a.npz", conv1=np.zeros(3))
    with zipfile.ZipFile(tmp_path / "b.pth", "w") as archive:  # what torch.jit.save writes
        for name in ("data.pkl", "code/__torch__.py", "constants.pkl"):
            archive.writestr(f"b/{name}", b"x")

    with pytest.raises(ValueError, match=r"a\.npz is arrays of NumPy"):
        read_checkpoint(tmp_path / "a.npz")
    with pytest.raises(ValueError, match=r"b\.pth is a program of TorchScript, which is not run"):
        read_checkpoint(tmp_path / "b.pth")


def test_an_archive_that_would_grow_is_not_unpacked(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "a.ckpt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(50_000_000))

    with pytest.raises(ValueError, match=r"claims to contain 50,000,000 bytes, but has [\d,]{6}\."):
        read_checkpoint(tmp_path / "a.ckpt")


def pickled(value: bytes, **others: Any) -> bytes:
    """A state dict with an entry that pickle itself would not write; see pickletools."""

    def text(name: str) -> bytes:
        return b"X" + struct.pack("<I", len(name)) + name.encode()

    body = b"".join(text(name) + each for name, each in {**others, "model": value}.items())
    return b"\x80\x02}(" + body + b"u."


def nested(depth: int) -> bytes:
    return b"]" * depth + b"a" * (depth - 1)


NONE, TABLE = b"N", b"}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            pickled(b"}(X\x01\0\0\0x" + nested(50_000) + b"X\x08\0\0\0_target_X\0\0\0\0u"),
            "too deeply",
        ),
        (pickled(b"}(X\x08\0\0\0_target_" + nested(50_000) + b"u"), "too deeply"),
        (pickled(nested(50_000)), "model must be a dictionary"),
        (pickled(TABLE, format=nested(50_000)), "format must be a positive integer"),
    ],
)
def test_what_is_nested_without_end_is_one_clear_error(tmp_path: Path, content, message):
    filled = {"state_dict": TABLE, "mean_image": NONE, "class_names": NONE}
    body = b"".join(
        b"X" + struct.pack("<I", len(name)) + name.encode() + each for name, each in filled.items()
    )
    with zipfile.ZipFile(tmp_path / "a.ckpt", "w") as archive:
        archive.writestr("a/data.pkl", content[:4] + body + content[4:])
        archive.writestr("a/version", "3")

    with pytest.raises(ValueError, match=message) as raised:
        read_checkpoint(tmp_path / "a.ckpt")
    assert len(str(raised.value)) < 300 + len(str(tmp_path))


def test_what_refers_to_the_same_again_and_again_is_refused(tmp_path: Path):
    shared: list[Any] = [1]
    for _ in range(40):
        shared = [shared, shared]
    path = save(tmp_path / "a.ckpt", build(SMALL), SMALL | {"channels": shared})

    with pytest.raises(ValueError, match="the arguments of its network are too large"):
        read_checkpoint(path)


@pytest.mark.parametrize("change", [{"num_classes": 10**7}, {"hidden": (10**8, 10**8)}])
def test_no_memory_is_taken_for_parameters_that_are_not_in_the_file(tmp_path: Path, change):
    path = save(tmp_path / "a.ckpt", build(SMALL), SMALL)
    torch.save({**torch.load(path), "model": SMALL | change, "class_names": None}, path)

    with pytest.raises(ValueError, match=r"fc\d\.weight is .*, but the network needs"):
        read_checkpoint(path).build()


def test_a_mean_image_that_is_one_number_for_many_is_refused(tmp_path: Path):
    path = save(tmp_path / "a.ckpt", build(SMALL), SMALL)
    torch.save({**torch.load(path), "mean_image": torch.zeros(1, 1, 1).expand(3, 9**6, 9**6)}, path)

    with pytest.raises(ValueError, match="its mean_image must be a tensor of shape"):
        read_checkpoint(path)


def test_a_network_with_other_layers_than_torchvisions_is_refused(tmp_path: Path):
    state = torchvisions_alexnet().state_dict()
    torch.save(state | {"features.12.weight": torch.zeros(1)}, tmp_path / "a.pth")

    with pytest.raises(ValueError, match="does not have the parameters of torchvision's AlexNet"):
        read_checkpoint(tmp_path / "a.pth", layout="torchvision")


def test_caffes_names_are_ours_and_its_colours_are_reversed(tmp_path: Path):
    net = build(SMALL).eval()
    state = net.state_dict()
    state["conv1.weight"] = state["conv1.weight"].flip(1)  # what a Caffe model would hold
    torch.save(state, tmp_path / "a.pth")
    model = {key: value for key, value in SMALL.items() if key != "num_classes"}

    saved = read_checkpoint(tmp_path / "a.pth", layout="caffe", model=model)

    assert torch.equal(saved.build()(pixels(2, 64)), net(pixels(2, 64)))
    assert saved.mean_image.flatten().tolist() == pytest.approx([122.679, 116.669, 104.007])


def test_caffes_names_do_not_say_which_network_it_is(tmp_path: Path):
    torch.save(build(SMALL).state_dict(), tmp_path / "a.pth")

    with pytest.raises(ValueError, match="add model=alexnet"):
        read_checkpoint(tmp_path / "a.pth", layout="caffe")


def test_fine_tuning_copies_every_layer_but_the_last(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    saved = read_checkpoint(save(tmp_path / "a.ckpt", build(SMALL, seed=1), SMALL))
    model = SMALL | {"num_classes": 3}
    net, before = build(model), build(model).state_dict()

    start_from(net, saved, model=model)

    for name, value in net.state_dict().items():
        if name != "fc8.weight":  # see below
            assert torch.equal(value, (before if name == "fc8.bias" else saved.state)[name])
    [line] = caplog.messages
    assert line.startswith("conv1, conv2, conv3, conv4, conv5, fc6, fc7 from ")
    assert line.endswith("; new: fc8")


def test_a_start_with_values_that_are_no_numbers_is_refused(tmp_path: Path):
    net = build(SMALL)
    with torch.no_grad():
        net.conv2.weight[0, 0, 0, 0] = float("nan")
    saved = read_checkpoint(save(tmp_path / "a.ckpt", net, SMALL))

    with pytest.raises(ValueError, match=r"has values that are not finite in conv2\.weight$"):
        start_from(build(SMALL), saved, model=SMALL)


def test_the_last_layer_is_new_even_for_as_many_classes(tmp_path: Path):
    saved = read_checkpoint(save(tmp_path / "a.ckpt", build(SMALL, seed=1), SMALL))
    net = build(SMALL)

    start_from(net, saved, model=SMALL)

    assert not torch.isclose(net.fc8.weight, saved.state["fc8.weight"], rtol=1e-3).all(1).any()


@pytest.mark.parametrize("num_classes", [7, 3])
def test_the_last_layer_does_not_begin_as_the_saved_networks_did(tmp_path: Path, num_classes: int):
    saved = read_checkpoint(save(tmp_path / "a.ckpt", build(SMALL), SMALL))
    model = SMALL | {"num_classes": num_classes}
    nets = [build(model), build(model)]  # the seed is that of the saved network

    for net in nets:
        start_from(net, saved, model=model)

    new, again = (net.fc8.weight for net in nets)
    assert torch.equal(new, again)
    assert torch.equal(new.flatten().sort().values, build(model).fc8.weight.flatten().sort().values)
    together = torch.cat(
        [new.flatten()[None], build(SMALL).fc8.weight[:num_classes].flatten()[None]]
    )
    assert together.corrcoef()[0, 1].abs() < 4 / new.numel() ** 0.5  # 4 standard deviations


def test_a_layer_of_another_shape_is_refused_and_nothing_is_changed(tmp_path: Path):
    saved = read_checkpoint(save(tmp_path / "a.ckpt", build(SMALL, seed=1), SMALL))
    model = SMALL | {"columns": 1}
    net = build(model)

    with pytest.raises(ValueError, match=r"conv2\.weight is 16 x 6 x 5 x 5 there and 16 x 12"):
        start_from(net, saved, model=model)

    assert torch.equal(net.conv1.weight, build(model).conv1.weight)


def test_a_network_that_scales_its_pixels_otherwise_is_refused(tmp_path: Path):
    theirs = SMALL | {"init": "he"}
    saved = read_checkpoint(save(tmp_path / "a.ckpt", build(theirs), theirs))

    with pytest.raises(ValueError, match=r"set model\.init=he"):
        start_from(build(SMALL), saved, model=SMALL)


def test_settings_that_differ_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    theirs = SMALL | {"nonlinearity": "tanh"}
    saved = read_checkpoint(save(tmp_path / "a.ckpt", build(theirs), theirs))
    model = SMALL | {"nonlinearity": "relu"}

    start_from(build(model), saved, model=model)

    assert "model.nonlinearity=relu (there tanh)" in caplog.text
