"""Conversion of a CifarNet to a list of operations with constants, which live.js executes."""

import base64
from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from alexnet.model import BatchNorm, CifarNet, Dropout, LocalResponseNorm

Bits = Literal[16, 8]
"""Bits of a weight: an integer, with a scale for each output. float16 has the same size but rounds
more coarsely: the weights of an output are of similar size and need no exponents of their own."""

Step = dict[str, Any]


def steps_of(net: nn.Module) -> list[Step]:
    """List the operations of a network in order, with constants as tensors.

    Raises ValueError for networks other than CifarNet, and for levels that live.js does not have.
    """
    if not isinstance(net, CifarNet):
        raise ValueError(
            f"format=live supports only CifarNet, but this is a {type(net).__name__}: choose "
            "format=onnx"
        )
    f = net.nonlinearity
    steps = [{"op": "multiply", "by": net.pixel_scale}]
    for number in (1, 2, 3):
        layers = [getattr(net, f"conv{number}"), f[f"conv{number}"]]
        layers += [getattr(net, f"norm{number}")] if number < 3 else []
        layers.append(getattr(net, f"pool{number}"))
        for layer in layers:
            steps += _steps(layer)
    return [*steps, *_steps(net.dropout), *_steps(net.fc4)]


def _steps(layer: nn.Module) -> Iterator[Step]:
    for kind, step in _KNOWN.items():
        if type(layer) is kind:
            yield from step(layer)
            return
    raise ValueError(
        f"format=live does not support {type(layer).__name__}, only the built-in levels: choose "
        "format=onnx"
    )


def _named(name: str, **constants: float) -> Callable[[Any], list[Step]]:
    return lambda layer: [{"op": "nonlinearity", "name": name, **constants}]


def _conv(layer: nn.Conv2d) -> list[Step]:
    assert isinstance(layer.padding, tuple)
    padding = layer.padding[0]
    weight, bias = layer.weight, layer.bias
    return [
        {"op": "conv", "weight": weight, "bias": bias, "shape": list(weight.shape),
         "padding": padding}
    ]  # fmt: skip


def _norm(layer: LocalResponseNorm) -> list[Step]:
    alpha = layer.alpha / layer.size if layer.alpha_is_divided_by_size else layer.alpha
    return [{"op": "lrn", "size": layer.size, "alpha": alpha, "beta": layer.beta, "k": layer.k}]


def _batch_norm(layer: BatchNorm) -> list[Step]:
    scale = layer.weight / (layer.running_var + layer.eps).sqrt()
    return [{"op": "affine", "scale": scale, "shift": layer.bias - layer.running_mean * scale}]


def _pool(kind: str) -> Callable[[Any], list[Step]]:
    return lambda layer: [
        {"op": "pool", "kind": kind, "pixels": layer.kernel_size, "stride": layer.stride}
    ]


def _dropout(layer: Dropout) -> list[Step]:
    return [] if layer.is_inverted or not layer.p else [{"op": "multiply", "by": 1 - layer.p}]


def _linear(layer: nn.Linear) -> list[Step]:
    weight = layer.weight
    return [{"op": "linear", "weight": weight, "bias": layer.bias, "shape": list(weight.shape)}]


_KNOWN: dict[type[nn.Module], Callable[[Any], list[Step]]] = {
    nn.Conv2d: _conv,
    nn.Linear: _linear,
    nn.ReLU: _named("relu"),
    nn.Tanh: _named("tanh"),
    nn.Sigmoid: _named("sigmoid"),
    nn.GELU: _named("gelu"),
    nn.SiLU: _named("silu"),
    nn.LeakyReLU: _named("leaky_relu", slope=0.01),
    LocalResponseNorm: _norm,
    BatchNorm: _batch_norm,
    nn.Identity: lambda layer: [],
    nn.MaxPool2d: _pool("max"),
    nn.AvgPool2d: _pool("mean"),
    Dropout: _dropout,
}


def encoded(steps: list[Step], bits: Bits) -> list[Step]:
    """Encode steps for JSON, in base64: weights as scaled integers, other tensors as float32."""
    return [
        {
            key: _packed(value, bits)
            if key == "weight"
            else base64_of(value.detach().numpy().astype("<f4"))
            if isinstance(value, Tensor)
            else value
            for key, value in step.items()
        }
        for step in steps
    ]


@torch.no_grad()
def round_weights(net: nn.Module, bits: Bits) -> nn.Module:
    """Round a network's weights in place to those of the page."""
    for step in steps_of(net):
        if "weight" in step:
            scale, whole = _rounded(step["weight"], bits)
            step["weight"].copy_(torch.from_numpy(whole * _for_outputs(scale, whole)))
    return net


def base64_of(values: np.ndarray) -> str:
    """Encode the bytes of an array, row by row, in base64."""
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def _packed(weight: Tensor, bits: Bits) -> dict[str, Any]:
    scale, whole = _rounded(weight, bits)
    return {"bits": bits, "integers": base64_of(whole), "scale": base64_of(scale)}


def _rounded(weight: Tensor, bits: Bits) -> tuple[np.ndarray, np.ndarray]:
    """Return a scale for each output (row), and integers up to 127 or 32767."""
    values = weight.detach().numpy()
    if not np.isfinite(values).all():
        raise ValueError("format=live: some weights are not finite: this network has diverged")
    most = 2 ** (bits - 1) - 1
    largest = np.abs(values).reshape(len(values), -1).max(axis=1)
    scale = np.where(largest > 0, largest / most, 1).astype("<f4")
    return scale, np.rint(values / _for_outputs(scale, values)).astype(f"<i{bits // 8}")


def _for_outputs(scale: np.ndarray, values: np.ndarray) -> np.ndarray:
    return scale.reshape(-1, *[1] * (values.ndim - 1))
