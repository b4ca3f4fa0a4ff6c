"""Local response normalization, forward and backward: ours, torch's, and the limit of memory.

    python benchmarks/lrn.py [threads] [repeats]

Prints milliseconds (processor time if there is one thread) for the shapes of AlexNet (batch 32) and
CifarNet (batch 128), channels last, of torch.nn.LocalResponseNorm, ours, a clone, which allocates
new memory, and a copy into existing memory. Our passes read three tensors and write two.
"""

import sys
from collections.abc import Callable

import torch
from timing import alternate, now, ratio, spread
from torch import Tensor, nn

from alexnet.model import LRN_KERNEL, LocalResponseNorm

SHAPES = ((32, 96, 55, 55), (32, 256, 27, 27), (128, 32, 32, 32))


def main() -> None:
    """Print a line for each implementation and shape."""
    threads, repeats = (*map(int, sys.argv[1:]), *(torch.get_num_threads(), 9)[len(sys.argv) - 1 :])
    torch.set_num_threads(threads)
    print(f"torch {torch.__version__}, kernel {LRN_KERNEL}, {threads} threads, n = {repeats}")
    for shape in SHAPES:
        x, dy = (torch.randn(shape).contiguous(memory_format=torch.channels_last) for _ in range(2))
        x, target = x.mul_(50).requires_grad_(), torch.empty_like(x)
        found = alternate(
            {
                "ours": _both_passes(LocalResponseNorm(), x, dy),
                "torch": _both_passes(nn.LocalResponseNorm(5, alpha=5e-4, k=2.0), x, dy),
                "clone": _timed(x.detach().clone),
                "copy": _timed(lambda target=target, dy=dy: target.copy_(dy)),
            },
            repeats=repeats,
        )
        print(shape)
        for name, milliseconds in found.items():
            print(
                f"  {name:5} {spread(milliseconds, 1):>26} ms, "
                f"{ratio(milliseconds, found['ours'])} times ours"
            )


def _both_passes(norm: nn.Module, x: Tensor, dy: Tensor) -> Callable[[], float]:
    def passes() -> None:
        x.grad = None
        norm(x).backward(dy)

    return _timed(passes)


def _timed(do: Callable[[], object]) -> Callable[[], float]:
    def milliseconds() -> float:
        began = now()
        do()
        return 1000 * (now() - began)

    return milliseconds


if __name__ == "__main__":
    main()
