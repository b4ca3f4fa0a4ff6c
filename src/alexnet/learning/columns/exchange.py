from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from alexnet.model import rows_of


@dataclass
class Traffic:
    """Counts what a column sends to other columns during training."""

    bytes: int = 0
    images: int = 0
    is_counted: bool = False

    @contextmanager
    def counted(self, images: int) -> Iterator[None]:
        """Count what is sent during the block, for this number of images."""
        self.images += images
        self.is_counted = True
        try:
            yield
        finally:
            self.is_counted = False

    def send(self, number: int) -> None:
        """Count bytes that are sent to another process."""
        self.bytes += number * self.is_counted


@dataclass(frozen=True)
class Exchange:
    """Exchanges parts of a tensor between the columns. Features are dimension 1."""

    group: dist.ProcessGroup
    columns: int
    column: int
    traffic: Traffic = field(default_factory=Traffic)

    def all_gather(self, mine: Tensor) -> Tensor:
        """Join the columns: (N, C / columns, ...) of each -> (N, C, ...), column after column."""
        mine = mine.movedim(1, -1).contiguous()  # channels last: parts are joined without a copy
        parts = [torch.empty_like(mine) for _ in range(self.columns)]
        dist.all_gather(parts, mine, group=self.group)
        self.traffic.send(mine.nbytes * (self.columns - 1))
        return torch.cat(parts, dim=-1).movedim(-1, 1)

    def reduce_scatter(self, whole: Tensor) -> Tensor:
        """Sum this column's part over the columns: (N, C, ...) -> (N, C / columns, ...).

        Each column sends the others their parts, and adds up its own in the order of the columns.
        """
        parts = whole.movedim(1, -1).unflatten(-1, (self.columns, -1)).movedim(-2, 0).contiguous()
        received = torch.empty_like(parts)  # (columns, N, ..., C / columns)
        dist.all_to_all_single(received, parts, group=self.group)
        self.traffic.send(parts[0].nbytes * (self.columns - 1))
        return received.sum(0).movedim(-1, 1)


class JoinActivities(torch.autograd.Function):
    """Joins the activities of all columns.

    Each column uses them differently, so its gradient is the sum over the columns.
    """

    @staticmethod
    @override
    def forward(ctx: Any, mine: Tensor, exchange: Exchange) -> Tensor:
        ctx.exchange = exchange
        return exchange.all_gather(mine)

    @staticmethod
    @override
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return ctx.exchange.reduce_scatter(*gradients), None


class JoinLogits(torch.autograd.Function):
    """Joins the logits of all columns.

    Each column computes the same loss from them, so its gradient is its slice of its own gradient.
    """

    @staticmethod
    @override
    def forward(ctx: Any, mine: Tensor, exchange: Exchange, classes: int) -> Tensor:
        ctx.mine = rows_of(exchange.column, exchange.columns, classes)
        padded = padded_to(mine.T, classes, exchange.columns).T
        return exchange.all_gather(padded)[:, :classes]

    @staticmethod
    @override
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (gradient,) = gradients
        return gradient[:, ctx.mine].contiguous(), None, None


def padded_to(part: Tensor, rows: int, columns: int) -> Tensor:
    """Pad a part to the rows of the largest part, because gloo refuses unequal parts."""
    missing = -(-rows // columns) - len(part)
    return F.pad(part, (0, 0) * (part.dim() - 1) + (0, missing)) if missing else part
