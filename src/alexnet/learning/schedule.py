from collections.abc import Mapping

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

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


def rates_of(optimizer: Optimizer) -> dict[str, float]:
    """By group."""
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
