"""Reading trained networks: our checkpoints, and AlexNets of torchvision and Caffe."""

import inspect
import logging
import pkgutil
import re
import zlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.model.alexnet import AlexNet
from alexnet.model.cifar_local_net import CifarLocalNet
from alexnet.model.cifar_net import CifarNet
from alexnet.model.parameter_files import has_values, parameters_in, read_file, short, some
from alexnet.model.safetensors_file import SUFFIX, read_safetensors, write_safetensors
from alexnet.nested import containers
from alexnet.sources.labels import printable

log = logging.getLogger(__name__)

Layout = Literal["alexnet_lab", "torchvision", "caffe"]
Model = dict[str, Any]

CHECKPOINT_FORMAT = 2
"""The entry `format` of checkpoints written now; those of version 0.1 have none."""

# A file may name no other class, unless the caller allows it.
_NETWORKS: dict[str, type[nn.Module]] = {
    f"alexnet.model.{network.__name__}": network for network in (AlexNet, CifarNet, CifarLocalNet)
}
_TARGET, _PARTIAL = "_target_", "_partial_"

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

# Both were trained on 224 x 224 crops of 256 x 256 pixels (Caffe's on 227 x 227).
_VIEWS = "crop224"

# The mean colour that Caffe's ImageNet examples subtract, as RGB.
_CAFFE_MEAN = (122.679, 116.669, 104.007)


@dataclass(frozen=True, kw_only=True)
class SavedNet:
    """A trained network: its class, its parameters, and the images that it expects.

    `model` contains the class (`_target_`) and its arguments, `state` the parameters by name
    (conv1.weight). `image_size` is the height and width of the input, and `mean_image` the mean to
    subtract: (3, h, w), or (3, 1, 1) for one colour. `class_names`, `steps` (of training) and
    `augmentation` (the kind of training views) are None if the file does not contain them. `build`
    may import and call the classes in `allow` in addition to those of this project.
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
    padding: int = 0  # zeros on the left and on top of the input
    allow: frozenset[str] = frozenset()

    @property
    def num_classes(self) -> int:
        """Number of outputs of the last layer."""
        return int(self.model["num_classes"])

    @property
    def view_mean(self) -> Tensor:
        """The mean to subtract from the central view of an image: (3, h, w), of the view's size.

        A view is a crop if the network was trained on crops (section 4.1), else the whole image.
        """
        crop = re.fullmatch(r"crop(\d+)", self.augmentation or "")
        pixels = self.mean_image.shape[-1]
        if pixels == 1:
            side = int(crop[1]) if crop else self.image_size
            return self.mean_image.expand(3, side, side)
        if crop is None:
            return self.mean_image
        side = int(crop[1])
        first = (pixels - side) // 2
        return self.mean_image[:, first : first + side, first : first + side]

    def build(self) -> nn.Module:
        """Build the network with these parameters, in evaluation mode, without random numbers.

        Raises ValueError if the class is not allowed, cannot be imported or cannot be called with
        its arguments, and ValueError that names every parameter that does not fit.
        """
        _refuse_targets(self.path, self.model, self.allow)
        with torch.random.fork_rng(devices=[]):
            if self.model[_TARGET] in _NETWORKS:
                # First without memory for parameters, because a file may state any sizes.
                with torch.device("meta"):
                    self._refuse_misfits(_called(self.path, self.model))
            net = self._refuse_misfits(_called(self.path, self.model))
        net.load_state_dict(self.state)
        if self.padding:
            margin = (self.padding, 0, self.padding, 0)
            net.register_forward_pre_hook(lambda _, images: F.pad(images[0], margin))
        return net.eval()

    def write_safetensors(self, path: Path) -> None:
        """Write a file that read_checkpoint, and any reader of safetensors, can read.

        Its tensors are the parameters and `mean_image`; its metadata describe the network. Raises
        ValueError for a network with `padding`, which our format cannot store.
        """
        if self.padding:
            raise ValueError(
                f"{self.path} has the padding of layout={self.layout}, which this format cannot "
                "store: give a checkpoint of this project"
            )
        write_safetensors(
            path,
            {
                "format": CHECKPOINT_FORMAT,
                "model": self.model,
                "image_size": self.image_size,
                "class_names": self.class_names,
                "augmentation": self.augmentation,
                "global_step": self.steps,
                "state_dict": self.state,
                "mean_image": self.mean_image,
            },
        )

    def _refuse_misfits(self, net: Any) -> nn.Module:
        if not isinstance(net, nn.Module):
            raise ValueError(
                f"{self.path}: {self.model[_TARGET]} returns {type(net).__name__} instead of a "
                "torch.nn.Module"
            )
        if problems := _misfits(self.state, net):
            raise ValueError("\n".join(f"{self.path}: {problem}" for problem in problems))
        return net


def read_checkpoint(
    path: Path,
    *,
    layout: Layout = "alexnet_lab",
    model: Mapping[str, Any] | None = None,
    allow: Collection[str] = (),
) -> SavedNet:
    """Read a network from a file written by torch.save or safetensors. No code in it is run.

    The file names the class of its network. Only AlexNet, CifarNet, CifarLocalNet and the classes
    in `allow`, such as "my_lab.nets.SmallResNet", may be built; this includes classes in the
    arguments of the network.

    layout="alexnet_lab": a checkpoint of this project, which describes its own network.

    layout="torchvision": parameters of torchvision.models.alexnet, with any widths and number of
    classes. The network computes exactly what torchvision's does: the scaling of its pixels is put
    into the weights of conv1, and its padding of 2 before the network.

    layout="caffe": parameters named conv1 ... conv5, fc6, fc7, fc8 as converters of Caffe models
    write them, with a conv1 that takes BGR. Their names do not determine the network; `model` does:
    {"_target_": "alexnet.model.AlexNet", "columns": 2, ...} without num_classes.

    Raises FileNotFoundError if the file does not exist; ValueError if it is damaged, is not a
    checkpoint, was written by a newer version, or names a class that is not allowed.
    """
    content = read_safetensors(path) if path.suffix == SUFFIX else read_file(path)
    if layout == "alexnet_lab":
        return _read_ours(path, content, frozenset([allow] if isinstance(allow, str) else allow))
    state = parameters_in(path, content)
    if layout == "torchvision":
        return _read_torchvision(path, state)
    return _read_caffe(path, state, model)


def start_from(net: nn.Module, saved: SavedNet, *, model: Mapping[str, Any]) -> None:
    """Copy every layer but the last, by name, for fine-tuning: the last is for other classes.

    The initial weights of the last layer are shuffled, with a seed derived from the saved weights.
    With the same run seed they would equal those that the saved network began with, and its
    features were trained to be separated by these: the first images of a new class i would be
    taken for the old class i, or with the same data be recognized before they have been seen.

    The networks may be of any class. The last layer is the last with a matrix of weights. Layers
    that the saved network lacks keep their initial weights; a line of the log names them. `model`
    describes how `net` was built; if the saved network was built differently, a warning says so.
    Raises ValueError, and changes nothing, if a layer has another shape in the saved network, if no
    layer has the same name there, or if the two networks scale pixels differently.
    """
    source = saved.build()
    theirs, ours = source.state_dict(), net.state_dict()
    last = _last_layer(ours)
    shared = [name for name in ours if name in theirs and _layer(name) != last]
    problems = [
        f"{name} is {_shape(theirs[name])} there and {_shape(ours[name])} here"
        for name in shared
        if theirs[name].shape != ours[name].shape
    ]
    if not shared:
        problems = ["except for the last, no layer has the name of one of its layers"]
    else:
        scale, our_scale = (getattr(each, "pixel_scale", 1.0) for each in (source, net))
        if scale != our_scale:
            remedy = f": set model.init={saved.model['init']}" if "init" in saved.model else ""
            problems.append(f"it multiplies pixels by {scale}, this network by {our_scale}{remedy}")
    if broken := [name for name in shared if not theirs[name].isfinite().all()]:
        problems.append(f"it has values that are not finite in {', '.join(broken)}")
    if problems:
        raise ValueError(f"{saved.path} does not fit this network: {'; '.join(problems)}")
    with torch.no_grad():
        for name in shared:
            ours[name].copy_(theirs[name])
        name = f"{last}.weight"
        if name in theirs and name in ours:
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


def _read_ours(path: Path, content: Any, allow: frozenset[str]) -> SavedNet:
    needed = ("state_dict", "model", "mean_image", "class_names")
    if not isinstance(content, dict) or not all(key in content for key in needed):
        raise ValueError(
            f"{path} is not a checkpoint of this project, which has {', '.join(needed)}: give "
            "layout=torchvision or layout=caffe for parameters under their names (init_layout for "
            "init_from)"
        )
    version = content.get("format", 1)
    if not isinstance(version, int) or version < 1:
        raise _odd(path, f"format must be a positive integer, but is {short(version)}")
    if version > CHECKPOINT_FORMAT:
        raise ValueError(
            f"{path} was written by a newer version of this project (format {version}; this one "
            f"reads up to {CHECKPOINT_FORMAT}): update the project to read it"
        )
    model, mean, names = content["model"], content["mean_image"], content["class_names"]
    steps, augmentation = content.get("global_step"), content.get("augmentation")
    if not _is_by_name(model):
        raise _odd(path, "model must be a dictionary: the class of the network and its arguments")
    _refuse_targets(path, model, allow)
    num_classes = model.get("num_classes")
    image_size = content.get("image_size") or model.get("image_size")
    if not _is_by_name(content["state_dict"]):
        raise _odd(path, "state_dict must be a dictionary of parameters by name")
    state = {
        name.removeprefix("net."): value
        for name, value in content["state_dict"].items()
        if name.startswith("net.")
    }
    for must, is_so in {
        "model.num_classes must be a positive integer": _is_count(num_classes),
        "image_size must be a positive integer": _is_count(image_size),
        f"image_size is {short(image_size)} and must equal that of its model": (
            model[_TARGET] not in _NETWORKS or image_size == model.get("image_size", image_size)
        ),
        "state_dict must hold tensors": all(has_values(each) for each in state.values()),
        "mean_image must be a tensor of shape (3, height, width)": _is_picture(mean),
        "class_names must be texts, one for each class": names is None
        or (_is_texts(names) and len(names) == num_classes),
        "global_step must be an integer": steps is None or isinstance(steps, int),
        "augmentation must be a text": augmentation is None or isinstance(augmentation, str),
    }.items():
        if not is_so:
            raise _odd(path, must)
    return SavedNet(
        path=path,
        layout="alexnet_lab",
        model=dict(model),
        state=state,
        image_size=image_size,
        mean_image=mean,
        class_names=None if names is None else tuple(map(printable, names)),
        steps=steps,
        augmentation=augmentation,
        allow=allow,
    )


def _odd(path: Path, must: str) -> ValueError:
    return ValueError(f"{path} is damaged or not a checkpoint of this project: its {must}")


def _is_by_name(value: Any) -> bool:
    return isinstance(value, dict) and _is_texts(list(value))


def _is_texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_picture(value: Any) -> bool:
    return (
        has_values(value)
        and value.is_floating_point()
        and value.dim() == 3
        and len(value) == 3
        and value.numel() > 0
        and bool(value.isfinite().all())
    )


def _refuse_targets(path: Path, model: Model, allow: Collection[str]) -> None:
    """Check that every class in the model's description may be built; imports nothing."""
    if _TARGET not in model:
        raise ValueError(f"{path} does not name the class of its network (model._target_)")
    for target in _targets(path, model):
        if not isinstance(target, str):
            raise _odd(path, f"_target_ must be a text, but is {short(target)}")
        if target not in _NETWORKS and target not in allow:
            raise ValueError(
                f"{path} names the class {target}, which is not built, because a file can name any "
                f"function: only {', '.join(_NETWORKS)} are allowed. If you know this class and "
                f"trust the file, add allow={target}"
            )


def _targets(path: Path, model: Model) -> list[Any]:
    """Return every `_target_` in a description, the outermost first."""
    try:
        found = containers(model)
    except ValueError as error:
        raise ValueError(f"{path} is damaged: the arguments of its network are {error}") from error
    return [each[_TARGET] for each in found if isinstance(each, dict) and _TARGET in each]


def _called(path: Path, description: Model) -> Any:
    """Build what a description with `_target_` names, and those in its arguments; all allowed."""
    target = description[_TARGET]
    arguments = {
        name: _value(path, value)
        for name, value in description.items()
        if name not in (_TARGET, _PARTIAL, "_convert_")
    }
    function = _NETWORKS.get(target) or _imported(path, target)
    if description.get(_PARTIAL):
        return partial(function, **arguments)
    try:
        inspect.signature(function).bind(**arguments)
    except TypeError as error:
        raise ValueError(
            f"{path} does not fit {target}, and may be from another version of it: {error}"
        ) from error
    try:
        return function(**arguments)
    except Exception as error:  # a constructor can raise anything for invalid arguments
        raise ValueError(
            f"{path}: {target} cannot be built with the arguments in the file: "
            f"{type(error).__name__}: {error}"
        ) from error


def _value(path: Path, value: Any) -> Any:
    if isinstance(value, dict):
        if _TARGET in value:
            return _called(path, value)
        return {key: _value(path, each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_value(path, each) for each in value)
    return value


def _imported(path: Path, target: str) -> Callable[..., Any]:
    try:
        function = pkgutil.resolve_name(target)
    except Exception as error:  # importing a module runs it
        raise ValueError(
            f"{path} names the class {target}, which cannot be imported: "
            f"{type(error).__name__}: {error}. Its module must be on Python's path (PYTHONPATH)"
        ) from error
    if not callable(function):
        raise ValueError(f"{path} names {target}, which is not a class or a function")
    return function


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
            "dropout": 0.0,  # torchvision's dropout has no effect outside training
            "columns": 1,
            "init": "paper",
            "channels": tuple(len(state[f"conv{i}.bias"]) for i in range(1, 6)),
            "hidden": tuple(len(state[f"fc{i}.bias"]) for i in (6, 7)),
            # Torchvision's 55 windows begin 2 pixels before the image and end 1 after it. Ours do
            # the same on an image with 2 zeros in front.
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
            "layout=caffe does not determine the network: add model=alexnet with its options"
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


def _renamed(
    path: Path, theirs: dict[str, Tensor], layers: Mapping[str, str], layout: str
) -> dict[str, Tensor]:
    names = {
        f"{ours}.{kind}": f"{layer}.{kind}"
        for ours, layer in layers.items()
        for kind in ("weight", "bias")
    }
    problems = [f"has no {name}" for name in names.values() if name not in theirs]
    problems += [f"also has {name}" for name in theirs if name not in names.values()]
    if problems:
        raise ValueError(
            f"{path} does not have the parameters of {layout}'s AlexNet: it {problems[0]}; it "
            f"contains {some(theirs)}"
        )
    state = {ours: theirs[name] for ours, name in names.items()}
    for ours, name in names.items():
        layer = ours.partition(".")[0]
        outputs, shape = len(state[f"{layer}.bias"].flatten()), state[ours].shape
        expected = 1 if ours.endswith("bias") else 4 if layer.startswith("conv") else 2
        # Refuse shapes that would be broadcast to another size.
        is_of_colours = ours != "conv1.weight" or tuple(shape[1:2]) == (3,)
        if len(shape) != expected or shape[0] != outputs or not is_of_colours:
            raise ValueError(
                f"{path} does not have the parameters of {layout}'s AlexNet: {name} is "
                f"{_shape(state[ours])}"
            )
    return state


def _misfits(state: Mapping[str, Tensor], net: nn.Module) -> list[str]:
    expected = net.state_dict()
    problems = [f"{name} is missing" for name in expected if name not in state]
    problems += [f"the network has no {name}" for name in state if name not in expected]
    shared = [name for name in expected if name in state]
    problems += [
        f"{name} is {_shape(state[name])}, but the network needs {_shape(expected[name])}"
        for name in shared
        if state[name].shape != expected[name].shape
    ]
    return problems + [
        f"{name} has dtype {state[name].dtype}, but the network needs {expected[name].dtype}"
        for name in shared
        if state[name].is_floating_point() != expected[name].is_floating_point()
    ]


def _layers(state: Mapping[str, Tensor]) -> list[str]:
    """Return the names of layers with parameters, in the order of the network."""
    return list(dict.fromkeys(map(_layer, state)))


def _last_layer(state: Mapping[str, Tensor]) -> str:
    matrices = [name for name in state if name.endswith(".weight") and state[name].dim() > 1]
    return _layer(matrices[-1]) if matrices else _layers(state)[-1]


def _layer(parameter: str) -> str:
    """Return the layer of a parameter: conv1.weight -> conv1."""
    return parameter.rpartition(".")[0]


def _shape(parameter: Tensor) -> str:
    return " x ".join(map(str, parameter.shape)) or "one number"
