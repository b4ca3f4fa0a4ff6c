"""Local response normalization on a CPU in one pass over memory (section 3.3), compiled by Numba.

Importing this module imports Numba, which takes about half a second.

Here a tensor is a matrix of blocks: the channels of one column at one place (channels last), or in
one image (channels first). Within a block, neighbouring channels are `step` entries apart: 1, or
the number of pixels of a map. The forward pass reads x and writes y; the backward pass reads x and
the gradient of y, computes the denominators again, and writes the gradient of x:

    d[i]  = k + alpha * sum of x[j]**2 over the window of i
    y[i]  = x[i] * d[i]**-beta
    dx[i] = dy[i] * d[i]**-beta
            - 2 * alpha * beta * x[i] * sum of dy[j] * x[j] * d[j]**(-beta - 1) over the window of i

Blocks are independent and each is computed by one thread, so neither the number of threads nor the
layout changes a bit of the result.

The threads are Python's, without the interpreter's lock. Numba's own threads cannot be used: its
OpenMP layer aborts forked processes, and its workqueue layer aborts if two Python threads call a
kernel.
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

# The fewest activities that are worth a thread.
_GRAIN = 32_768

_WORTH_A_WORD = 1.0  # seconds of compiling that are worth a line of the log


# About the next two functions, which make kernels. Their arguments become constants in the machine
# code: a window of known size is unrolled, and the loop over a block uses vector instructions. The
# sums over windows therefore cannot be a separate function. Their indices are unsigned, because
# Numba checks signed ones for negative values.


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
    """Write the normalized x into y; both are (N, C, H, W), and y is dense in either layout.

    The sum is taken in float32 at least: squares of activities of hundreds overflow float16 and
    lose the small neighbours in bfloat16.
    """
    _run(_forward, x, out=y, columns=columns, size=size, constants=(k, alpha, beta))


def differentiate(
    x: Tensor, dy: Tensor, dx: Tensor, *, columns: int, size: int, alpha: float, beta: float,
    k: float,
) -> None:  # fmt: skip
    """Write the gradient of x into dx, given the gradient of y, dy."""
    _run(_backward, x, dy, out=dx, columns=columns, size=size, constants=(k, alpha, beta))


def load_kernels() -> None:
    """Load or compile the kernels for the paper's constants in float32, without running them."""
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
    """Compute the blocks with as many threads as torch has."""
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
    # The threads start with the first task, and wait for the next without using the CPU.
    return ThreadPoolExecutor(os.cpu_count(), "lrn")


# A forked process does not have its parent's threads.
os.register_at_fork(after_in_child=_pool.cache_clear)


@cache
def _compiled(
    make: Callable[[int, bool], Kernel],
    reach: int,
    is_three_quarters: bool,
    dtype: str,
) -> Kernel:
    """Return a kernel's machine code, from Numba's cache on the disk if it is there.

    The cache is beside this file or in the user's cache folder, wherever Numba can write
    (NUMBA_CACHE_DIR overrides this). If it can write nowhere, the code is compiled for this process
    only.
    """
    number = getattr(numba, dtype)
    matrices = [number[:, ::1]] * (2 if make is _forward else 3)
    signature = numba.void(*matrices, numba.intp, numba.intp, numba.uintp, *[number] * 3)
    # NumPy's divisions: Python's raise errors and cannot be vectorized.
    compiler = numba.njit(signature, nogil=True, error_model="numpy", cache=True)
    began = time.perf_counter()
    try:
        kernel = compiler(make(reach, is_three_quarters))
        place = "later runs load it from the disk"
    except (RuntimeError, OSError) as error:  # no writable folder, or a full disk
        compiler = numba.njit(signature, nogil=True, error_model="numpy")
        kernel = compiler(make(reach, is_three_quarters))
        place = f"every run repeats it, because the result cannot be stored: {error}"
    seconds = time.perf_counter() - began
    if seconds > _WORTH_A_WORD:
        log.info("compiling local response normalization took %.1f s: %s", seconds, place)
    return kernel
