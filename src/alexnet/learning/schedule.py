import math
import warnings
from collections.abc import Mapping
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from alexnet.vocabulary import Count, Positive, Rate

REDUCTIONS = 3  # "reduced three times prior to termination", section 5

Drops = Mapping[str, Mapping[int, float]]
"""By group and epoch, the factor of the first rate from then on: {"weights": {23: 0.1}}."""


def plateau(optimizer: Optimizer, *, patience: int) -> ReduceLROnPlateau:
    """Divide all rates by 10 when the validation error stops improving, up to 3 times (section 5).

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
    """Make a schedule that rises linearly to the first rate and then falls along half a cosine.

        t < warmup:  factor = (t + 1) / (warmup + 1)
        otherwise:   factor = final + (1 - final) * (1 + cos(pi * s)) / 2
                     with s = (t - warmup) / (total - warmup)

    t counts completed epochs or steps, depending on scheduler_interval. The factor multiplies the
    first rate of each group and stays at `final` from t = total on.

    Raises ValueError unless warmup is less than total.
    """
    if warmup >= total:
        raise ValueError(
            f"learning.scheduler.warmup={warmup} must be less than learning.scheduler.total="
            f"{total}: choose a smaller warmup"
        )

    def factor(t: int) -> float:
        if t < warmup:
            return (t + 1) / (warmup + 1)
        share = min(1.0, (t - warmup) / (total - warmup))
        return final + (1 - final) * (1 + math.cos(math.pi * share)) / 2

    return LambdaLR(optimizer, factor)


class AtPosition:
    """A scheduler of torch that is moved to a position in training instead of by one step.

    Its position is the number of completed epochs or steps. Moving to the same position again has
    no effect, which a resumed run relies on.
    """

    def __init__(self, scheduler: LRScheduler) -> None:
        self._scheduler = scheduler
        self._position = 0

    def move_to(self, position: int) -> None:
        """Step the scheduler until it is at this number of epochs or steps."""
        while self._position < position:
            with warnings.catch_warnings():
                # A resumed run has not yet stepped its optimizer in this process.
                warnings.filterwarnings("ignore", message=".*before `optimizer.step.*")
                self._scheduler.step()
            self._position += 1

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain data, without functions such as those of LambdaLR."""
        return {"position": self._position, "scheduler": self._scheduler.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the position; the rates themselves are part of the optimizer's state."""
        self._position = state["position"]
        self._scheduler.load_state_dict(state["scheduler"])


def rates_of(optimizer: Optimizer) -> dict[str, float]:
    """Return the learning rate of each parameter group, by its name."""
    return {group["name"]: group["lr"] for group in optimizer.param_groups}


def changes(before: Mapping[str, float], now: Mapping[str, float]) -> str:
    """Describe how the rates have changed; "" if they have not."""
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
    """Rates that fall at given epochs, separately for each group, as in the runs of 2012.

    Drops of a single layer (conv1_weights) replace those of its kind (weights) for that layer. The
    rates are a function of the epoch alone, so there is no state to save.
    """

    def __init__(self, optimizer: Optimizer, drops: Drops) -> None:
        """Take an optimizer that has its first rates and named groups."""
        self._optimizer = optimizer
        self._first = [group["lr"] for group in optimizer.param_groups]
        self._drops = drops

    def set_rates(self, epoch: int) -> None:
        """Set the rates that apply after this number of completed epochs."""
        for group, first in zip(self._optimizer.param_groups, self._first, strict=True):
            group["lr"] = first * self._factor(group["name"], epoch)

    def not_before(self, epochs: float) -> str:
        """Describe the drops that come after this number of epochs; "" if there are none."""
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
