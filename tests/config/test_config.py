import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from omegaconf import OmegaConf

import alexnet.data
import alexnet.learning
import alexnet.model
from alexnet.config.check import check, read_stored
from alexnet.config.names import confounds, name_of_0_1, sweep_name
from alexnet.config.schema import OWNED, TASK, ConfigError, Training, learning_schema, part_schema
from alexnet.config.suggest import did_you_mean, suggest_key
from alexnet.data.image_module import ImageModule, Settings
from alexnet.paths import CONF, PROJECT
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
        ("optimizer", {"lr": 0.1}, "unknown key optimizer.lr: did you mean learning.lr?"),
        ("model.optimizer", {"lr": 0.1}, "model.optimizer.lr: did you mean learning.lr?"),
        ("epochs", 3, "unknown key epochs: did you mean trainer.max_epochs"),
        ("data.root", "x", "unknown key data.root: the chosen data does not have this key"),
        ("model.kernels", 3, "available: model.dropout, model.image_size, model.init, model.nonl"),
        ("data.nothing", 3, "available: data.augmentation, data.batch_size,"),
        (
            "model.nonlinearity",
            "tnah",
            "model.nonlinearity=tnah is not possible: choose relu, tanh",
        ),
        ("model.dropout", 1.5, "model.dropout=1.5 is not possible"),
        ("trainer.max_epochs", "ten", "trainer.max_epochs=ten is not possible"),
        ("data.batch_size", 0, "data.batch_size=0 is not possible"),
        ("data.batch_size", True, "data.batch_size=true is not possible: give a number"),
        ("learning.lr", True, "learning.lr=true is not possible: give a number"),
        ("learning.lr", float("inf"), "learning.lr=inf is not possible"),
        ("checkpoint.minutes", float("inf"), "checkpoint.minutes=inf is not possible"),
        (
            "trainer.max_steps",
            0,
            "trainer.max_steps=0 is not possible: give a number from 1, or -1",
        ),
        ("trainer.max_steps", -2, "trainer.max_steps=-2 is not possible: give a number from 1"),
        ("trainer.accumulate_grad_batches", 0, "trainer.accumulate_grad_batches=0 is not possible"),
        ("trainer.gradient_clip_val", -1, "trainer.gradient_clip_val=-1 is not possible"),
        ("trainer.check_val_every_n_epoch", 0, "trainer.check_val_every_n_epoch=0 is not possible"),
        ("trainer.overfit_batches", -1, "trainer.overfit_batches=-1 is not possible"),
        ("trainer.val_check_interval", 0, "val_check_interval=0 is not possible: give a number"),
        ("trainer.val_check_interval", 1.5, "or a share of an epoch up to 1.0"),
        ("trainer.max_time", -1, "max_time=-1 is not possible: give days:hours:minutes:seconds"),
        ("trainer.max_time", "00:00:00:00", "such as 00:08:00:00, or {hours: 8}"),
        ("max_seeds", 0, "max_seeds=0 is not possible"),
        ("trainer.threads", 100_000, "trainer.threads=100000 is too many for this machine"),
        ("data.workers", 100_000, "data.workers=100000 is too many for this machine"),
        ("data.image_size", 10, "differs from the network's model.image_size=32"),
        ("rates", {"he": {"rleu": 1}}, "rleu"),
        ("arms.lr", {"he": {"rleu": 1}}, "rleu"),
        (
            "trainer.logger",
            True,
            "unknown key trainer.logger: this program sets it; choose logger=",
        ),
    ],
)
def test_a_wrong_key_or_value_is_named_with_what_to_type_instead(
    key: str, value: object, message: str
):
    with pytest.raises(ConfigError) as error:
        check(with_key(key, value))

    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        # 256 x 10**11 weights and as many gradients, of 4 bytes, in two columns
        ("model=alexnet model.hidden=[100000000000,4]", "at least 104,000 GB of memory"),
        ("model=alexnet data=synthetic data.num_classes=1000000000", r"16,384 GB"),
        ("data=synthetic data.num_images=100000000000", r"at least 307,200 GB of memory"),
        ("data=synthetic data.size=1000000", r"data\.size=1000000.* needs at least"),
        ("model=alexnet model.hidden=[true,2]", "model.hidden=true is not possible"),
    ],
)
def test_what_this_machine_cannot_hold_is_refused(overrides: str, message: str):
    with pytest.raises(ConfigError, match=message):
        plan(*overrides.split())


def test_all_mistakes_are_told_at_once():
    config = with_key("model.nonlinearity", "tnah")
    OmegaConf.update(config, "seed", -1)

    with pytest.raises(ConfigError) as error:
        check(config)

    assert len(str(error.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("somewhere.Net", r"model\._target_: no module somewhere: put its folder on PYTHONPATH"),
        ("alexnet.model.AlexNt", r"alexnet\.model defines no class .* did you mean AlexNet\?"),
        ("alexnet.modle.AlexNet", r"alexnet has no module alexnet\.modle"),
        ("torch.nn.Linear", r"torch\.nn\.Linear has no argument num_classes"),
        ("AlexNet", "AlexNet is not a dotted name"),
    ],
)
def test_a_network_that_does_not_exist_is_refused(target: str, message: str):
    with pytest.raises(ConfigError, match=message):
        check(with_key("model._target_", target))


def test_a_configuration_is_checked_without_importing_torch():
    program = (
        "import sys; from tests.conftest import plan; plan('+experiment=relu_vs_tanh', "
        "'callbacks=early_stopping', 'logger=tensorboard', 'learning=adam'); "
        "assert 'torch' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", program], cwd=PROJECT, check=True)


SHIPPED = [
    (alexnet.model.AlexNet, "model", {"num_classes"}),
    (alexnet.model.CifarNet, "model", {"num_classes"}),
    (alexnet.model.CifarLocalNet, "model", {"num_classes"}),
    (alexnet.data.CIFAR10, "data", {"seed"}),
    (alexnet.data.ImageNet, "data", {"seed"}),
    (alexnet.data.MNIST5k, "data", {"seed"}),
    (alexnet.data.Synthetic, "data", {"seed"}),
]


@pytest.mark.parametrize(("built", "kind", "given_by_train"), SHIPPED)
def test_a_signature_that_is_read_is_that_of_the_class(
    built: type, kind: str, given_by_train: set[str]
):
    expected = {
        name: each.default
        for name, each in inspect.signature(built).parameters.items()
        if name not in {"settings", *given_by_train}
    }
    if kind == "data":  # Unpack[Settings], whose defaults are those of ImageModule
        shared = inspect.signature(ImageModule).parameters
        names = Settings.__annotations__.keys() - given_by_train
        expected |= {name: shared[name].default for name in names}

    fields = part_schema(f"{built.__module__}.{built.__name__}", kind).model_fields

    assert {name: f.get_default() for name, f in fields.items() if name != "target"} == expected


def test_the_learning_section_has_the_arguments_of_the_task():
    arguments = set(inspect.signature(alexnet.learning.ClassificationTask).parameters)

    fields = learning_schema(None, None, None).model_fields

    assert TASK.endswith("ClassificationTask")
    assert set(fields) - {"stop_at_train_error"} == arguments - {"net", "about"}


def test_the_trainer_file_has_every_argument_of_lightnings_trainer_at_its_default():
    defaults = {
        name: each.default for name, each in inspect.signature(Trainer.__init__).parameters.items()
    }
    shipped = composed()["trainer"]
    ours = set(Training.model_fields)

    assert set(shipped) | OWNED.keys() | {"self"} == set(defaults) | {"threads", "compile"}
    assert {k: v for k, v in shipped.items() if k not in ours} == {
        k: v for k, v in defaults.items() if k not in ours | OWNED.keys() | {"self"}
    }


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


@pytest.mark.parametrize(
    ("overrides", "swept", "name"),
    [
        ("seed=0", ("seed",), "7c9838f2"),
        ("+experiment=two_columns data=synthetic", ("arm", "seed"), "06ee5f11"),
        ("model=alexnet data=imagenet data.fraction=0.5", ("seed",), "4c403532"),
    ],
)
def test_a_sweep_is_found_under_the_name_that_version_0_1_gave_it(
    overrides: str, swept: tuple[str, ...], name: str
):
    config = plan(*overrides.split())[0].config

    assert name_of_0_1("x", config, swept) == f"x-{name}"  # printed by 0.1


@pytest.mark.parametrize(
    "override", ["learning=adam", "data.fraction=0.5", "callbacks=early_stopping"]
)
def test_what_version_0_1_could_not_do_has_no_name_of_it(override: str):
    [run] = plan(override)

    assert name_of_0_1("x", run.config, ("seed",)) is None


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
    assert did_you_mean("vgg", ["alexnet", "cifar_net"]) == "available: alexnet, cifar_net"


def test_a_suggestion_crosses_sections():
    sections = {"": {"model", "trainer"}, "model": {"dropout"}, "trainer": {"devices"}}

    assert suggest_key("trainer.dropuot", sections) == "available: trainer.devices"
    assert suggest_key("gpus", sections) == "did you mean trainer.devices?"


def test_a_suggestion_names_keys_of_the_chosen_class_alone():
    sections = {"": {"model"}, "model": {"columns", "dropout"}}

    assert suggest_key("model.kernels", sections, ["dropout"]) == "available: model.dropout"
    assert suggest_key("model.columns", sections, ["dropout"]) == (
        "the chosen model does not have this key"
    )


def test_the_file_of_a_run_that_has_lost_its_end_is_named(tmp_path: Path):
    file = tmp_path / "config.yaml"
    file.write_text("model:\n  pooling: overl\n")

    with pytest.raises(ConfigError, match=f"{file} is damaged: it lacks data, learning, trainer"):
        read_stored(file)
