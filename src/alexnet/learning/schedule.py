import math
import warnings
from collections.abc import Mapping
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from alexnet.vocabulary import Count, Positive, Rate

REDUCTIONS = 3  # "reduced three times prior to termination", section 5

Drops = Mapping[str, Mapping[int, float]]
"""The factor of a group's first rate from an epoch on: {"weights": {23: 0.1, 51: 0.01}}."""


def plateau(optimizer: Optimizer, *, patience: int) -> ReduceLROnPlateau:
    """Divide every rate by 10 when validation error stops improving, at most 3 times (section 5).

    The authors judged by eye. Here the error has stopped improving after `patience` epochs without
    a new minimum.
    """
    lowest = [group["lr"] * 10.0**-REDUCTIONS for group in optimizer.param_groups]
    return ReduceLROnPlateau(
        optimizer, mode="min", factor=0.1, patience=patience - 1, threshold=0.0, min_lr=lowest
    )


def cosine_with_warmup(
    optimizer: Optimizer, *, total: Positive, warmup: Count = 0, final: Rate = 0.0
) -> LambdaLR:
    """Rise to the first rate along a line, then fall along half a cosine.

        t < warmup:  factor = (t + 1) / (warmup + 1)
        otherwise:   factor = final + (1 - final) * (1 + cos(pi * s)) / 2
                     with s = (t - warmup) / (total - warmup)

    t counts whole epochs or steps, as scheduler_interval says; the factor multiplies the first
    rate of each group. From t = total on it is `final`.

    Raises ValueError if the rise leaves nothing of the total.
    """
    if warmup >= total:
        raise ValueError(
            f"learning.scheduler.warmup={warmup} leaves nothing of learning.scheduler.total="
            f"{total}: choose a smaller warmup"
        )

    def factor(t: int) -> float:
        if t < warmup:
            return (t + 1) / (warmup + 1)
        share = min(1.0, (t - warmup) / (total - warmup))
        return final + (1 - final) * (1 + math.cos(math.pi * share)) / 2

    return LambdaLR(optimizer, factor)


class AtPosition:
    """A scheduler of torch, moved to where training is instead of one step further.

    Its position is the number of whole epochs or of steps done. Moving to the same position twice
    changes nothing, so that a run that goes on may ask again.
    """

    def __init__(self, scheduler: LRScheduler) -> None:
        self._scheduler = scheduler
        self._position = 0

    def move_to(self, position: int) -> None:
        """Step until so many epochs, or steps, are done."""
        while self._position < position:
            with warnings.catch_warnings():
                # A run that goes on has not yet stepped its optimizer in this process.
                warnings.filterwarnings("ignore", message=".*before `optimizer.step.*")
                self._scheduler.step()
            self._position += 1

    def state_dict(self) -> dict[str, Any]:
        """Plain data. Functions, as those of LambdaLR, are not in it."""
        return {"position": self._position, "scheduler": self._scheduler.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there; the rates themselves are the optimizer's state."""
        self._position = state["position"]
        self._scheduler.load_state_dict(state["scheduler"])


def rates_of(optimizer: Optimizer) -> dict[str, float]:
    """The learning rate of each parameter group, by its name."""
    return {group["name"]: group["lr"] for group in optimizer.param_groups}


def changes(before: Mapping[str, float], now: Mapping[str, float]) -> str:
    """What has become of the rates, in words; "" if they are what they were."""
    told, frozen = [], set()
    for name, rate in now.items():
        if rate == before[name]:
            continue
        words = name.replace("_", " ")
        if rate:
            told.append(f"{words}' rate {before[name]:g} -> {rate:g}")
            continue
        layer, _, kind = name.rpartition("_")
        other = f"{layer}_{'biases' if kind == 'weights' else 'weights'}"
        frozen.add(layer if layer and now.get(other) == 0 else words)
    return "; ".join([*told, *(f"{each} frozen" for each in sorted(frozen))])


class ByEpoch:
    """Rates that fall at given epochs, each group's at its own: as the 2012 program was run.

    Drops of a single layer (conv1_weights) replace those of its kind (weights) for that layer. The
    rates are a function of the epoch alone: there is nothing to save and restore.
    """

    def __init__(self, optimizer: Optimizer, drops: Drops) -> None:
        """`optimizer` has its first rates; its groups have names."""
        self._optimizer = optimizer
        self._first = [group["lr"] for group in optimizer.param_groups]
        self._drops = drops

    def set_rates(self, epoch: int) -> None:
        """Set what holds after so many whole epochs."""
        for group, first in zip(self._optimizer.param_groups, self._first, strict=True):
            group["lr"] = first * self._factor(group["name"], epoch)

    def not_before(self, epochs: float) -> str:
        """The drops that do not come within so many epochs, in words; "" if all do."""
        late = {
            name: ", ".join(str(each) for each in drops if each >= epochs)
            for name, drops in self._drops.items()
        }
        return "; ".join(f"{name.replace('_', ' ')} {at}" for name, at in late.items() if at)

    def _factor(self, name: str, epoch: int) -> float:
        kind = name.rpartition("_")[2]
        factors = self._drops.get(name, self._drops.get(kind, {}))
        past = [each for each in factors if each <= epoch]
        return factors[max(past)] if past else 1.0
