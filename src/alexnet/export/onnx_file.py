"""Export to ONNX, with LRN nodes for local response normalization (section 3.3)."""

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from alexnet.export.packages import need
from alexnet.files import replacing
from alexnet.model import LocalResponseNorm

OPSET = 18
"""ONNX operator set: the one that torch's exporter writes without a conversion."""

TOLERANCE = 1e-5
"""Largest difference between onnxruntime and torch, relative to the largest logit."""


def write_onnx(net: nn.Module, images: Tensor, path: Path, about: Mapping[str, Any]) -> str:
    """Write the network for batches of any size; return a text on the difference from torch.

    Every LocalResponseNorm becomes an LRN node. `images` are used to trace the network and to
    compare onnxruntime with torch. Raises ValueError, and writes nothing, if a package is missing
    or the two differ by more than TOLERANCE.
    """
    need("onnx", "onnxscript", "onnxruntime")
    import onnxruntime

    with torch.no_grad():
        expected = net(images)
    with _nodes(net), _quiet():
        program = torch.onnx.export(
            net,
            (images,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            custom_translation_table={torch.ops.alexnet.local_response_norm.default: _lrn},
            external_data=False,
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    for key, value in {"alexnet_lab": json.dumps(about), "opset": str(OPSET)}.items():
        proto.metadata_props.add(key=key, value=value)
    written = proto.SerializeToString()

    session = onnxruntime.InferenceSession(written, providers=["CPUExecutionProvider"])
    largest = expected.abs().max().clamp_min(torch.finfo(torch.float32).tiny)
    difference = max(
        float(
            (torch.from_numpy(session.run(None, {"images": some.numpy()})[0]) - theirs).abs().max()
        )
        for some, theirs in ((images, expected), (images[:1], expected[:1]))
    ) / float(largest)
    if not difference <= TOLERANCE:
        raise ValueError(
            f"onnxruntime {onnxruntime.__version__} and torch differ by {difference:.1e} of the "
            f"largest logit, more than {TOLERANCE:g}: nothing was written. If the network has your "
            "own levels, check how torch.onnx exports them, or try format=torch_export"
        )
    with replacing(path, "wb") as file:
        file.write(written)
    return (
        f"ONNX opset {OPSET}; onnxruntime {onnxruntime.__version__} is within {difference:.1e} of "
        f"torch, relative to the largest logit"
    )


class _Node(nn.Module):
    """The norm as a single operator, which the exporter translates."""

    def __init__(self, norm: LocalResponseNorm) -> None:
        super().__init__()
        alpha = norm.alpha / norm.size if norm.alpha_is_divided_by_size else norm.alpha
        self.constants = norm.columns, norm.size, alpha, norm.beta, norm.k

    @override
    def forward(self, activities: Tensor) -> Tensor:
        return torch.ops.alexnet.local_response_norm(activities, *self.constants)


def _lrn(x: Any, columns: int, size: int, alpha: float, beta: float, k: float) -> Any:
    """Translate the norm to ONNX's y = x / (bias + alpha / size * sum of squares) ** beta.

    Its window is clipped at the edges, as ours is. Each column temporarily becomes a row of the
    batch, so that windows stay within it.
    """
    from onnxscript import opset18 as op

    lrn = {"alpha": alpha * size, "beta": beta, "bias": k, "size": size}
    if columns == 1:
        return op.LRN(x, **lrn)
    _, channels, height, width = x.shape
    apart = op.Constant(value_ints=[-1, channels // columns, height, width])
    joined = op.Constant(value_ints=[-1, channels, height, width])
    return op.Reshape(op.LRN(op.Reshape(x, apart), **lrn), joined)


@contextmanager
def _nodes(net: nn.Module) -> Iterator[None]:
    norms = {n: m for n, m in net.named_modules() if isinstance(m, LocalResponseNorm)}
    try:
        for name, norm in norms.items():
            net.set_submodule(name, _Node(norm))
        yield
    finally:
        for name, norm in norms.items():
            net.set_submodule(name, norm)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's messages about itself, on which a user cannot act."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
