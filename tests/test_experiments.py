import re
from functools import cache
from typing import Any

import hydra
import pytest
import torch
from omegaconf import OmegaConf
from torch.nn import functional

from alexnet.config.check import check
from alexnet.config.names import confounds
from alexnet.config.schema import ALEXNET, FORMAT, Config, ConfigError
from alexnet.data import cifar10
from alexnet.learning import ClassificationTask
from alexnet.learning.schedule import ByEpoch
from alexnet.paths import CONF
from alexnet.results.scorecard import shipped
from alexnet.sweep.plan import PlannedRun
from tests.conftest import plan as plan_anew
from tests.data.batches import IMAGES_PER_BATCH, write_cifar10
from tests.preparation.photographs import class_folders

EXPERIMENTS = sorted(file.stem for file in (CONF / "experiment").glob("*.yaml"))

# They train one network, or one arm whose runs are looked at singly; the others compare arms.
PRESETS = {"alexnet_paper", "alexnet_2012", "fine_tuning"}
ONE_ARM = {"columns_specialize"}
COMPARISONS = [name for name in EXPERIMENTS if name not in PRESETS | ONE_ARM]

# Beside what varies, and rates that a search found: what a group's file sets.
DECLARED: dict[str, set[str]] = {
    "two_columns=one_device": {"trainer.devices", "trainer.strategy"},
    "two_columns=control": {
        "trainer.devices", "trainer.strategy", "model.columns", "model.channels"
    },
    "no_crossing=no_crossing": {"model.columns_cross", "model.channels", "model.hidden"},
    "ablations_as_logged=net_147": {"learning.drops"},
    "ablations_as_logged=net_148": {"learning.drops"},
    "ablations_as_logged=net_150": {
        "model.columns_cross", "model.channels", "model.hidden", "learning.drops"
    },
}  # fmt: skip


plan = cache(plan_anew)  # the tests below look at the same runs again and again


def arms(experiment: str, *overrides: str) -> list[Config]:
    """One configuration per arm: fake data, seed 0, AlexNet with an eighth of its maps."""
    return [shrunk(run.config) for run in planned_arms(experiment, *overrides)]


def planned_arms(experiment: str, *overrides: str) -> list[PlannedRun]:
    data = ("data=synthetic", "data.num_images=16", "data.batch_size=8")
    return plan(f"+experiment={experiment}", "seed=0", *data, *overrides)


def searched(run: PlannedRun) -> dict[str, Any]:
    """What the searches of an experiment found for an arm."""
    winners = [each for search in run.config.searches.values() for each in search.winners]
    return {
        key: level for each in winners if each.arm == run.arm for key, level in each.levels.items()
    }


def shrunk(config: Config) -> Config:
    if config.model.target != ALEXNET:
        return config
    size = {
        "channels": tuple(maps // 8 for maps in config.model.channels),
        "hidden": tuple(neurons // 64 for neurons in config.model.hidden),
    }
    return config.model_copy(update={"model": config.model.model_copy(update=size)})


def build_data(config: Config) -> Any:
    data = hydra.utils.instantiate(config.data.plain(), seed=config.seed, _convert_="all")
    data.setup("fit")
    return data


def build_net(config: Config, num_classes: int = 10) -> torch.nn.Module:
    torch.manual_seed(config.seed)
    return hydra.utils.instantiate(config.model.plain(), num_classes=num_classes, _convert_="all")


@pytest.mark.parametrize("experiment", COMPARISONS)
def test_arms_differ_in_exactly_what_the_experiment_declares(experiment: str):
    first, *others = planned_arms(experiment)
    settings = {name: set(arm) for name, arm in first.composed.arms.items()}

    assert others
    for other in others:
        expected = {key for key, level in other.arm.items() if level != first.arm[key]} - {"arm"}
        found = searched(other).items() ^ searched(first).items()
        expected |= DECLARED.get(experiment, set()) | {key for key, _ in found}
        if settings:
            arm = other.arm["arm"]
            values = {key for key in settings[arm] if "." in key}
            expected |= DECLARED.get(f"{experiment}={arm}", set()) | values
        # learning.drops is one key, whatever it holds
        differ = confounds(first.config, other.config)
        assert {re.sub(r"^(learning\.drops)\..*", r"\1", key) for key in differ} == expected


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_drop_of_a_rate_and_of_colour_noise_comes_before_the_end(experiment: str):
    for config in arms(experiment):
        last = config.trainer.max_epochs - 1
        assert (config.data.color_noise_epochs or 0) <= last
        for group, drops in (config.learning.drops or {}).items():
            assert max(drops) <= last, group


def rates(arm: str) -> list[dict[str, float]]:
    """Rates of each group after 0, 1, 2 ... epochs, in an arm of as_printed_or_as_run."""
    [config] = arms("as_printed_or_as_run", f"+arm=choice({arm})")
    learning = config.learning.model_dump()
    del learning["stop_at_train_error"]
    task = ClassificationTask(build_net(config), **learning)
    optimizer = task.configure_optimizers()
    schedule = ByEpoch(optimizer, learning["drops"])
    history = []
    for epoch in range(config.trainer.max_epochs):
        schedule.set_rates(epoch)
        history.append({group["name"]: group["lr"] for group in optimizer.param_groups})
    return history


def test_biases_have_the_rate_of_weights_in_one_arm_and_fall_with_them_in_another():
    at_first, *_ = rates("bias_rate")
    assert at_first["biases"] == at_first["weights"]
    assert at_first["conv1_biases"] == at_first["conv1_weights"]
    for rate in rates("bias_drops"):
        assert rate["biases"] == 2 * rate["weights"]
        assert rate["conv1_biases"] == 2 * rate["conv1_weights"]


def test_an_arm_changes_one_thing_and_all_of_them_are_as_printed_but_for_the_epochs():
    names = [run.arm["arm"] for run in planned_arms("as_printed_or_as_run")]
    [paper], [source] = arms("alexnet_paper"), arms("alexnet_2012")
    by_name = dict(zip(names, arms("as_printed_or_as_run"), strict=True))

    def changed(one: Config, other: Config) -> set[str]:
        keys = {re.sub(r"^(learning\.drops)\..*", r"\1", key) for key in confounds(one, other)}
        return {key for key in keys if not key.startswith("experiment.")}

    assert changed(by_name["as_run"], source) == set()
    assert changed(by_name["as_printed"], paper) == {"trainer.max_epochs"}
    single = {name: changed(by_name["as_run"], by_name[name]) for name in names[1:-1]}
    plateau = single.pop("plateau")
    assert plateau == {"learning.schedule", "learning.drops"}  # drops belong to the other schedule
    assert all(len(keys) == 1 for keys in single.values()), single
    every = set().union(plateau, *single.values())
    assert every == changed(by_name["as_run"], by_name["as_printed"])


def test_conv1_that_is_not_frozen_has_the_rates_of_all_layers():
    for rate in rates("conv1_not_frozen"):
        assert rate["conv1_weights"] == rate["weights"]
        assert rate["conv1_biases"] == rate["biases"]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_arm_of_an_experiment_builds_and_makes_a_step(experiment: str):
    for config in arms(experiment):
        data, net = build_data(config), build_net(config)
        images, labels = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)

        functional.cross_entropy(net(images), labels).backward()

        assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_equal_seeds_give_equal_initial_weights_in_all_arms(experiment: str):
    first, *others = arms(experiment)
    weights = build_net(first).state_dict()

    for config in others:
        other = build_net(config).state_dict()
        shared = [
            name
            for name in weights.keys() & other.keys()
            if weights[name].shape == other[name].shape
        ]
        assert shared
        for name in shared:
            # Where the deviation is what an arm varies, the random numbers are still the same.
            is_scaled = config.model.init != first.model.init and name.endswith("weight")
            scale = weights[name].std() / other[name].std() if is_scaled else 1.0
            torch.testing.assert_close(
                weights[name], other[name] * scale, atol=0, rtol=is_scaled * 1e-5
            )


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_equal_seeds_give_equal_batches_in_all_arms(experiment: str):
    first, *others = arms(experiment)
    batches = list(build_data(first).train_dataloader())

    for config in others:
        same_crops = config.data.crop_block == first.data.crop_block
        for batch, other in zip(batches, build_data(config).train_dataloader(), strict=True):
            assert torch.equal(batch[1], other[1])
            assert torch.equal(batch[0], other[0]) or not same_crops


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_runs_several_seeds_unless_it_is_a_search_or_a_preset(experiment: str):
    runs = plan(f"+experiment={experiment}")

    seeds = {run.config.seed for run in runs}
    is_one = experiment in PRESETS or runs[0].config.experiment.searched
    chosen_by = {seed for each in runs[0].config.searches.values() for seed in each.seeds}
    several = {1, 2, 3} if 0 in chosen_by else {0, 1, 2}
    if experiment in ONE_ARM:  # what happens "during every run" needs more
        several = {0, 1, 2, 3, 4}
    assert seeds == ({0} if is_one else several)
    assert is_one or not seeds & chosen_by


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_a_claim_about_an_error_says_how_long_its_networks_were_trained(experiment: str):
    runs = plan(f"+experiment={experiment}")
    config = runs[0].config
    for claim in config.experiment.claims:
        measure = claim.measure or config.experiment.measure
        if claim.data and measure.kind == "final" and "error" in measure.metric:
            assert claim.epochs, claim.text
            network = config.model.target.rpartition(".")[2]
            if (claim.data, claim.network) == (config.data.name.lower(), network):
                assert min(run.config.trainer.max_epochs for run in runs) >= claim.epochs


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_file_is_named_by_its_claim_and_says_how_to_run_it(experiment: str):
    text = (CONF / "experiment" / f"{experiment}.yaml").read_text()

    assert plan(f"+experiment={experiment}")[0].config.experiment.name == experiment
    assert f"python src/train.py +experiment={experiment}" in text
    assert f"outputs/{experiment}/" in text


@pytest.mark.parametrize(
    "experiment",
    [
        "relu_vs_tanh",
        "relu_vs_tanh_he",
        "saturating",
        "saturating_cifar10",
        "lrn_on_off",
        "pooling_overlap",
        "ablation_grid",
        "normalization_then_and_now",
    ],
)
def test_the_rate_of_each_arm_is_that_of_a_search_that_is_shipped(experiment: str):
    its_arms = planned_arms(experiment)
    searches = its_arms[0].config.searches.values()

    assert len(its_arms) == sum(len(search.winners) for search in searches)
    for run in its_arms:
        assert searched(run) == {"learning.lr": run.config.learning.lr}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("model.init=he", "was made with model.init=source_2012, not he. Set learning.lr=VALUE"),
        ("model.nonlinearity=relu,sigmoid", "has no winner for model.nonlinearity=sigmoid"),
        ("searches=[]", "for this arm: no file of conf/searches is chosen"),
    ],
)
def test_an_arm_without_a_searched_rate_is_refused_in_one_line(words: str, message: str):
    with pytest.raises(ConfigError) as error:
        plan("+experiment=relu_vs_tanh", words)

    assert str(error.value).startswith("no search has found a learning.lr for this arm: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, ...]]:
    """Folders with a few images of each data set that would be downloaded."""
    folder = tmp_path_factory.mktemp("data")
    photographs = class_folders(folder / "imagenet")
    batches = write_cifar10(folder / "cifar10")
    return {
        "cifar10": (f"data.root={batches}", "data.verify=false"),
        "imagenet": (f"data.root={photographs}", "data.workers=0"),
        "mnist5k": (),
        "synthetic": ("data.num_images=16",),
    }


@pytest.mark.parametrize("data", ["cifar10", "imagenet", "mnist5k", "synthetic"])
@pytest.mark.parametrize(
    "model", ["alexnet", "alexnet_2012", "alexnet_no_crossing", "cifar_net", "cifar_local_net"]
)
def test_any_network_runs_on_any_data(
    model: str, data: str, roots: dict[str, tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cifar10, "IMAGES_PER_BATCH", IMAGES_PER_BATCH)
    monkeypatch.setattr(cifar10, "NUM_VAL_IMAGES", 20)
    [run] = plan(f"model={model}", f"data={data}", "data.batch_size=4", *roots[data])
    config = shrunk(run.config)
    module = build_data(config)
    net = build_net(config, module.num_classes)

    images, labels = module.on_after_batch_transfer(next(iter(module.train_dataloader())), 0)
    logits = net(images)

    assert module.image_size == net.image_size
    assert logits.shape == (4, module.num_classes)
    assert functional.cross_entropy(logits, labels).isfinite()


NEEDS = {"trainer=two_columns": ["model=alexnet"]}


@pytest.mark.parametrize(
    "choice",
    [
        f"{group.name}={file.stem}"
        for group in sorted(CONF.iterdir())
        if group.is_dir() and group.name not in ("hydra", "experiment", "tune", "debug")
        for file in sorted(group.glob("[!_]*.yaml"))
    ],
)
def test_every_shipped_file_composes_to_a_valid_configuration(choice: str):
    [run] = plan(choice, *NEEDS.get(choice, []))

    assert run.config.seed == 0


def test_every_seed_is_told_what_it_would_be_told_alone():
    together = plan_anew("+experiment=relu_vs_tanh", "seed=3,1")
    for planned in together:
        nonlinearity, seed = planned.arm["model.nonlinearity"], planned.config.seed
        alone = ["+experiment=relu_vs_tanh", f"model.nonlinearity={nonlinearity}", f"seed={seed}"]
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            composed = hydra.compose("config", alone)
        plain = OmegaConf.to_container(composed, resolve=True)
        assert OmegaConf.to_container(planned.told, resolve=True) == {**plain, "format": FORMAT}
        assert (planned.config, planned.overrides) == (check(composed), alone)
    assert [planned.config.seed for planned in together] == [3, 1, 3, 1]


def test_a_seed_is_checked_as_any_other_value():
    with pytest.raises(ConfigError, match="seed"):
        plan_anew("+experiment=relu_vs_tanh", "seed=0,x")


def test_the_scorecard_reads_an_experiment_as_hydra_composes_it():
    known = {each.name: each for each in shipped()}
    for name in ("saturating", "relu_vs_tanh_lr", "where_is_the_six", "as_printed_or_as_run"):
        [first, *_] = planned_arms(name)
        assert known[name] == first.config.experiment
