import inspect
from typing import Annotated, get_args, get_origin, get_type_hints

import pytest
import yaml
from annotated_types import BaseMetadata

from alexnet import model
from alexnet.paths import CONF

NETWORKS = {
    "alexnet": model.AlexNet,
    "cifar_net": model.CifarNet,
    "cifar_local_net": model.CifarLocalNet,
}


def defaults(network):
    parameters = inspect.signature(network).parameters.values()
    return {each.name: each.default for each in parameters if each.name != "num_classes"}


@pytest.mark.parametrize(("name", "network"), NETWORKS.items())
def test_the_defaults_of_the_code_are_those_of_the_configuration(name, network):
    configured = yaml.safe_load((CONF / "model" / f"{name}.yaml").read_text())
    assert configured.pop("_target_") == f"alexnet.model.{network.__name__}"
    for key, default in defaults(network).items():
        if isinstance(default, tuple):
            configured[key] = tuple(configured[key])
        if isinstance(default, float):
            configured[key] = float(configured[key])  # 1e-4 is a text to PyYAML
    assert configured == defaults(network)


@pytest.mark.parametrize("network", NETWORKS.values())
def test_every_number_has_a_range_in_the_signature(network):
    hints = get_type_hints(network.__init__, include_extras=True)
    for name, default in {**defaults(network), "num_classes": 10}.items():
        if isinstance(default, int | float) and not isinstance(default, bool):
            assert get_origin(hints[name]) is Annotated, name
            assert any(isinstance(each, BaseMetadata) for each in get_args(hints[name])[1:]), name


@pytest.mark.parametrize("network", NETWORKS.values())
def test_annotations_can_be_evaluated_with_the_names_of_the_vocabulary(network):
    from alexnet import vocabulary

    module = inspect.getmodule(network)
    for name, annotation in inspect.get_annotations(network.__init__).items():
        assert not isinstance(annotation, str), f"{name} of {module} is quoted"
    assert vocabulary.Positive in get_type_hints(network.__init__, include_extras=True).values()
