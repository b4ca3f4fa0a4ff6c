"""Trained networks as files hold them: ours, and AlexNets under torchvision's or Caffe's names."""

import logging
import pickle
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.model.alexnet import AlexNet
from alexnet.model.cifar_local_net import CifarLocalNet
from alexnet.model.cifar_net import CifarNet

log = logging.getLogger(__name__)

Layout = Literal["alexnet_lab", "torchvision", "caffe"]
Model = dict[str, Any]

# A file cannot name any other class.
_NETWORKS: dict[str, type[nn.Module]] = {
    f"alexnet.model.{network.__name__}": network for network in (AlexNet, CifarNet, CifarLocalNet)
}

_TORCHVISION_LAYERS = {
    "conv1": "features.0",
    "conv2": "features.3",
    "conv3": "features.6",
    "conv4": "features.8",
    "conv5": "features.10",
    "fc6": "classifier.1",
    "fc7": "classifier.4",
    "fc8": "classifier.6",
}
# What torchvision's published weights expect: (pixels / 255 - mean) / std, RGB.
_TORCHVISION_MEAN = (0.485, 0.456, 0.406)
_TORCHVISION_STD = (0.229, 0.224, 0.225)
_TORCHVISION_PIXELS = 224
_TORCHVISION_PADDING = 2

# Both have learnt from crops of 256 pixels (Caffe's of 227).
_VIEWS = "crop224"

# The mean colour that Caffe's ImageNet examples subtract, here as RGB.
_CAFFE_MEAN = (122.679, 116.669, 104.007)


@dataclass(frozen=True, kw_only=True)
class SavedNet:
    """A trained network: what it is, its parameters, and what it expects of images.

    `model` is the class (`_target_`) and its arguments, `state` the parameters by their names
    (conv1.weight), `image_size` the height and width that go in. `mean_image` is what the network
    has learnt to have subtracted: (3, h, w), or (3, 1, 1) if that is one colour. `class_names` are
    None if the file does not hold them, and so are `steps`, how long it was trained, and
    `augmentation`, of whose views it has learnt.
    """

    path: Path
    layout: Layout
    model: Model
    state: dict[str, Tensor]
    image_size: int
    mean_image: Tensor
    class_names: tuple[str, ...] | None
    steps: int | None = None
    augmentation: str | None = None
    padding: int = 0  # zeros on the left and on top, before the network

    @property
    def num_classes(self) -> int:
        """Outputs of the last layer."""
        return int(self.model["num_classes"])

    def build(self) -> nn.Module:
        """The network with these parameters, in evaluation mode; takes no random numbers.

        Raises ValueError that names every parameter whose shape does not fit.
        """
        arguments = {name: value for name, value in self.model.items() if name != "_target_"}
        with torch.random.fork_rng(devices=[]):
            try:
                net = _NETWORKS[self.model["_target_"]](**arguments)
            except TypeError as error:
                raise ValueError(
                    f"{self.path} was written by another version of this project: {error}"
                ) from error
        if problems := _misfits(self.state, net):
            raise ValueError("\n".join(f"{self.path}: {problem}" for problem in problems))
        net.load_state_dict(self.state)
        if self.padding:
            margin = (self.padding, 0, self.padding, 0)
            net.register_forward_pre_hook(lambda _, images: F.pad(images[0], margin))
        return net.eval()


def read_checkpoint(
    path: Path, *, layout: Layout = "alexnet_lab", model: Mapping[str, Any] | None = None
) -> SavedNet:
    """A network from a file that torch.save wrote; nothing in the file is run.

    alexnet_lab: a checkpoint of this project, which says all about itself.

    torchvision: parameters of torchvision.models.alexnet, of any widths and number of classes. The
    network computes what torchvision's does, exactly: its pixels' standard deviation goes into the
    weights of conv1, and its padding of 2 in front of the network.

    caffe: parameters named conv1 ... conv5, fc6, fc7, fc8 as converters of Caffe models write them,
    whose conv1 sees BGR. The names do not say which network they belong to; `model` does, as
    {"_target_": "alexnet.model.AlexNet", "columns": 2, ...} without num_classes.

    Raises FileNotFoundError if there is no such file, ValueError if it is damaged or something
    else.
    """
    content = _load(path)
    if layout == "alexnet_lab":
        return _read_ours(path, content)
    state = _state_dict(path, content)
    if layout == "torchvision":
        return _read_torchvision(path, state)
    return _read_caffe(path, state, model)


def start_from(net: nn.Module, saved: SavedNet, *, model: Mapping[str, Any]) -> None:
    """Copy every layer but the last, by name, for fine-tuning: the last has other classes.

    The initial weights of the last are shuffled, as the saved parameters say. With the same seed
    they are those that the saved network began with, and its features have been trained to be told
    apart by them: the first images of a new class i would be taken for the old class i, or, of the
    same data, be recognized before they have been seen.

    Layers that the saved network lacks keep their initial weights; one line of the log tells which.
    `model` is what `net` was built from: where the saved network was built otherwise, a warning
    says so. Raises ValueError, and changes nothing, if a layer has another shape there, if no layer
    has the name of one there, or if the other network scales its pixels differently.
    """
    source = saved.build()
    theirs, ours = source.state_dict(), net.state_dict()
    last = _layers(ours)[-1]
    shared = [name for name in ours if name in theirs and _layer(name) != last]
    problems = [
        f"{name} is {_shape(theirs[name])} there and {_shape(ours[name])} here"
        for name in shared
        if theirs[name].shape != ours[name].shape
    ]
    if not shared:
        problems = ["no layer but the last has the name of one of its layers"]
    elif source.pixel_scale != net.pixel_scale:
        problems.append(
            f"it multiplies pixels by {source.pixel_scale}, this network by {net.pixel_scale}: "
            f"set model.init={saved.model['init']}"
        )
    if problems:
        raise ValueError(f"{saved.path} is no start for this network: {'; '.join(problems)}")
    with torch.no_grad():
        for name in shared:
            ours[name].copy_(theirs[name])
        if (name := f"{last}.weight") in theirs:
            seed = zlib.crc32(theirs[name].float().numpy().tobytes())
            weights = ours[name].flatten()
            order = torch.randperm(len(weights), generator=torch.Generator("cpu").manual_seed(seed))
            ours[name].copy_(weights[order.to(weights.device)].view_as(ours[name]))

    copied = list(dict.fromkeys(map(_layer, shared)))
    new = [layer for layer in _layers(ours) if layer not in copied]
    unused = [layer for layer in _layers(theirs) if layer not in [*copied, *new]]
    log.info(
        "%s from %s; new: %s%s", ", ".join(copied), saved.path, ", ".join(new),
        f"; not used: {', '.join(unused)}" if unused else "",
    )  # fmt: skip
    differing = [
        f"model.{key}={value} (there {saved.model[key]})"
        for key, value in model.items()
        if key in saved.model and key != "num_classes" and saved.model[key] != value
    ]
    if differing:
        log.warning("the layers were trained under other settings: %s", ", ".join(differing))


def _load(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    try:
        with path.open("rb") as file:
            if file.read(2) == b"PK":  # a zip archive, whose sums torch does not compare
                with zipfile.ZipFile(file) as archive:
                    if part := archive.testzip():
                        raise ValueError(f"{path} is damaged: the sum of {part} is wrong")
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} is no checkpoint, or holds more than tensors and plain data, which is not "
            "read for safety's sake"
        ) from error
    # Text and other files that are no pickle: the reader fails anywhere in them.
    except (
        RuntimeError, EOFError, LookupError, struct.error, zipfile.BadZipFile, zlib.error
    ) as error:  # fmt: skip
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(f"{path} is damaged or no checkpoint: {reason}") from error


def _read_ours(path: Path, content: Any) -> SavedNet:
    needed = ("state_dict", "model", "mean_image", "class_names")
    if not isinstance(content, dict) or not all(key in content for key in needed):
        raise ValueError(
            f"{path} is no checkpoint of this project, which has {', '.join(needed)}: say "
            "layout=torchvision or layout=caffe for parameters under their names"
        )
    model = content["model"]
    if model.get("_target_") not in _NETWORKS:
        raise ValueError(
            f"{path} is of a network {model.get('_target_')}, unknown here: "
            f"there is {', '.join(_NETWORKS)}"
        )
    return SavedNet(
        path=path,
        layout="alexnet_lab",
        model=dict(model),
        state={
            name.removeprefix("net."): value
            for name, value in content["state_dict"].items()
            if name.startswith("net.")
        },
        image_size=model["image_size"],
        mean_image=content["mean_image"],
        class_names=tuple(content["class_names"]),
        steps=content.get("global_step"),
        augmentation=content.get("augmentation"),
    )


def _read_torchvision(path: Path, theirs: dict[str, Tensor]) -> SavedNet:
    state = _renamed(path, theirs, _TORCHVISION_LAYERS, "torchvision")
    std = torch.tensor(_TORCHVISION_STD)
    state["conv1.weight"] = state["conv1.weight"] / (255 * std[:, None, None])
    return SavedNet(
        path=path,
        layout="torchvision",
        model={
            "_target_": "alexnet.model.AlexNet",
            "num_classes": len(state["fc8.bias"]),
            "normalization": "none",
            "dropout": 0.0,  # theirs does nothing outside training
            "columns": 1,
            "init": "paper",
            "channels": tuple(len(state[f"conv{i}.bias"]) for i in range(1, 6)),
            "hidden": tuple(len(state[f"fc{i}.bias"]) for i in (6, 7)),
            # Their 55 windows begin 2 pixels before the image, and end 1 behind it: ours do the
            # same in the image with 2 zeros in front.
            "image_size": _TORCHVISION_PIXELS + _TORCHVISION_PADDING,
        },
        state=state,
        image_size=_TORCHVISION_PIXELS,
        mean_image=255 * torch.tensor(_TORCHVISION_MEAN)[:, None, None],
        class_names=None,
        augmentation=_VIEWS,
        padding=_TORCHVISION_PADDING,
    )


def _read_caffe(path: Path, theirs: dict[str, Tensor], model: Mapping[str, Any] | None) -> SavedNet:
    if model is None or model["_target_"] != "alexnet.model.AlexNet":
        raise ValueError(
            "layout=caffe names layers and not the network: add model=alexnet, with its options"
        )
    names = {name.partition(".")[0] for name in theirs if name.startswith(("conv", "fc"))}
    state = _renamed(path, theirs, {name: name for name in [*_TORCHVISION_LAYERS, *names]}, "Caffe")
    state["conv1.weight"] = state["conv1.weight"].flip(1)  # BGR -> RGB
    return SavedNet(
        path=path,
        layout="caffe",
        model={**model, "num_classes": len(state["fc8.bias"])},
        state=state,
        image_size=model["image_size"],
        mean_image=torch.tensor(_CAFFE_MEAN)[:, None, None],
        class_names=None,
        augmentation=_VIEWS,
    )


def _state_dict(path: Path, content: Any) -> dict[str, Tensor]:
    """The parameters, also of a checkpoint around them, and of a DataParallel network."""
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise ValueError(f"{path} holds no parameters by name")
    return {name.replace("module.", ""): value.float() for name, value in content.items()}


def _renamed(
    path: Path, theirs: dict[str, Tensor], layers: Mapping[str, str], layout: str
) -> dict[str, Tensor]:
    names = {
        f"{ours}.{kind}": f"{layer}.{kind}"
        for ours, layer in layers.items()
        for kind in ("weight", "bias")
    }
    problems = [f"has no {name}" for name in names.values() if name not in theirs]
    problems += [f"has {name} besides" for name in theirs if name not in names.values()]
    if problems:
        raise ValueError(f"{path} has not the parameters of {layout}'s AlexNet: it {problems[0]}")
    return {ours: theirs[name] for ours, name in names.items()}


def _misfits(state: Mapping[str, Tensor], net: nn.Module) -> list[str]:
    expected = net.state_dict()
    problems = [f"{name} is missing" for name in expected if name not in state]
    problems += [f"the network has no {name}" for name in state if name not in expected]
    return problems + [
        f"{name} is {_shape(state[name])}, the network takes {_shape(expected[name])}"
        for name in expected
        if name in state and state[name].shape != expected[name].shape
    ]


def _layers(state: Mapping[str, Tensor]) -> list[str]:
    """Names of layers with parameters, in the order of the network."""
    return list(dict.fromkeys(map(_layer, state)))


def _layer(parameter: str) -> str:
    """conv1.weight -> conv1."""
    return parameter.rpartition(".")[0]


def _shape(parameter: Tensor) -> str:
    return " x ".join(map(str, parameter.shape))
