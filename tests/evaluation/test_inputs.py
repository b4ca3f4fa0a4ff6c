import dataclasses
import unicodedata
from pathlib import Path

import pytest
import torch

from alexnet.config.schema import ConfigError
from alexnet.evaluation import outputs_in_order
from alexnet.model import SavedNet


def foreign(num_classes: int) -> SavedNet:
    """A network that does not name its classes."""
    return SavedNet(
        path=Path("theirs.pt"),
        layout="torchvision",
        model={"num_classes": num_classes},
        state={},
        image_size=224,
        mean_image=torch.zeros(3, 1, 1),
        class_names=None,
    )


@pytest.mark.parametrize(
    ("names", "is_told"),
    [
        (sorted(map(str, range(11))), True),  # 0, 1, 10, 2, ...
        ([f"{i:02}" for i in range(11)], False),
        ([str(i) for i in range(10)], False),
        (["1", "10", "cat"], False),
    ],
)
def test_numbers_in_the_order_of_text_are_told_for_networks_that_do_not_name_their_classes(
    names, is_told, caplog
):
    assert outputs_in_order(foreign(len(names)), names) is None
    assert ("numbers sorted as text" in caplog.text) is is_told


@pytest.mark.parametrize(
    ("name", "how"),
    [
        (unicodedata.normalize("NFD", "café"), "another form of Unicode"),
        ("Café", "differs in upper and lower case"),
    ],
)
def test_classes_that_are_spelt_otherwise_are_said_to_be(name, how):
    saved = dataclasses.replace(foreign(2), class_names=(name, "tea"))

    with pytest.raises(ConfigError, match=f"has other classes .*: café .*{how}|: café {how}"):
        outputs_in_order(saved, ["café", "tea"])
