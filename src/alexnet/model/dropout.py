import hashlib

import torch
import torch.fx
from torch import Tensor, nn
from typing_extensions import override

# splitmix64 (Steele, Lea and Flood 2014): element i of a stream is a hash of start + i * _STEP.
# int64 wraps around, so the numbers are those of uint64 on every device.
_STEP = 0x9E3779B97F4A7C15 - 2**64
_MIX1, _MIX2 = 0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64
_BITS = 24  # the bits of each number that are used


class Dropout(nn.Module):
    """Set each activity to zero with a probability while training (section 4.2).

        training:    y = x with probability 1 - p, else 0
        evaluation:  y = (1 - p) * x

    With `is_inverted`, y is divided by 1 - p in both, as in torch.nn.Dropout, so that evaluation
    returns x. This is the same function for weights 1 - p times as large, but not the same
    training: with p = 0.5 it acts on the next layer like 4 times the learning rate and twice the
    initial weights. The paper's learning rate and initial weights belong to the paper's dropout.

    After `seed_dropout`, the mask is a function of that seed, of the row and of the unit; otherwise
    each mask is seeded by a number from torch's global generator. `first_row` is the place of the
    activities' first row in the batch, and `column` says which of equally wide parts of the units
    they are: so one process, two columns and two replicas drop the same units.

    Shape: (N, ...) -> (N, ...). Raises ValueError if p is outside [0, 1).
    """

    def __init__(self, p: float = 0.5, is_inverted: bool = False) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"dropout is a probability and must be in [0, 1), but is {p}")
        self.p = p
        self.is_inverted = is_inverted
        self.key: int | None = None
        self.first_row = 0
        self.column = 0

    @override
    def forward(self, activities: Tensor) -> Tensor:
        if not self.training:
            return activities if self.is_inverted else activities * (1 - self.p)
        kept = _survivors_of(activities, self.p, self.key, self.first_row, self.column)
        return kept / (1 - self.p) if self.is_inverted and self.p else kept

    @override
    def extra_repr(self) -> str:
        return f"p={self.p}, is_inverted={self.is_inverted}"


def _survivors_of(
    activities: Tensor, p: float, key: int | None, first_row: int, column: int
) -> Tensor:
    """Return the activities with the dropped ones set to zero."""
    # Drawn for p = 0, too, so that arms that differ in p use equally many random numbers.
    if key is None:
        key = int(torch.randint(-(2**63), 2**63 - 1, (), device="cpu"))
    if p == 0:
        return activities
    width = activities[:1].numel()
    rows, units = (
        torch.arange(first, first + count, device=activities.device)
        for first, count in ((first_row, len(activities)), (column * width, width))
    )
    x = (rows[:, None] * 2**32 + units) * _STEP + key  # (N, width)
    x = (x ^ _shifted(x, 30)) * _MIX1
    x = (x ^ _shifted(x, 27)) * _MIX2
    x = _shifted(x ^ _shifted(x, 31), 64 - _BITS)  # 0 .. 2**24 - 1
    return activities * (x >= round(p * 2**_BITS)).view(activities.shape)


# A single operation for torch.fx, which would otherwise record the mask of the traced pass.
torch.fx.wrap("_survivors_of")


def seed_dropout(net: nn.Module, *, seed: int, step: int) -> None:
    """Make the masks of the next pass a function of (seed, step, layer, row, unit) alone.

    Call it before every training step. A layer is identified by its name in `net`.
    """
    for name, layer in net.named_modules():
        if isinstance(layer, Dropout):
            digest = hashlib.blake2b(f"{seed}/{step}/{name}".encode(), digest_size=8).digest()
            layer.key = int.from_bytes(digest, signed=True)


def _shifted(x: Tensor, bits: int) -> Tensor:
    """Shift right as uint64; torch's >> copies the sign of int64."""
    return (x >> bits) & (2 ** (64 - bits) - 1)
