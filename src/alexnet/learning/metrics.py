import pkgutil
from collections.abc import Callable
from functools import partial
from typing import cast

import torch
import torchmetrics
from torch import Tensor, nn
from torch.nn import functional

from alexnet import vocabulary


class TopError(torchmetrics.Metric):
    """Fraction of samples whose true class is not among the `k` highest logits (section 2).

    If there are at most `k` classes, it is 0. Counts are summed over batches and processes, then
    divided.
    """

    full_state_update = False
    wrong: Tensor
    total: Tensor

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k
        self.add_state("wrong", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("total", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Add a batch: logits (N, classes), labels (N,)."""
        best = logits.topk(min(self.k, logits.shape[1]), dim=1).indices
        self.wrong += (best != labels[:, None]).all(dim=1).sum()
        self.total += len(labels)

    def compute(self) -> Tensor:
        """Return the error so far, between 0 and 1."""
        return self.wrong / self.total


class MeanLoss(torchmetrics.Metric):
    """Mean loss over samples, whatever the sizes of batches and of processes' shares.

    torchmetrics' MeanMetric(nan_strategy="disable") ignores its weights (1.9.0), and its other
    strategies drop the losses that show a divergence.
    """

    full_state_update = False
    sum: Tensor
    total: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("sum", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("total", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, loss: Tensor, count: int) -> None:
        """Add the mean loss of `count` samples."""
        self.sum += loss * count
        self.total += count

    def compute(self) -> Tensor:
        """Return the mean loss so far."""
        return self.sum / self.total


_OURS: dict[str, Callable[[], torchmetrics.Metric]] = {
    "loss": MeanLoss,
    "error": partial(TopError, 1),
    "error_top5": partial(TopError, 5),
}
"""The built-in metrics, which have no factory in the table, by name."""


class Evaluation(nn.Module):
    """All metrics of a stage, with each sample counted once.

    The loss is always cross-entropy, so that arms trained with different losses can be compared.

    Raises ValueError if a factory returns something other than a torchmetrics.Metric.
    """

    def __init__(self, stage: vocabulary.Stage) -> None:
        super().__init__()
        described = [each for each in vocabulary.METRICS.values() if each.stage == stage]
        self.keys = [each.key for each in described]
        self.metrics = nn.ModuleList(map(_made, described))

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Add a batch: logits (N, classes), labels (N,)."""
        for metric in self._each():
            if isinstance(metric, MeanLoss):
                metric.update(functional.cross_entropy(logits, labels), len(labels))
            else:
                metric.update(logits, labels)

    def results(self) -> dict[str, Tensor]:
        """Return the metrics by stage/name, and reset them.

        Raises ValueError for a metric that does not compute a single number.
        """
        results = {}
        for key, metric in zip(self.keys, self._each(), strict=True):
            value = torch.as_tensor(metric.compute())
            if value.numel() != 1:
                raise ValueError(
                    f"the metric {key} computes {value.numel()} numbers: register one that "
                    "computes a single number, for example an average"
                )
            results[key] = value.reshape(())
            metric.reset()
        return results

    def _each(self) -> list[torchmetrics.Metric]:
        return [cast("torchmetrics.Metric", metric) for metric in self.metrics]


def _made(described: vocabulary.Metric) -> torchmetrics.Metric:
    factory = described.factory
    if isinstance(factory, str):
        factory = pkgutil.resolve_name(factory)
    metric = factory() if factory else _OURS[described.key.partition("/")[2]]()
    if not isinstance(metric, torchmetrics.Metric):
        raise ValueError(
            f"the metric {described.key} is made by {described.factory}, which returns a "
            f"{type(metric).__name__}: give a subclass of torchmetrics.Metric, or a function that "
            "returns such a metric"
        )
    return metric
