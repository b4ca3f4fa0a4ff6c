import inspect
from typing import Any, get_args

import pytest
import torch
from omegaconf import OmegaConf

import alexnet.data
import alexnet.learning
import alexnet.model
from alexnet.config.check import check
from alexnet.config.names import confounds, sweep_name
from alexnet.config.schema import (
    AlexNetConfig,
    CIFAR10Config,
    CifarLocalNetConfig,
    CifarNetConfig,
    ConfigError,
    DataSet,
    ImageNetConfig,
    Learning,
    MNIST5kConfig,
    Section,
    SyntheticConfig,
)
from alexnet.config.suggest import did_you_mean, suggest_key
from alexnet.data.image_module import Settings
from alexnet.paths import CONF
from tests.conftest import plan


def composed(*overrides: str) -> dict[str, Any]:
    [run] = plan(*overrides)
    return run.config.plain()


def with_key(key: str, value: object) -> Any:
    config = OmegaConf.create(composed())
    OmegaConf.update(config, key, value, force_add=True)
    return config


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("model.activaton", "tanh", "unknown key model.activaton: did you mean model.nonlinearity"),
        ("modle", {"nonlinearity": "tanh"}, "unknown key modle: did you mean model"),
        (
            "learning.learning_rate",
            1,
            "unknown key learning.learning_rate: did you mean learning.lr",
        ),
        ("epochs", 3, "unknown key epochs: did you mean trainer.max_epochs"),
        ("data.root", "x", "unknown key data.root: the chosen data does not have it"),
        ("model.kernels", 3, "there is model.dropout, model.image_size, model.init, model.nonl"),
        ("data.nothing", 3, "there is data.augmentation, data.batch_size,"),
        (
            "model.nonlinearity",
            "tnah",
            "model.nonlinearity=tnah is not possible: choose relu, tanh",
        ),
        ("model.dropout", 1.5, "model.dropout=1.5 is not possible"),
        ("trainer.max_epochs", "ten", "trainer.max_epochs=ten is not possible"),
        ("data.batch_size", 0, "data.batch_size=0 is not possible"),
        ("arms.lr", {"he": {"rleu": 1}}, "rleu"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_what_to_type_instead(
    key: str, value: object, message: str
):
    with pytest.raises(ConfigError) as error:
        check(with_key(key, value))

    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_all_mistakes_are_told_at_once():
    config = with_key("model.nonlinearity", "tnah")
    OmegaConf.update(config, "seed", -1)

    with pytest.raises(ConfigError) as error:
        check(config)

    assert len(str(error.value).splitlines()) == 2


def test_a_class_without_a_schema_is_refused():
    with pytest.raises(ConfigError, match=r"somewhere\.Net has no schema"):
        check(with_key("model._target_", "somewhere.Net"))


PAIRS = [
    (AlexNetConfig, alexnet.model.AlexNet, {"num_classes"}),
    (CifarNetConfig, alexnet.model.CifarNet, {"num_classes"}),
    (CifarLocalNetConfig, alexnet.model.CifarLocalNet, {"num_classes"}),
    (CIFAR10Config, alexnet.data.CIFAR10, {"seed"}),
    (ImageNetConfig, alexnet.data.ImageNet, {"seed"}),
    (MNIST5kConfig, alexnet.data.MNIST5k, {"seed"}),
    (SyntheticConfig, alexnet.data.Synthetic, {"seed"}),
    (Learning, alexnet.learning.ClassificationTask, {"net", "about"}),
]


@pytest.mark.parametrize(("schema", "built", "given_by_train"), PAIRS)
def test_the_schema_has_exactly_the_arguments_of_the_class(
    schema: type[Section], built: type, given_by_train: set[str]
):
    arguments = set(inspect.signature(built).parameters) - given_by_train
    if "settings" in arguments:  # those that all data sets have
        arguments = arguments - {"settings"} | set(Settings.__annotations__) - given_by_train

    assert set(schema.model_fields) - {"target", "stop_at_train_error"} == arguments


@pytest.mark.parametrize("model", ["alexnet"])
def test_the_shipped_file_repeats_the_defaults_of_the_class(model: str):
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(alexnet.model.AlexNet).parameters.items()
        if name != "num_classes"
    }

    shipped = composed(f"model={model}")["model"]
    del shipped["_target_"]

    lists = {key: tuple(value) for key, value in shipped.items() if isinstance(value, list)}
    assert shipped | lists == defaults


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.columns=3"], "model.columns=3 does not divide every layer into equal parts"),
        (["model.hidden=[4096,4095]"], "model.hidden=[4096, 4095]"),
        (["model.columns=1", "model.columns_cross=false"], "choose model.columns=2"),
        (["model.removed=[conv2]"], "model.removed.0=conv2 is not possible: choose conv3, conv4"),
        (
            ["model.removed=conv3"],
            "model.removed=conv3 is not possible: give a list, model.removed=[",
        ),
        (["model.lrn_size=4"], "model.lrn_size=4 is not possible: the window is centred"),
        (["model.lrn_k=0"], "model.lrn_k=0 is not possible"),
        (["model.hidden=4096"], "model.hidden=4096 is not possible"),
    ],
)
def test_an_alexnet_that_cannot_be_is_refused_in_one_line(overrides: list[str], message: str):
    with pytest.raises(ConfigError) as error:
        plan("model=alexnet", *overrides)

    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_the_network_of_2012_differs_from_the_printed_one_in_four_keys():
    [printed], [run] = plan("model=alexnet"), plan("model=alexnet_2012")

    assert confounds(printed.config, run.config) == {
        "model.norm1_before_nonlinearity",
        "model.same_map_norm",
        "model.lrn_alpha_is_divided_by_size",
        "model.init",
    }


@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        ("alexnet", 60_965_224),
        ("alexnet_2012", 60_965_224),
        ("alexnet_control", 59_798_312),
        ("alexnet_no_crossing", 60_714_408),
        ("cifar_net", 89_578),
        ("cifar_local_net", 1_116_490),
    ],
)
def test_a_shipped_network_has_the_parameters_that_its_file_tells(model: str, parameters: int):
    settings = composed(f"model={model}")["model"]
    built = getattr(alexnet.model, settings.pop("_target_").rpartition(".")[2])
    with torch.device("meta"):
        net = built(**settings, num_classes=10 if "cifar" in model else 1000)

    assert sum(parameter.numel() for parameter in net.parameters()) == parameters
    assert f"{parameters:,} parameters" in (CONF / "model" / f"{model}.yaml").read_text()


@pytest.mark.parametrize("key", ["augmentation", "color_noise_scale"])
def test_the_vocabulary_of_views_is_that_of_the_data(key: str):
    annotation = DataSet.model_fields[key].annotation

    assert get_args(annotation) == get_args(Settings.__annotations__[key])


def name_of(*overrides: str, swept: tuple[str, ...] = ("seed",)) -> str:
    [run] = plan(*overrides)
    return sweep_name("mnist5k", run.config, swept)


@pytest.mark.parametrize(
    "override",
    ["seed=7", "outputs=/elsewhere", "data.workers=3", "trainer.threads=1", "logger=wandb"],
)
def test_what_does_not_change_the_numbers_does_not_change_the_folder(override: str):
    assert name_of(override) == name_of()


@pytest.mark.parametrize(
    "override", ["learning.lr=0.5", "data.batch_size=64", "model.init=source_2012"]
)
def test_what_changes_the_numbers_changes_the_folder(override: str):
    assert name_of(override) != name_of()


def test_a_swept_key_does_not_change_the_folder():
    swept = ("model.nonlinearity", "seed")

    assert name_of("model.nonlinearity=tanh", swept=swept) == name_of(swept=swept)


def test_what_a_swept_group_is_given_for_all_levels_changes_the_folder():
    swept = ("trainer", "seed")

    assert name_of("trainer.max_epochs=2", swept=swept) != name_of(swept=swept)


def test_confounds_are_the_keys_that_differ():
    [one], [other] = plan("learning.lr=0.1"), plan("model.nonlinearity=tanh")

    assert confounds(one.config, other.config) == {
        "learning.lr",
        "model.nonlinearity",
    }


def test_a_suggestion_is_the_nearest_name_or_all_names():
    assert did_you_mean("alexnte", ["alexnet", "cifar_net"]) == "did you mean alexnet?"
    assert did_you_mean("vgg", ["alexnet", "cifar_net"]) == "there is alexnet, cifar_net"


def test_a_suggestion_crosses_sections():
    sections = {"": {"model", "trainer"}, "model": {"dropout"}, "trainer": {"devices"}}

    assert suggest_key("trainer.dropuot", sections) == "there is trainer.devices"
    assert suggest_key("gpus", sections) == "did you mean trainer.devices?"


def test_a_suggestion_names_keys_of_the_chosen_class_alone():
    sections = {"": {"model"}, "model": {"columns", "dropout"}}

    assert suggest_key("model.kernels", sections, ["dropout"]) == "there is model.dropout"
    assert suggest_key("model.columns", sections, ["dropout"]) == (
        "the chosen model does not have it"
    )
