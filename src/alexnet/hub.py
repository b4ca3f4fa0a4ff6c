"""Registration of the networks in timm and torchvision (sections 3.5 and 4.2).

    import alexnet.hub
    timm.create_model("alexnet_2012")                        # needs timm
    torchvision.models.get_model("alexnet_paper")

`alexnet_paper` is the network as the paper prints it, `alexnet_2012` as the program of 2012 ran it.
Images are RGB in 0..255, (N, 3, 224, 224). The network subtracts the mean image itself, which is
loaded with the weights; without weights it is the mean colour of ImageNet. Weights come from a
local file: a checkpoint of this project, or the output of `python src/export.py
format=safetensors`. Nothing is downloaded.
"""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models._api import register_model as register_in_torchvision
from typing_extensions import override

from alexnet.folders.sweep import find_checkpoint
from alexnet.model import AlexNet, SavedNet, read_checkpoint

__all__ = ["HubAlexNet"]

VARIANTS: dict[str, dict[str, Any]] = {
    "alexnet_paper": {},
    "alexnet_2012": {  # conf/model/alexnet_2012.yaml states their sources
        "norm1_before_nonlinearity": True,
        "lrn_alpha_is_divided_by_size": True,
        "same_map_norm": True,
        "init": "source_2012",
    },
}
"""Arguments of AlexNet by variant; all others are at their defaults, as the paper prints it."""

# Mean colour of the training images, RGB in 0..255; torchvision's (0.485, 0.456, 0.406).
_IMAGENET_COLOUR = (123.675, 116.28, 103.53)


class HubAlexNet(AlexNet):
    """AlexNet with the methods that timm's training, feature extraction and transfer call.

    `num_classes=0` leaves fc8 out, as in timm: the network then returns the outputs of fc7.
    `drop_rate` is the probability of dropout in fc6 and fc7. Other arguments are those of AlexNet.

    Shape: (N, 3, 224, 224), RGB 0..255 -> (N, num_classes) logits. Raises ValueError for in_chans
    other than 3, for a `global_pool`, and as AlexNet does.
    """

    mean_image: Tensor
    pretrained_cfg: dict[str, Any]  # set by timm

    def __init__(
        self,
        num_classes: int = 1000,
        *,
        in_chans: int = 3,
        img_size: int | Sequence[int] = 224,
        drop_rate: float = 0.5,
        global_pool: str = "",
        **settings: Any,
    ) -> None:
        sizes = {img_size} if isinstance(img_size, int) else set(img_size)
        if len(sizes) > 1:
            raise ValueError(f"img_size={img_size} is not possible: images are square")
        if in_chans != 3:
            raise ValueError(
                f"in_chans={in_chans} is not possible: the network takes RGB. Repeat a grey image "
                "over three channels"
            )
        _refuse_pooling(global_pool)
        settings = {"image_size": sizes.pop(), **settings}
        super().__init__(max(num_classes, 1), dropout=drop_rate, **settings)
        colour = torch.tensor(_IMAGENET_COLOUR)[:, None, None]
        self.register_buffer("mean_image", colour.repeat(1, self.image_size, self.image_size))
        self.num_classes = num_classes
        self.in_chans = in_chans
        self.drop_rate = drop_rate
        self.head_hidden_size = self.fc8.in_features
        if num_classes == 0:
            self.add_module("fc8", nn.Identity())
        self.feature_info = self._taps()
        self.num_features = self.feature_info[-1]["num_chs"]  # maps of forward_features
        self.register_load_state_dict_pre_hook(_refuse_checkpoints)

    def _taps(self) -> list[dict[str, Any]]:
        """List the stages whose activities (N, maps, side, side) are features, in timm's format."""
        first = "nonlinearity.conv1" if self.norm1_before_nonlinearity else "pool1"
        # The sixth convolution, if there is one, follows the last pooling.
        last = "nonlinearity.conv6" if self.conv6 is not None else "pool5"
        stages = [(first, self.conv1, 8), ("pool2", self.conv2, 16)]
        for name in ("conv3", "conv4"):
            if (layer := getattr(self, name)) is not None:
                stages.append((f"nonlinearity.{name}", layer, 16))
        of_last = self.conv6 or self.conv5 or self.conv4 or self.conv3 or self.conv2
        stages.append((last, of_last, 32))
        return [
            {"module": module, "num_chs": conv.out_channels, "reduction": reduction}
            for module, conv, reduction in stages
        ]

    @override
    def forward(self, images: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(images))

    def forward_features(self, images: Tensor) -> Tensor:
        """Return the maps before fc6: (N, 3, 224, 224) -> (N, 256, 6, 6)."""
        return self.convolutional(images - self.mean_image)

    def forward_head(self, maps: Tensor, pre_logits: bool = False) -> Tensor:
        """Return the logits of maps, or with `pre_logits` the input of fc8, (N, 4096)."""
        hidden = self.fully_connected(maps)
        return hidden if pre_logits else self.fc8(hidden)

    def forward_intermediates(
        self,
        images: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> Any:
        """Return maps of the stages in `feature_info`: the last `indices`, or those at `indices`.

        They are a list, preceded by the maps before fc6 unless `intermediates_only`. `norm` and
        `stop_early` are for other kinds of networks and have no effect here.
        """
        if output_fmt != "NCHW":
            raise ValueError(f"output_fmt={output_fmt} is not possible: maps are NCHW")
        from timm.models._features import feature_take_indices

        chosen, _ = feature_take_indices(len(self.feature_info), indices)
        kept: dict[int, Tensor] = {}

        def keep(index: int, maps: Tensor) -> None:
            kept[index] = maps

        hooks = [
            self.get_submodule(self.feature_info[index]["module"]).register_forward_hook(
                lambda _, __, maps, index=index: keep(index, maps)
            )
            for index in chosen
        ]
        try:
            last = self.forward_features(images)
        finally:
            for hook in hooks:
                hook.remove()
        found = [kept[index] for index in chosen]
        return found if intermediates_only else (last, found)

    def get_classifier(self) -> nn.Module:
        """Return the last layer, fc8; called by timm."""
        return self.fc8

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the last layer by a new one, drawn as in section 5; remove it for 0 classes."""
        _refuse_pooling(global_pool or "")
        self.num_classes = num_classes
        if num_classes == 0:
            self.add_module("fc8", nn.Identity())
            return
        like = self.fc7.weight
        layer = nn.Linear(self.head_hidden_size, num_classes, device=like.device, dtype=like.dtype)
        nn.init.normal_(layer.weight, std=0.01)
        nn.init.zeros_(layer.bias)
        self.add_module("fc8", layer)

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        """Return patterns of parameter names, by which timm sets the rates of layers."""
        return {"stem": r"^conv1", "blocks": r"^(?:conv|fc)(\d+)"}

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Refuse gradient checkpointing, which the network does not have."""
        if enable:
            raise ValueError("gradient checkpointing is not supported by this network")

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Remove the fully connected layers, which maps do not need; return the indices."""
        from timm.models._features import feature_take_indices

        chosen, _ = feature_take_indices(len(self.feature_info), indices)
        if prune_head:
            for name in ("fc6", "fc7", "fc8"):
                self.add_module(name, nn.Identity())
            self.num_classes = 0
        return chosen

    def load_pretrained(self, path: str | Path) -> None:
        """Load a file; timm calls it for `pretrained_cfg_overlay={"file": ..., "num_classes": N}`.

        See `load`. Raises ValueError if N (default: 1000) is not the file's number of classes.
        """
        saved = read_checkpoint(find_checkpoint(Path(path)))
        expected = self.pretrained_cfg["num_classes"]
        if saved.num_classes != expected:
            raise ValueError(
                f"{saved.path} has {saved.num_classes} classes instead of {expected}: add "
                f'"num_classes": {saved.num_classes} to pretrained_cfg_overlay'
            )
        self.load(saved)

    def load(self, saved: SavedNet) -> None:
        """Load parameters and mean image; the last layer only if its number of classes is equal.

        Raises ValueError for the weights of another network, even if only constants differ, which
        the shapes of parameters do not show.
        """
        theirs = saved.build()
        here, there = behaviour(self), behaviour(theirs)
        if here.keys() != there.keys() or here != there:
            differing = [
                f"{name} is {there.get(name, 'absent')} there and {here.get(name, 'absent')} here"
                for name in {**here, **there}
                if here.get(name) != there.get(name)
            ]
            raise ValueError(f"{saved.path} is from another network: {'; '.join(differing)}")
        state = theirs.state_dict()
        if saved.num_classes != self.num_classes:
            state = {name: each for name, each in state.items() if not name.startswith("fc8.")}
        mean = saved.view_mean[None].float()
        if mean.shape[-1] != self.image_size:
            # Bilinear scaling is linear: scaling image and mean separately gives the same result.
            size = (self.image_size, self.image_size)
            mean = F.interpolate(mean, size, mode="bilinear", antialias=True)
        state["mean_image"] = mean[0]
        self.load_state_dict(state, strict=False)


def behaviour(net: nn.Module) -> dict[str, str]:
    """Describe each layer of a network but the last, and its settings, by name."""
    found = {
        name: repr(module)
        for name, module in net.named_modules()
        if not any(module.children()) and name not in ("", "fc8")
    }
    for name in ("norm1_before_nonlinearity", "pixel_scale", "image_size"):
        found[name] = str(getattr(net, name, None))
    return found


def _refuse_pooling(global_pool: str) -> None:
    if global_pool:
        raise ValueError(
            f"global_pool={global_pool} is not possible, because fc6 needs every place of the "
            "maps: leave it out"
        )


def _refuse_checkpoints(net: nn.Module, state: Mapping[str, Any], prefix: str, *_: Any) -> None:
    """Refuse a checkpoint of ours opened by timm, which drops its mean image and settings."""
    assert isinstance(net, HubAlexNet)
    mean = state.get(f"{prefix}mean_image", net.mean_image)
    if (
        any(name.startswith(f"{prefix}net.") for name in state)
        or mean.shape != net.mean_image.shape
    ):
        raise ValueError(
            "this is a checkpoint of AlexNet Lab, whose mean image and settings are not stored as "
            "parameters: instead of checkpoint_path=FILE give pretrained=True, "
            'pretrained_cfg_overlay={"file": FILE, "num_classes": N}'
        )


def _in_torchvision(name: str) -> None:
    def builder(
        *, weights: str | Path | None = None, progress: bool = True, **settings: Any
    ) -> HubAlexNet:
        """`weights` is a checkpoint, a run folder or a file of safetensors; none are downloaded."""
        if "dropout" in settings:  # torchvision's name
            settings["drop_rate"] = settings.pop("dropout")
        if weights is None:
            return HubAlexNet(**{**VARIANTS[name], **settings})
        saved = read_checkpoint(find_checkpoint(Path(weights)))
        classes = settings.setdefault("num_classes", saved.num_classes)
        if classes != saved.num_classes:
            raise ValueError(
                f"{saved.path} has {saved.num_classes} classes, not num_classes={classes}: leave "
                "num_classes out, and replace the last layer afterwards (reset_classifier)"
            )
        net = HubAlexNet(**{**VARIANTS[name], **settings})
        net.load(saved)
        return net

    builder.__name__ = builder.__qualname__ = name
    register_in_torchvision(name)(builder)


def _in_timm(name: str) -> None:
    from timm.models import build_model_with_cfg, register_model

    def entry(
        pretrained: bool = False,
        pretrained_cfg_overlay: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> nn.Module:
        overlay = dict(pretrained_cfg_overlay or {})
        if overlay.get("file"):  # otherwise timm would read the file itself
            overlay.setdefault("custom_load", True)
        net: nn.Module = build_model_with_cfg(
            HubAlexNet,
            name,
            pretrained,
            pretrained_cfg_overlay=overlay,
            feature_cfg={"feature_cls": "getter", "out_indices": (0, 1, 2, 3, 4)},
            **{**VARIANTS[name], **settings},
        )
        return net

    entry.__name__ = entry.__qualname__ = name
    register_model(entry)


for _name in VARIANTS:
    _in_torchvision(_name)

if find_spec("timm"):
    from timm.models import generate_default_cfgs

    # Read by timm's register_model, under this name.
    default_cfgs = generate_default_cfgs(
        {
            _name: {
                "custom_load": True,  # files are read by HubAlexNet.load_pretrained
                "num_classes": 1000,
                "input_size": (3, 224, 224),
                "fixed_input_size": True,
                "pool_size": (6, 6),
                # Section 2: the shorter side to 256, the central 224 of it, pixels in 0..255.
                "crop_pct": 224 / 256,
                "interpolation": "hamming",
                "mean": (0.0, 0.0, 0.0),
                "std": (1 / 255, 1 / 255, 1 / 255),
                "first_conv": "conv1",
                "classifier": "fc8",
                "license": "mit",
                "paper_name": "ImageNet Classification with Deep Convolutional Neural Networks",
                "origin_url": "https://papers.nips.cc/paper/4824",
            }
            for _name in VARIANTS
        }
    )
    for _name in VARIANTS:
        _in_timm(_name)
