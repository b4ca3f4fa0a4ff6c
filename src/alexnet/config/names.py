"""Names of sweeps, and differences between configurations, apart from where and how they run."""

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

from alexnet.config.experiment import Section
from alexnet.config.schema import Config

# These do not change the results: places, the number of workers, loggers.
NOT_PART_OF_THE_NAME = (
    "outputs",
    "fresh",
    "plan",
    "max_seeds",
    "resume",
    "checkpoint",
    "logger",
    "data.root",
    "data.workers",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.strategy",
    "trainer.threads",
)

# These may be reworded without a new sweep. What arms and searches set is in the runs' keys.
_TEXTS = (
    "allow",
    "imports",
    "arms",
    "rates",
    "searches",
    "trials",
    "experiment.section",
    "experiment.claims",
    "experiment.notes",
    "experiment.baseline",
)

# These keys are part of every name. A key that was added later is part of it only if it is not at
# its default, so that sweeps from before the key keep their names.
_KEYS_OF_0_1 = {
    "model": [
        "channels",
        "columns",
        "columns_cross",
        "dropout",
        "dropout_is_inverted",
        "hidden",
        "image_size",
        "init",
        "lrn_alpha",
        "lrn_alpha_is_divided_by_size",
        "lrn_beta",
        "lrn_k",
        "lrn_size",
        "nonlinearity",
        "norm1_before_nonlinearity",
        "normalization",
        "pooling",
        "removed",
        "same_map_norm",
        "sixth_convolution",
    ],
    "data": [
        "augmentation",
        "batch_size",
        "classes",
        "color_noise",
        "color_noise_epochs",
        "color_noise_rescale",
        "color_noise_scale",
        "crop_block",
        "image_size",
        "num_classes",
        "num_images",
        "root",
        "size",
        "verify",
        "workers",
    ],
    "learning": [
        "bias_lr_factor",
        "bias_weight_decay",
        "drops",
        "layer_weight_decay",
        "lr",
        "momentum",
        "patience",
        "schedule",
        "stop_at_train_error",
        "weight_decay",
    ],
    "trainer": [
        "accelerator",
        "devices",
        "limit_test_batches",
        "limit_train_batches",
        "limit_val_batches",
        "max_epochs",
        "max_steps",
        "num_nodes",
        "precision",
        "strategy",
        "threads",
    ],
}


# In 0.1 the tables of rates, which are in conf/searches now, and the notes were part of the name.
_RATES_OF_0_1 = {
    name: {"source_2012": {"relu": 0.002, "tanh": 0.016}, "he": {"relu": 0.01, "tanh": 0.01}}
    for name in ("relu_vs_tanh", "relu_vs_tanh_lr")
}
_TEXTS_OF_0_1: dict[str, dict[str, Any]] = {
    "two_columns": {
        "claim": (
            "Two columns on two GPUs lower the error rate, compared with a net with half as many "
            "kernels in each convolutional layer trained on one GPU, and take slightly less time "
            "to train."
        ),
        "paper": {
            "value": 0.017,
            "note": ("control against two columns: top-1 error, ILSVRC-2010 test set, ten crops"),
        },
    },
    "relu_vs_tanh": {
        "notes": (
            "Figure 1's network, rates and axes were never published. The network is the 19 % net "
            "of the program's CIFAR-10 examples, without regularization. Learning rates: for "
            "init=source_2012 from a rehearsal of relu_vs_tanh_lr on CIFAR-10 with one seed (n = "
            "1), where tanh still gained at the highest rate tried; for init=he not searched. On "
            "other data than CIFAR-10 these rates are not tuned, and the paper claims nothing: on "
            "the digits of mnist5k both nets are there within two epochs."
        ),
    },
}

_INIT_LAYOUT = Config.model_fields["init_layout"].default


def sweep_name(data: str, base: Config, swept: Collection[str]) -> str:
    """Name a sweep: the data set, and a hash of all settings that its runs have in common.

    `base` is the configuration without the swept values, so that more levels or seeds join the same
    folder. For a swept group (trainer=cpu,two_columns) it contains the default's values and those
    of the command line, so that trainer.max_epochs=2 and 3 have different names.
    """
    plain = _identity(base)
    if beside := swept_beside_the_name(swept):
        plain["swept"] = sorted(beside)
    return _name(data, plain, swept)


def name_of_0_1(data: str, base: Config, swept: Collection[str]) -> str | None:
    """Return the name that version 0.1 gave the same sweep; None if it could not have run it."""
    plain = base.model_dump(by_alias=True, mode="json")
    for section in _KEYS_OF_0_1:
        new = _new_keys(base, section)
        if any(new.values()):
            return None
        plain[section] = {key: each for key, each in plain[section].items() if key not in new}
    if plain.pop("callbacks") or plain.pop("init_layout") != _INIT_LAYOUT:
        return None
    for key in ("imports", "allow", "searches", "trials"):
        del plain[key]
    plain["arms"] = {"lr": plain.pop("rates") or _RATES_OF_0_1.get(base.experiment.name)}
    of_0_1 = ("kind", "metric", "threshold")
    for key in ("baseline", "claims"):
        plain["experiment"].pop(key, None)
    plain["experiment"] |= base.experiment.of_0_1()
    if base.rates is None:
        plain["experiment"] |= _TEXTS_OF_0_1.get(base.experiment.name, {})
    plain["experiment"]["measure"] = {key: plain["experiment"]["measure"][key] for key in of_0_1}
    return _name(data, plain, swept)


def swept_beside_the_name(swept: Collection[str]) -> set[str]:
    """Return the swept keys that are not part of the name: such sweeps need their own folder."""
    return {key for key in swept if is_at_or_below(key, NOT_PART_OF_THE_NAME)}


def is_at_or_below(key: str, keys: Collection[str]) -> bool:
    """Whether one of `keys` is this key, or a section that contains it."""
    return any(f"{key}.".startswith(f"{each}.") for each in keys)


def _name(data: str, plain: dict[str, Any], swept: Collection[str]) -> str:
    groups = {key for key in swept if isinstance(plain.get(key), dict)}
    for key in {*NOT_PART_OF_THE_NAME, *swept} - groups:
        _remove(plain, key)
    text = json.dumps(plain, sort_keys=True)
    return f"{data}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _identity(config: Config) -> dict[str, Any]:
    """Return the settings that the results depend on, as nested dictionaries."""
    plain = config.plain()
    for key in _TEXTS:
        _remove(plain, key)
    for section in _KEYS_OF_0_1:
        for key, is_changed in _new_keys(config, section).items():
            if not is_changed:
                plain[section].pop(key, None)
    if not plain.get("callbacks"):
        plain.pop("callbacks", None)
    if plain.get("init_layout") == _INIT_LAYOUT:
        del plain["init_layout"]
    return plain


def _new_keys(config: Config, section: str) -> dict[str, bool]:
    """Return the keys of a section added since 0.1, and whether each differs from its default."""
    part: Section = getattr(config, section)
    old = {"_target_", *_KEYS_OF_0_1[section]}
    if config.data.name == "ImageNet":
        old.add("fraction")  # in 0.1, a key of ImageNet only
    given, defaults, nothing = part.plain(), defaults_of(type(part)), object()
    return {
        key: key in given and given[key] != defaults.get(key, nothing)
        for key in part.model_dump(by_alias=True).keys() - old
    }


def defaults_of(schema: type[Section]) -> dict[str, Any]:
    """Return the defaults of a section's keys, as plain data."""
    fields = schema.model_fields.items()
    found = {f.alias or name: f.get_default() for name, f in fields if not f.is_required()}
    return {key: list(each) if isinstance(each, tuple) else each for key, each in found.items()}


def confounds(one: Config, other: Config) -> set[str]:
    """Return the dotted keys in which two configurations differ, except texts."""
    left, right = flatten(_identity(one)), flatten(_identity(other))
    return {key for key in left.keys() | right.keys() if left.get(key) != right.get(key)}


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"model": {"init": "he"}} -> {"model.init": "he"}."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _remove(plain: dict[str, Any], key: str) -> None:
    *sections, last = key.split(".")
    node: Any = plain
    for section in sections:
        node = node.get(section)
        if not isinstance(node, dict):
            return
    node.pop(last, None)
