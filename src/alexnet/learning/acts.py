import math
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from alexnet.folders.run import RunDir
from alexnet.learning.task import ClassificationTask

if TYPE_CHECKING:
    from alexnet.data.image_module import ImageModule

IMAGES = 8
"""Number of validation images that norms are measured on, evenly spread over the part."""


class NormRecorder(pl.Callback):
    """Writes acts.json: how much each normalization layer changes its input (section 3.3).

    It is measured on a few validation images before the first step and after the last. A norm whose
    constants do not fit the size of the activities is nearly the identity, and arms with and
    without it would compare equal networks. See `norm_effects` for what is measured.

    The measurement changes neither weights, running statistics nor random numbers of the run. A
    resumed run keeps the measurement from its start. Runs with several processes, compiled networks
    and data modules other than ImageModule are not measured, and the file says why.
    """

    def __init__(self, run: RunDir, *, is_new: bool) -> None:
        self._run = run
        self._is_new = is_new

    @override
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._is_new and trainer.is_global_zero:
            self._run.write_acts(self._measured(trainer, pl_module, "start"))

    @override
    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            before = self._run.read_acts()
            self._run.write_acts({**before, **self._measured(trainer, pl_module, "end")})

    def _measured(self, trainer: pl.Trainer, task: pl.LightningModule, when: str) -> dict[str, Any]:
        assert isinstance(task, ClassificationTask)
        data = trainer.datamodule  # type: ignore[attr-defined]
        if not norms_of(task.net):
            return {when: {}}
        if trainer.world_size > 1:
            return {"not_measured": "the run has several processes"}
        if getattr(task.net, "_compiled_call_impl", None) is not None:
            return {"not_measured": "the network is compiled"}
        if not hasattr(data, "evaluation_loader"):
            return {"not_measured": f"{type(data).__name__} is not an ImageModule"}
        with torch.random.fork_rng(), trainer.precision_plugin.forward_context():
            images = _few_images(data).to(task.device)
            return {when: norm_effects(task.net, images)}


def norms_of(net: nn.Module) -> dict[str, nn.Module]:
    """Return the normalization layers: modules whose class or own name contains "norm"."""
    return {
        name: module
        for name, module in net.named_modules()
        if not isinstance(module, nn.Identity)
        and not any(True for _ in module.children())
        and "norm" in f"{name.rpartition('.')[2]} {type(module).__name__}".lower()
    }


@torch.no_grad()
def norm_effects(net: nn.Module, images: Tensor) -> dict[str, dict[str, float]]:
    """Measure what each norm does to its input a on these images, by the layer's name.

        factor      mean of |b| divided by mean of |a|, with b = norm(a)
        reshaping   the part of b that is not a constant multiple of a: |b - c a| / |b| in Euclidean
                    norms, for the best c. It is 0 if the norm only scales, which the weights of the
                    next layer could do as well

    Batch normalization uses the statistics of the batch, as in training. The images pass through
    the network in evaluation mode, and the network is unchanged afterwards.
    Shape: images (N, 3, h, w), as the network takes them.
    """
    found: dict[str, dict[str, float]] = {}

    def note(name: str, module: nn.Module, a: Tensor, b: Tensor) -> None:
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            b = F.batch_norm(a, None, None, module.weight, module.bias, True, 0.0, module.eps)
        a, b = a.double().flatten(), b.double().flatten()
        size = (a @ a).item() * (b @ b).item()
        cosine = (a @ b).item() / math.sqrt(size) if size else 0.0
        found[name] = {
            "factor": _rounded((b.abs().mean() / a.abs().mean()).item()),
            "reshaping": _rounded(math.sqrt(max(0.0, 1 - cosine**2))),
        }

    modes = {module: module.training for module in net.modules()}
    hooks = [
        module.register_forward_hook(lambda module, a, b, name=name: note(name, module, a[0], b))
        for name, module in norms_of(net).items()
    ]
    try:
        net.eval()(images)
    finally:
        for hook in hooks:
            hook.remove()
        for module, was_training in modes.items():
            module.training = was_training
    return found


def _few_images(data: "ImageModule") -> Tensor:
    """Return a few validation inputs, read in this process because workers start slowly."""
    rows = np.unique(np.linspace(0, data.size_of("val") - 1, IMAGES).astype(int))
    images, labels = data.evaluation_loader("val", rows=rows).dataset[0]  # (N, 1, C, h, w)
    return data.on_after_batch_transfer((images[:, 0], labels), 0)[0]


def _rounded(number: float) -> float:
    return float(f"{number:.4g}")
