from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer


class PaperSGD(Optimizer):
    """The printed update rule, with the rate inside the velocity (section 5).

        v <- momentum * v - weight_decay * lr * w - lr * dL/dw
        w <- w + v

    torch.optim.SGD keeps the rate outside: the same while the rate is constant, but when it drops,
    torch shrinks the whole step at once, whereas here the old velocity dies away over some ten
    steps. A group whose rate is 0 is left alone entirely, without decay and without momentum, as
    the 2012 program froze its layers.

    Raises ValueError for a negative rate or decay, or a momentum outside [0, 1).
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
    ) -> None:
        if lr < 0 or weight_decay < 0 or not 0 <= momentum < 1:
            raise ValueError(
                f"lr={lr}, momentum={momentum}, weight_decay={weight_decay}: lr and weight_decay "
                "must not be negative, momentum must lie in [0, 1)"
            )
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every parameter that has a gradient; `closure` recomputes the loss first."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            lr, momentum, decay = group["lr"], group["momentum"], group["weight_decay"]
            for weight in group["params"]:
                if weight.grad is None or lr == 0:
                    continue
                state = self.state[weight]
                if not state:
                    state["velocity"] = torch.zeros_like(weight)
                velocity = state["velocity"]
                velocity.mul_(momentum).add_(weight, alpha=-decay * lr).add_(weight.grad, alpha=-lr)
                weight.add_(velocity)
        return loss


def weights_and_biases(
    net: nn.Module,
    *,
    lr: float,
    bias_lr_factor: float,
    weight_decay: float,
    bias_weight_decay: float,
) -> list[dict[str, Any]]:
    """Two parameter groups, weights and biases, each with its rate and its decay."""
    weights = [p for name, p in net.named_parameters() if not name.endswith("bias")]
    biases = [p for name, p in net.named_parameters() if name.endswith("bias")]
    return [
        {"name": "weights", "params": weights, "lr": lr, "weight_decay": weight_decay},
        {
            "name": "biases",
            "params": biases,
            "lr": lr * bias_lr_factor,
            "weight_decay": bias_weight_decay,
        },
    ]
