"""Local response normalization on a CPU as one pass over memory (section 3.3), compiled by Numba.

Importing this module imports Numba, which takes about half a second.

A tensor is a matrix of blocks here: what one column has at one place (channels last), or in one
image (channels first). Within a block, neighbouring channels are `step` entries apart: 1, or as
many as a map has pixels. The forward pass reads x and writes y; the backward pass reads x and the
gradient of y, computes the denominators again, and writes the gradient of x:

    d[i]  = k + alpha * sum of x[j]**2 over the window of i
    y[i]  = x[i] * d[i]**-beta
    dx[i] = dy[i] * d[i]**-beta
            - 2 * alpha * beta * x[i] * sum of dy[j] * x[j] * d[j]**(-beta - 1) over the window of i

Blocks are independent and each is computed by one thread, so the number of threads does not change
a bit of the result, and neither does the layout.

Threads are Python's, outside the interpreter's lock. Numba's own would not do: its OpenMP layer
aborts forked processes, its workqueue layer aborts when two threads of Python call a kernel.
"""

import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numba
import numpy as np
import torch
from torch import Tensor

log = logging.getLogger(__name__)

Kernel = Callable[..., None]

# Fewer activities than this are not worth a thread.
_GRAIN = 32_768

_WORTH_A_WORD = 1.0  # seconds of compiling


# Of the two makers of kernels. What they are given is a constant in the machine code: a window of
# known size is unrolled, and the loop over a block uses vectors. So the sums over windows cannot be
# a function of their own, and indices in them are unsigned: Numba looks for negative ones.


def _forward(reach: int, is_three_quarters: bool) -> Kernel:
    size = 2 * reach + 1

    def kernel(x, y, first, last, step, k, alpha, beta):  # type: ignore[no-untyped-def]
        entries, margin = x.shape[1], reach * step
        padded = np.zeros(entries + 2 * margin, x.dtype)
        squares = padded[margin : margin + entries]
        one = x.dtype.type(1)
        for block in range(first, last):
            xs, ys = x[block], y[block]
            for i in range(entries):
                squares[i] = xs[i] * xs[i]
            for i in range(entries):
                energy = padded[i]
                for j in range(1, size):
                    energy += padded[np.uintp(i) + np.uintp(j) * step]
                d = k + alpha * energy
                if is_three_quarters:
                    root = one / np.sqrt(d)
                    ys[i] = xs[i] * (root * np.sqrt(root))
                else:
                    ys[i] = xs[i] * d**-beta

    return kernel


def _backward(reach: int, is_three_quarters: bool) -> Kernel:
    size = 2 * reach + 1

    def kernel(x, dy, dx, first, last, step, k, alpha, beta):  # type: ignore[no-untyped-def]
        entries, margin = x.shape[1], reach * step
        padded = np.zeros(entries + 2 * margin, x.dtype)
        padded_terms = np.zeros(entries + 2 * margin, x.dtype)
        squares = padded[margin : margin + entries]
        terms = padded_terms[margin : margin + entries]
        scaled = np.empty(entries, x.dtype)
        one = x.dtype.type(1)
        factor = -(beta + beta) * alpha
        for block in range(first, last):
            xs, dys, dxs = x[block], dy[block], dx[block]
            for i in range(entries):
                squares[i] = xs[i] * xs[i]
            for i in range(entries):
                energy = padded[i]
                for j in range(1, size):
                    energy += padded[np.uintp(i) + np.uintp(j) * step]
                d = k + alpha * energy
                if is_three_quarters:
                    root = one / np.sqrt(d)
                    scale, inverse = root * np.sqrt(root), root * root
                else:
                    scale, inverse = d**-beta, one / d
                scaled[i] = dys[i] * scale
                terms[i] = scaled[i] * inverse * xs[i]
            for i in range(entries):
                received = padded_terms[i]
                for j in range(1, size):
                    received += padded_terms[np.uintp(i) + np.uintp(j) * step]
                dxs[i] = scaled[i] + factor * xs[i] * received

    return kernel


def normalize(
    x: Tensor, y: Tensor, *, columns: int, size: int, alpha: float, beta: float, k: float
) -> None:
    """Write the normalized x into y; both are (N, C, H, W), y is dense in either layout.

    The sum is taken in float32 at least: squares of activities of hundreds overflow float16 and
    lose the small neighbours in bfloat16.
    """
    _run(_forward, x, out=y, columns=columns, size=size, constants=(k, alpha, beta))


def differentiate(
    x: Tensor, dy: Tensor, dx: Tensor, *, columns: int, size: int, alpha: float, beta: float,
    k: float,
) -> None:  # fmt: skip
    """Write the gradient of x into dx, given that of y."""
    _run(_backward, x, dy, out=dx, columns=columns, size=size, constants=(k, alpha, beta))


def load_kernels() -> None:
    """Have the machine code of the paper's norm in float32 ready, without running it."""
    for make in (_forward, _backward):
        _compiled(make, 2, True, "float32")


def _run(
    make: Callable[[int, bool], Kernel],
    *inputs: Tensor,
    out: Tensor,
    columns: int,
    size: int,
    constants: tuple[float, float, float],
) -> None:
    """Let torch's number of threads share the blocks."""
    images, channels, height, width = out.shape
    pixels, per_column = height * width, channels // columns
    is_last = not out.is_contiguous()
    order = torch.channels_last if is_last else torch.contiguous_format
    step, blocks = (1, images * pixels * columns) if is_last else (pixels, images * columns)
    dtype = torch.promote_types(out.dtype, torch.float32)

    def matrix(tensor: Tensor) -> np.ndarray:
        dense = tensor.detach().to(dtype).contiguous(memory_format=order)
        by_block = dense.permute(0, 2, 3, 1) if is_last else dense
        return by_block.reshape(blocks, per_column * step).numpy()

    result = out.to(dtype)  # the same tensor, but for half precision
    arrays = [*map(matrix, inputs), matrix(result)]
    kernel = _compiled(make, size // 2, constants[-1] == 0.75, str(arrays[0].dtype))

    def share(first: int, last: int) -> None:
        kernel(*arrays, first, last, step, *constants)

    threads = max(1, min(torch.get_num_threads(), blocks, out.numel() // _GRAIN))
    ends = [blocks * i // threads for i in range(threads + 1)]
    others = [_pool().submit(share, *ends[i : i + 2]) for i in range(1, threads)]
    share(*ends[:2])
    for other in others:
        other.result()
    if result is not out:
        out.copy_(result)


@cache
def _pool() -> ThreadPoolExecutor:
    # Its threads start with the first task, and wait for the next one without using the CPU.
    return ThreadPoolExecutor(os.cpu_count(), "lrn")


# A forked process has none of its parent's threads.
os.register_at_fork(after_in_child=_pool.cache_clear)


@cache
def _compiled(
    make: Callable[[int, bool], Kernel],
    reach: int,
    is_three_quarters: bool,
    dtype: str,
) -> Kernel:
    """The machine code, from the disk if a process has left it there.

    Beside this file or in the user's cache, wherever Numba can write (NUMBA_CACHE_DIR says
    otherwise); compiled for this process alone if it can write nowhere.
    """
    number = getattr(numba, dtype)
    matrices = [number[:, ::1]] * (2 if make is _forward else 3)
    signature = numba.void(*matrices, numba.intp, numba.intp, numba.uintp, *[number] * 3)
    # Divisions as NumPy does them: Python's, which raise, could not be vectorized.
    compiler = numba.njit(signature, nogil=True, error_model="numpy", cache=True)
    began = time.perf_counter()
    try:
        kernel = compiler(make(reach, is_three_quarters))
        place = "later runs find it on the disk"
    except (RuntimeError, OSError) as error:  # no place that can be written to; a full disk
        compiler = numba.njit(signature, nogil=True, error_model="numpy")
        kernel = compiler(make(reach, is_three_quarters))
        place = f"every run has to, because the result cannot be kept: {error}"
    seconds = time.perf_counter() - began
    if seconds > _WORTH_A_WORD:
        log.info("compiling local response normalization took %.1f s: %s", seconds, place)
    return kernel
