import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

_PART = 2**16  # numbers per thread, in three tensors of 256 KiB

KINDS = ("weights", "biases")  # kinds of parameters, each with a rate and a decay


class PaperSGD(Optimizer):
    """The printed update rule, with the rate inside the velocity (section 5).

        v <- momentum * v - weight_decay * lr * w - lr * dL/dw
        w <- w + v

    torch.optim.SGD keeps the rate outside the velocity. Both are the same while the rate is
    constant. When it drops, torch's whole step shrinks at once, whereas here the old velocity
    decays over about ten steps. A group whose rate is 0 is frozen, without decay and without
    momentum, as in the program of 2012. It loses its velocity, so that it would start from rest if
    it were trained again.

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
        """Update every parameter that has a gradient; `closure` first recomputes the loss."""
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
    """Divide tensors into rows that fit into the processor's cache; on a GPU, return them whole."""
    first = tensors[0]
    part = _PART * torch.get_num_threads()
    if not first.is_cpu or first.numel() <= part:
        return [tensors]
    rows = max(1, part * len(first) // first.numel())
    return zip(*(tensor.split(rows) for tensor in tensors), strict=True)


def arguments_of(optimizer: Callable[..., Optimizer]) -> tuple[str, set[str]]:
    """Return the name and the arguments of an optimizer's class, or of a functools.partial of it.

    If the class accepts any keyword, **NAME is among the arguments.
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
    """Make the parameter groups weights and biases, and LAYER_weights or LAYER_biases of layers.

    A layer has separate groups if `apart` names them, and a separate group of weights if it has a
    weight decay in `layer_weight_decay`, which does not apply to biases. A decay of None means the
    optimizer's default.

    Raises ValueError for a group or a layer that the network does not have.
    """
    decays = {f"{layer}_weights": decay for layer, decay in (layer_weight_decay or {}).items()}
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name, _ in net.named_parameters()))
    possible = [*KINDS, *(f"{layer}_{kind}" for layer in layers for kind in KINDS)]
    if unknown := [name for name in (*apart, *decays) if name not in possible]:
        raise ValueError(
            f"learning.drops or learning.layer_weight_decay names {', '.join(unknown)}, but this "
            "network has weights, biases, and LAYER_weights and LAYER_biases of the layers "
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
