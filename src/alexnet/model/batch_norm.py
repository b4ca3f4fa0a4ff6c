from typing import Any

import torch
import torch.distributed as dist
import torch.fx
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from alexnet.vocabulary import Above0, Positive, Probability


class BatchNorm(nn.BatchNorm2d):
    """Normalize each channel by its mean and variance over the batch (Ioffe and Szegedy 2015).

        training:    b = weight * (a - mean(a)) / sqrt(var(a) + eps) + bias
        evaluation:  the same with running_mean and running_var

    The running statistics move by `momentum` towards those of each training batch, whose variance
    is multiplied by n / (n - 1) for this, as in torch.nn.BatchNorm2d. A channel belongs to one
    column, so columns do not see each other's activities, whatever `columns` is.

    If `process_group` is set, its processes have parts of one batch: the statistics and their
    gradients are those of the whole batch in one process. The gradients assume that each process
    backpropagates its mean loss and that parameter gradients are averaged by rows afterwards.

    Shape: (N, C, H, W) -> (N, C, H, W). Computed in float32 at least, float64 stays float64, and
    the output has the input's dtype. Raises ValueError if columns do not divide the channels.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(
        self,
        channels: Positive,
        columns: Positive = 1,
        *,
        eps: Above0 = 1e-5,
        momentum: Probability = 0.1,
    ) -> None:
        if columns < 1 or channels % columns:
            raise ValueError(
                f"{channels} channels do not divide into {columns} equal columns: "
                "change columns or the number of channels"
            )
        super().__init__(channels, eps=eps, momentum=momentum)
        self.columns = columns
        self.process_group: dist.ProcessGroup | None = None

    @override
    def forward(self, activities: Tensor) -> Tensor:
        if isinstance(activities, torch.fx.Proxy):
            # Traced by torchvision's create_feature_extractor: dtypes and shapes are unknown.
            return F.batch_norm(
                activities, self.running_mean, self.running_var, self.weight, self.bias,
                self.training, self.momentum or 0.0, self.eps,
            )  # fmt: skip
        self._check_input_dim(activities)
        a = activities.to(torch.promote_types(activities.dtype, torch.float32))
        running = self.running_mean.to(a.dtype), self.running_var.to(a.dtype)
        weight, bias = self.weight.to(a.dtype), self.bias.to(a.dtype)
        group, momentum = self.process_group, self.momentum
        assert momentum is not None  # torch's class allows None, for averages over all batches
        if self.training and group is not None and dist.get_world_size(group) > 1:
            b = self._normalized_by_all(a, running, weight, bias, momentum, group)
        else:
            b = F.batch_norm(a, *running, weight, bias, self.training, momentum, self.eps)
        if self.training:
            self.num_batches_tracked.add_(1)
            for buffer, moved in zip((self.running_mean, self.running_var), running, strict=True):
                if moved is not buffer:  # of another dtype
                    buffer.copy_(moved)
        return b.to(activities.dtype)

    def _normalized_by_all(
        self,
        a: Tensor,
        running: tuple[Tensor, Tensor],
        weight: Tensor,
        bias: Tensor,
        momentum: float,
        group: dist.ProcessGroup,
    ) -> Tensor:
        count = torch.tensor(a[:, 0].numel(), device=a.device)
        dist.all_reduce(count, group=group)
        rows, n = len(a), int(count)
        # Two passes, because the mean of squares less the square of the mean loses digits.
        mean = _SumOverProcesses.apply(a.sum((0, 2, 3)), rows, group) / n
        centred = a - mean[:, None, None]
        var = _SumOverProcesses.apply(centred.square().sum((0, 2, 3)), rows, group) / n
        with torch.no_grad():
            running[0].lerp_(mean, momentum)
            running[1].lerp_(var * (n / max(n - 1, 1)), momentum)
        scale = weight * (var + self.eps).rsqrt()
        return centred * scale[:, None, None] + bias[:, None, None]

    @override
    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, columns={self.columns}, eps={self.eps}, momentum={self.momentum}"
        )


class _SumOverProcesses(torch.autograd.Function):
    """The sum of all processes' tensors, which each process receives.

    The incoming gradients are of each process's mean loss. The gradient of the global batch is
    their average weighted by rows. It is divided by this process's rows, because the gradients of
    the parameters will be weighted by them once more.
    """

    @staticmethod
    @override
    def forward(ctx: Any, mine: Tensor, rows: int, group: dist.ProcessGroup) -> Tensor:
        ctx.rows, ctx.group = rows, group
        total = mine.clone()
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    @override
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (gradient,) = gradients
        total = gradient * ctx.rows
        dist.all_reduce(total, group=ctx.group)
        return total / ctx.rows, None, None
