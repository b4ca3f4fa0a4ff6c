from collections.abc import Collection, Mapping
from typing import get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from alexnet.config.experiment import Experiment, Measure, Paper, Section
from alexnet.config.schema import (
    AlexNetConfig,
    Arms,
    Checkpoint,
    CIFAR10Config,
    CifarLocalNetConfig,
    CifarNetConfig,
    Config,
    DataSet,
    ImageNetConfig,
    Learning,
    Logger,
    MNIST5kConfig,
    Network,
    SyntheticConfig,
    Training,
    WandB,
)
from alexnet.config.suggest import suggest_key


def sections(schema: type[Section] = Config) -> dict[str, set[str]]:
    """Every section of the schema with its keys; "" is the top."""
    members: dict[str, tuple[type[Section], ...]] = {
        "": (schema,),
        "model": (AlexNetConfig, CifarNetConfig, CifarLocalNetConfig),
        "data": (CIFAR10Config, ImageNetConfig, MNIST5kConfig, SyntheticConfig),
        "learning": (Learning,),
        "trainer": (Training,),
        "checkpoint": (Checkpoint,),
        "logger": (Logger,),
        "logger.wandb": (WandB,),
        "experiment": (Experiment,),
        "experiment.measure": (Measure,),
        "experiment.paper": (Paper,),
        "arms": (Arms,),
    }
    return {
        name: {key for each in classes for key in each.model_fields} - {"target"}
        for name, classes in members.items()
        if schema is Config or name in ("", "model", "data")
    }


def _keys_of(target: str) -> set[str]:
    """Of a class that the configuration can choose: alexnet.model.AlexNet."""
    return {
        key
        for each in (*Network.__subclasses__(), *DataSet.__subclasses__())
        if target in get_args(each.model_fields["target"].annotation)
        for key in each.model_fields.keys() - {"target"}
    }


def explain(error: ValidationError, schema: type[Section] = Config) -> str:
    """One line for each mistake, with suggestions from the schema."""
    known = sections(schema)
    lines = (_explain(each, known) for each in error.errors(include_url=False))
    return "\n".join(dict.fromkeys(lines))


def _explain(error: ErrorDetails, known: Mapping[str, Collection[str]]) -> str:
    """One line for one error of pydantic's: the key, what is wrong, what was given."""
    # A union puts the name of its member into the path: alexnet.model.AlexNet is no key.
    # And [key] stands behind a key that is wrong itself.
    path = [str(part) for part in error["loc"] if "." not in str(part) and part != "[key]"]
    key, given = ".".join(path), error["input"]
    if error["type"] == "extra_forbidden":
        tag = next((str(part) for part in error["loc"] if "." in str(part)), "")
        return f"unknown key {key}: {suggest_key(key, known, _keys_of(tag))}"
    if error["type"] == "missing" or given == "???":
        return f"{key} is missing"
    if error["type"] == "literal_error":
        allowed = error["ctx"]["expected"].replace("'", "")
        return f"{key}={given} is not possible: choose {allowed}"
    if error["type"] == "union_tag_invalid":
        allowed, tag = error["ctx"]["expected_tags"].replace("'", ""), error["ctx"]["tag"]
        return f"{key}._target_={tag} has no schema in alexnet/config.py: there is {allowed}"
    if error["type"] == "tuple_type":
        return f"{key}={given} is not possible: give a list, {key}=[{given}]"
    why = error["msg"].removeprefix("Value error, ")
    return f"{key}={given} is not possible: {why[0].lower()}{why[1:]}"
