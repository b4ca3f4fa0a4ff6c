"""The configuration: its schema, the check that it holds, and the name of what it describes.

Hydra composes the files under conf/ and the command line; what comes out must be exactly what the
classes below declare. A key that no class declares, or a value of the wrong kind, is an error with
a suggestion, whether it came from a file, the command line, or behind a +. No class here has
defaults: those are in conf/.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from alexnet.config.experiment import Experiment, Section
from alexnet.vocabulary import Initialization, MiddleLayer, Nonlinearity, Normalization, Pooling


class ConfigError(ValueError):
    """What is asked for does not exist. The text is for the person who asked."""


Positive = Annotated[int, Field(gt=0)]
Rate = Annotated[float, Field(ge=0)]
Epoch = Annotated[int, Field(ge=0)]


def _by_epoch(drops: dict[int, float]) -> dict[int, float]:
    """In the order of the epochs, which is lost where one file adds drops to another's."""
    if not drops:
        raise ValueError("give one epoch or more, each with a factor of the first rate")
    return dict(sorted(drops.items()))


class Network(Section):
    """What every network is told."""

    nonlinearity: Nonlinearity
    normalization: Normalization
    pooling: Pooling
    dropout: Annotated[float, Field(ge=0, lt=1)]
    init: Initialization
    image_size: Positive


class AlexNetConfig(Network):
    """Arguments of alexnet.model.AlexNet."""

    target: Literal["alexnet.model.AlexNet"] = Field(alias="_target_")
    columns: Positive
    channels: tuple[Positive, Positive, Positive, Positive, Positive]
    hidden: tuple[Positive, Positive]
    columns_cross: bool
    removed: tuple[MiddleLayer, ...]
    sixth_convolution: bool
    lrn_size: Positive
    lrn_alpha: Rate
    lrn_beta: Rate
    lrn_k: Annotated[float, Field(gt=0)]
    lrn_alpha_is_divided_by_size: bool
    norm1_before_nonlinearity: bool
    same_map_norm: bool
    dropout_is_inverted: bool


class CifarNetConfig(Network):
    """Arguments of alexnet.model.CifarNet."""

    target: Literal["alexnet.model.CifarNet"] = Field(alias="_target_")
    init: Literal["source_2012", "he"]


class CifarLocalNetConfig(Network):
    """Arguments of alexnet.model.CifarLocalNet."""

    target: Literal["alexnet.model.CifarLocalNet"] = Field(alias="_target_")
    init: Literal["source_2012", "he"]


class DataSet(Section):
    """What every data set is told."""

    batch_size: Positive
    workers: Annotated[int, Field(ge=0)]
    augmentation: Literal["none", "crop24", "crop224", "pad4"]
    crop_block: Positive
    color_noise: Rate
    color_noise_scale: Literal["variance", "deviation"]
    color_noise_rescale: bool
    color_noise_epochs: Annotated[int, Field(ge=0)] | None
    image_size: Positive


class CIFAR10Config(DataSet):
    """Arguments of alexnet.data.CIFAR10."""

    target: Literal["alexnet.data.CIFAR10"] = Field(alias="_target_")
    root: str | None
    verify: bool


class ImageNetConfig(DataSet):
    """Arguments of alexnet.data.ImageNet."""

    target: Literal["alexnet.data.ImageNet"] = Field(alias="_target_")
    root: str | None
    classes: Positive | list[str] | None
    fraction: Annotated[float, Field(gt=0, le=1)]


class MNIST5kConfig(DataSet):
    """Arguments of alexnet.data.MNIST5k."""

    target: Literal["alexnet.data.MNIST5k"] = Field(alias="_target_")


class SyntheticConfig(DataSet):
    """Arguments of alexnet.data.Synthetic."""

    target: Literal["alexnet.data.Synthetic"] = Field(alias="_target_")
    num_images: Positive
    num_classes: Positive
    size: Positive | None


class Learning(Section):
    """Arguments of alexnet.learning.ClassificationTask, section 5."""

    lr: Annotated[float, Field(gt=0)]
    bias_lr_factor: Rate
    momentum: Annotated[float, Field(ge=0, lt=1)] | None
    weight_decay: Rate | None
    bias_weight_decay: Rate | None
    layer_weight_decay: dict[str, Rate] | None
    optimizer: dict[str, Any] | None
    schedule: Literal["constant", "plateau", "by_epoch"]
    patience: Positive
    drops: dict[str, Annotated[dict[Epoch, Rate], AfterValidator(_by_epoch)]] | None
    scheduler: dict[str, Any] | None
    scheduler_interval: Literal["epoch", "step"]
    loss: dict[str, Any] | None
    stop_at_train_error: Annotated[float, Field(gt=0, lt=1)] | None


class Training(Section):
    """Arguments of lightning's Trainer, and the number of CPU threads.

    The strategy column_parallel has as many columns as the model; auto with several devices is data
    parallelism.
    """

    accelerator: Literal["auto", "cpu", "gpu"]
    devices: Positive
    num_nodes: Positive
    strategy: Literal["auto", "column_parallel"]
    precision: Literal["32-true", "64-true", "16-mixed", "bf16-mixed", "bf16-true"]
    max_epochs: Positive
    max_steps: int
    limit_train_batches: Positive | None
    limit_val_batches: Positive | None
    limit_test_batches: Positive | None
    threads: Positive | None


class WandB(Section):
    """Weights & Biases."""

    mode: Literal["offline", "online"]
    project: str
    entity: str | None


class Checkpoint(Section):
    """When checkpoints are written, beside the end of every epoch."""

    minutes: Annotated[float, Field(gt=0)]


class Logger(Section):
    """Where metrics go besides the files of the run."""

    wandb: WandB | None


class Arms(Section):
    """Values that belong to an arm, by level: lr[init][nonlinearity]."""

    lr: dict[Initialization, dict[Nonlinearity, float]] | None


AnyNetwork = Annotated[
    AlexNetConfig | CifarNetConfig | CifarLocalNetConfig, Field(discriminator="target")
]
AnyDataSet = Annotated[
    CIFAR10Config | ImageNetConfig | MNIST5kConfig | SyntheticConfig, Field(discriminator="target")
]


class Config(Section):
    """All of it."""

    seed: Annotated[int, Field(ge=0)]
    outputs: str
    fresh: bool
    resume: str | None
    init_from: str | None
    deterministic: bool
    experiment: Experiment
    arms: Arms
    model: AnyNetwork
    data: AnyDataSet
    learning: Learning
    trainer: Training
    checkpoint: Checkpoint
    logger: Logger


class EvaluationConfig(Section):
    """What src/evaluate.py is asked; `data` are None until the checkpoints have been read."""

    checkpoint: Annotated[tuple[str, ...], Field(min_length=1)]
    layout: Literal["alexnet_lab", "torchvision", "caffe"]
    weights: tuple[Rate, ...] | None
    model: AnyNetwork | None = None
    data: AnyDataSet | None = None
    split: Literal["val", "test"]
    images: str | None
    crops: Literal[1, 10]
    predictions: str | None
    out: str | None
    figures: str | None
    neighbours_among: Annotated[int, Field(ge=0)]
