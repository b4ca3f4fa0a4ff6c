from importlib.util import find_spec
from typing import Any

import torch
import torch.fx
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

LRN_KERNEL = "numba" if find_spec("numba") else "torch"
"""The implementation of local response normalization on a CPU; results differ in the last bits."""


class LocalResponseNorm(nn.Module):
    """Divide each activity by its neighbours' energy across channels (section 3.3).

        b[i] = a[i] / (k + alpha * sum of a[j]**2 over |j - i| <= size // 2) ** beta

    Channels beyond the edge count as zero. Channels form `columns` equal blocks (section 3.2), and
    the window is clipped at the edges of a block: columns do not see each other's activities.

    Our alpha is the paper's: it multiplies the plain sum. The program of 2012 divided it by size,
    as torch.nn.LocalResponseNorm does, so the paper's 1e-4 was run as 2e-5;
    `alpha_is_divided_by_size` does the same. The divisor is size at the edges, too.

    Shape: (N, C, H, W) -> (N, C, H, W). The sum is taken in float32 at least, float64 stays
    float64, and the output has the input's dtype.

    On a CPU with Numba, the forward and the backward pass each go over memory once, and only the
    input is kept for the gradient. Elsewhere, and in exported networks, the formula is computed by
    torch's operations.

    Raises ValueError if size is even or not positive, if columns is not positive or does not divide
    C, or if k and alpha do not keep the denominator positive.
    """

    def __init__(
        self,
        size: int = 5,
        alpha: float = 1e-4,
        beta: float = 0.75,
        k: float = 2.0,
        columns: int = 1,
        alpha_is_divided_by_size: bool = False,
    ) -> None:
        super().__init__()
        if size < 1 or size % 2 == 0:
            raise ValueError(
                f"the window must be centred on its channel, but size is {size}: "
                "give an odd, positive size"
            )
        if columns < 1:
            raise ValueError(f"columns must be at least 1, but is {columns}")
        if k <= 0 or alpha < 0:
            raise ValueError(
                f"k + alpha * sum must be positive, but k is {k} and alpha is {alpha}: "
                "give k > 0 and alpha >= 0"
            )
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k
        self.columns = columns
        self.alpha_is_divided_by_size = alpha_is_divided_by_size

    @override
    def forward(self, activities: Tensor) -> Tensor:
        alpha = self.alpha / self.size if self.alpha_is_divided_by_size else self.alpha
        return _normalized(activities, self.columns, self.size, alpha, self.beta, self.k)

    @override
    def extra_repr(self) -> str:
        divided = ", alpha_is_divided_by_size=True" if self.alpha_is_divided_by_size else ""
        return (
            f"size={self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}, "
            f"columns={self.columns}{divided}"
        )


def _normalized(x: Tensor, columns: int, size: int, alpha: float, beta: float, k: float) -> Tensor:
    channels = x.shape[1]
    if channels % columns:
        raise ValueError(
            f"{channels} channels do not divide into {columns} equal columns: "
            "change columns or the number of channels"
        )
    compute = _fused if _is_fused(x) else _formula
    return compute(x, columns, size, alpha, beta, k)


# A single operation for torch.fx, and so for torchvision's create_feature_extractor, which cannot
# trace code that depends on the shape or the device of a tensor.
torch.fx.wrap("_normalized")


def _is_fused(activities: Tensor) -> bool:
    # An exported network must run without this package.
    is_exported = torch.compiler.is_exporting() or torch.jit.is_tracing()
    return LRN_KERNEL == "numba" and activities.device.type == "cpu" and not is_exported


def _formula(x: Tensor, columns: int, size: int, alpha: float, beta: float, k: float) -> Tensor:
    """Compute the equation with torch's operations, on any device."""
    # Activities reach hundreds when pixels are 0..255: their squares overflow float16, and small
    # neighbours are lost in bfloat16.
    a = x.to(torch.promote_types(x.dtype, torch.float32))
    a = a.unflatten(1, (columns, -1))  # (N, columns, C / columns, H, W)
    reach = size // 2
    squares = F.pad(a.square(), (0, 0, 0, 0, reach, reach))
    energy = torch.zeros_like(a)
    for offset in range(size):
        energy = energy + squares.narrow(2, offset, a.shape[2])
    b = a / (k + alpha * energy) ** beta
    return b.flatten(1, 2).to(x.dtype)  # (N, C, H, W)


def _like(x: Tensor, *_: Any) -> Tensor:
    """Allocate a result: channels last in memory if x is, else channels first."""
    is_last = not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)
    order = torch.channels_last if is_last else torch.contiguous_format
    return torch.empty_like(x, memory_format=order)


@torch.library.custom_op("alexnet::local_response_norm", mutates_args=(), device_types="cpu")
def _fused(x: Tensor, columns: int, size: int, alpha: float, beta: float, k: float) -> Tensor:
    from alexnet.model.lrn_kernel import normalize  # which imports Numba

    normalize(x, result := _like(x), columns=columns, size=size, alpha=alpha, beta=beta, k=k)
    return result


@torch.library.custom_op(
    "alexnet::local_response_norm_backward", mutates_args=(), device_types="cpu"
)
def _fused_backward(
    x: Tensor, dy: Tensor, columns: int, size: int, alpha: float, beta: float, k: float
) -> Tensor:
    from alexnet.model.lrn_kernel import differentiate

    result = _like(x)
    differentiate(x, dy, result, columns=columns, size=size, alpha=alpha, beta=beta, k=k)
    return result


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.columns, ctx.size, ctx.alpha, ctx.beta, ctx.k = inputs
    ctx.save_for_backward(*tensors)


def _gradient(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    [x] = ctx.saved_tensors
    return _fused_backward(x, dy, *_constants(ctx)), *_NO_GRADIENTS


def _second_gradient(ctx: Any, ddx: Tensor) -> tuple[Tensor | None, ...]:
    # Used too rarely to be worth a kernel.
    x, dy = (tensor.detach().requires_grad_() for tensor in ctx.saved_tensors)
    with torch.enable_grad():
        y = _formula(x, *_constants(ctx))
        [dx] = torch.autograd.grad(y, x, dy, create_graph=True)
    return *torch.autograd.grad(dx, (x, dy), ddx), *_NO_GRADIENTS


def _constants(ctx: Any) -> tuple[int, int, float, float, float]:
    return ctx.columns, ctx.size, ctx.alpha, ctx.beta, ctx.k


_NO_GRADIENTS = (None,) * 5  # for the constants

for _operator, _derivative in ((_fused, _gradient), (_fused_backward, _second_gradient)):
    _operator.register_fake(_like)
    _operator.register_autograd(_derivative, setup_context=_keep)
