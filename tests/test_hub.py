from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import Tensor

import alexnet
import alexnet.hub
from alexnet.model import AlexNet, read_checkpoint
from tests.export.saved import save
from tests.export.test_formats import pixels, preset

# The whole depth, few maps.
SMALL: dict[str, Any] = {"channels": (8, 16, 24, 24, 16), "hidden": (24, 16)}
WHOLE = pixels(2, 256)
IMAGES = WHOLE[..., 16:240, 16:240].float()  # the central view


def saved(path: Path, name: str = "alexnet_2012", classes: int = 10) -> Path:
    model = preset({"alexnet_paper": "alexnet"}.get(name, name))
    save(path, **{**model, **SMALL, "_target_": "AlexNet", "num_classes": classes, "pixels": 256})
    return path


@torch.no_grad()
def of_ours(path: Path) -> Tensor:
    net = alexnet.load(path)
    return net(torch.cat([net.preprocess(image) for image in WHOLE]))


@pytest.mark.parametrize(
    ("name", "file"), [("alexnet_paper", "alexnet"), ("alexnet_2012", "alexnet_2012")]
)
def test_the_names_are_the_presets(name: str, file: str):
    model = {key: value for key, value in preset(file).items() if key != "_target_"}
    # JSON and YAML have lists where signatures have tuples.
    model |= {key: tuple(value) for key, value in model.items() if isinstance(value, list)}
    with torch.device("meta"):
        expected = AlexNet(**model)
        for net in (timm.create_model(name), torchvision.models.get_model(name)):
            behaviour = alexnet.hub.behaviour(net)
            assert behaviour == alexnet.hub.behaviour(expected)
            assert sum(each.numel() for each in net.parameters()) == 60_965_224


def test_timm_takes_features_heads_and_classes_as_of_its_own_networks():
    net = timm.create_model("alexnet_2012", num_classes=7, drop_rate=0.25, **SMALL).eval()
    assert "alexnet_2012" in timm.list_models("alexnet*")
    assert net.dropout6.p == 0.25

    maps = net.forward_features(IMAGES)
    hidden = net.forward_head(maps, pre_logits=True)
    assert (net.num_features, net.head_hidden_size) == (maps.shape[1], hidden.shape[1]) == (16, 16)
    torch.testing.assert_close(net.get_classifier()(hidden), net(IMAGES))

    net.reset_classifier(3)
    assert (net(IMAGES).shape, net.num_classes) == ((2, 3), 3)
    net.reset_classifier(0)
    torch.testing.assert_close(net(IMAGES), hidden)
    assert timm.create_model("alexnet_paper", num_classes=0, **SMALL)(IMAGES).shape == (2, 16)


def test_features_only_are_the_maps_of_the_stages():
    torch.manual_seed(0)
    whole = timm.create_model("alexnet_paper", **SMALL).eval()
    torch.manual_seed(0)
    net = timm.create_model("alexnet_paper", features_only=True, out_indices=(0, 2, -1), **SMALL)

    first, middle, last = net.eval()(IMAGES)

    assert (first.shape, middle.shape) == ((2, 8, 27, 27), (2, 24, 13, 13))
    torch.testing.assert_close(last, whole.forward_features(IMAGES))
    assert net.feature_info.channels() == [8, 24, 16]
    assert net.feature_info.reduction() == [8, 16, 32]
    assert not [name for name, _ in net.named_parameters() if ".fc" in name]


def test_timm_prepares_images_as_section_2_does(tmp_path: Path):
    net = timm.create_model("alexnet_2012", **SMALL)
    settings = timm.data.resolve_model_data_config(net)
    image = torchvision.transforms.functional.to_pil_image(pixels(1, 300)[0])

    transform = timm.data.create_transform(**settings, is_training=False)

    source = saved(tmp_path / "net.ckpt")
    expected = alexnet.load(source).preprocess(image)[0]
    found = transform(image) - read_checkpoint(source).view_mean
    # What is scaled before training is kept as JPEG, and its columns are rounded before its rows.
    assert (found - expected).abs().mean() < 10
    assert net.mean_image.mean(dim=(1, 2)).tolist() == pytest.approx([123.675, 116.28, 103.53])


@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
def test_weights_come_from_a_file_of_ours_with_their_mean_image(suffix: str, tmp_path: Path):
    source = saved(tmp_path / "net.ckpt")
    expected = of_ours(source)
    file = source.with_suffix(suffix)
    if file != source:
        read_checkpoint(source).write_safetensors(file)

    overlay = {"file": str(file), "num_classes": 10}
    net = timm.create_model(
        "alexnet_2012", pretrained=True, pretrained_cfg_overlay=overlay, **SMALL
    ).eval()
    theirs = torchvision.models.get_model("alexnet_2012", weights=file, **SMALL).eval()

    torch.testing.assert_close(net(IMAGES), expected)
    torch.testing.assert_close(theirs(IMAGES), expected)

    # For other classes, all but the last layer.
    other = timm.create_model(
        "alexnet_2012", pretrained=True, pretrained_cfg_overlay=overlay, num_classes=3, **SMALL
    ).eval()
    assert other(IMAGES).shape == (2, 3)
    torch.testing.assert_close(other.forward_features(IMAGES), net.forward_features(IMAGES))


def test_weights_of_another_network_are_refused_though_their_shapes_fit(tmp_path: Path):
    paper = saved(tmp_path / "paper.ckpt", "alexnet_paper", classes=1000)

    with pytest.raises(ValueError, match=r"another network: norm1 is .* there and .* here"):
        torchvision.models.get_model("alexnet_2012", weights=paper, **SMALL)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"in_chans": 1}, "takes RGB"),
        ({"global_pool": "avg"}, "every place"),
        ({"img_size": (224, 200)}, "images are square"),
        ({"pretrained": True, "pretrained_cfg_overlay": {"file": "FILE"}}, '"num_classes": 10'),
        ({"checkpoint_path": "FILE"}, "pretrained_cfg_overlay="),
    ],
)
def test_what_timm_cannot_have_is_refused_with_the_way_out(
    settings: dict[str, Any], says: str, tmp_path: Path
):
    file = str(saved(tmp_path / "net.ckpt"))
    settings = {
        key: {"file": file} if isinstance(value, dict) else file if value == "FILE" else value
        for key, value in settings.items()
    }

    with pytest.raises(ValueError, match=says):
        timm.create_model("alexnet_2012", **{**SMALL, **settings})
