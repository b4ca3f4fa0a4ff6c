import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

_PART = 2**16  # numbers for each thread; three times 256 KiB

KINDS = ("weights", "biases")  # of parameters, each with a rate and a decay


class PaperSGD(Optimizer):
    """The printed update rule, with the rate inside the velocity (section 5).

        v <- momentum * v - weight_decay * lr * w - lr * dL/dw
        w <- w + v

    torch.optim.SGD keeps the rate outside: the same while the rate is constant, but when it drops,
    torch shrinks the whole step at once, whereas here the old velocity dies away over some ten
    steps. A group whose rate is 0 is left alone entirely, without decay and without momentum, as
    the 2012 program froze its layers. It loses its velocity: were it to learn again, it would start
    from rest and not where it was heading when it froze.

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
                if lr == 0:
                    self.state.pop(weight, None)
                    continue
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["velocity"] = torch.zeros_like(weight)
                for w, v, g in _parts(weight, state["velocity"], weight.grad):
                    v.mul_(momentum).add_(w, alpha=-decay * lr).add_(g, alpha=-lr)
                    w.add_(v)
        return loss


def _parts(*tensors: Tensor) -> Iterable[tuple[Tensor, ...]]:
    """Rows of them that stay in the processor's cache while they are updated; on a GPU, all."""
    first = tensors[0]
    part = _PART * torch.get_num_threads()
    if not first.is_cpu or first.numel() <= part:
        return [tensors]
    rows = max(1, part * len(first) // first.numel())
    return zip(*(tensor.split(rows) for tensor in tensors), strict=True)


def arguments_of(optimizer: Callable[..., Optimizer]) -> tuple[str, set[str]]:
    """Name and arguments of an optimizer's class, or of a functools.partial of it.

    A class that takes any keyword has **NAME among its arguments.
    """
    made = getattr(optimizer, "func", optimizer)
    parameters = inspect.signature(optimizer).parameters.values()
    return getattr(made, "__name__", type(made).__name__), {
        f"**{each.name}" if each.kind is each.VAR_KEYWORD else each.name for each in parameters
    }


def parameter_groups(
    net: nn.Module,
    *,
    lr: float,
    bias_lr_factor: float,
    weight_decay: float | None,
    bias_weight_decay: float | None,
    apart: Collection[str] = (),
    layer_weight_decay: Mapping[str, float] | None = None,
) -> list[dict[str, Any]]:
    """Groups by name: weights and biases, and LAYER_weights or LAYER_biases of single layers.

    A layer has groups of its own for what `apart` names, and for its weights if it has a weight
    decay of its own, which is never for its biases. A decay of None is the optimizer's default.

    Raises ValueError for a group or a layer that the network does not have.
    """
    decays = {f"{layer}_weights": decay for layer, decay in (layer_weight_decay or {}).items()}
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name, _ in net.named_parameters()))
    possible = [*KINDS, *(f"{layer}_{kind}" for layer in layers for kind in KINDS)]
    if unknown := [name for name in (*apart, *decays) if name not in possible]:
        raise ValueError(
            f"learning.drops or learning.layer_weight_decay asks for {', '.join(unknown)}, but "
            "this network has weights, biases, and LAYER_weights and LAYER_biases of the layers "
            f"{', '.join(layers)}"
        )
    groups: dict[str, dict[str, Any]] = {}
    for name in possible:
        if name in (*KINDS, *apart, *decays):
            rate, decay = lr, decays.get(name, weight_decay)
            if name.endswith("biases"):
                rate, decay = lr * bias_lr_factor, bias_weight_decay
            groups[name] = {"name": name, "params": [], "lr": rate}
            if decay is not None:
                groups[name]["weight_decay"] = decay
    for parameter, weight in net.named_parameters():
        layer = parameter.rpartition(".")[0]
        kind = "biases" if parameter.endswith("bias") else "weights"
        groups.get(f"{layer}_{kind}", groups[kind])["params"].append(weight)
    return list(groups.values())
