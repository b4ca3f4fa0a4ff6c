import os

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from alexnet.model import LocalResponseNorm, local_response_norm

needs_numba = pytest.mark.skipif(
    local_response_norm.LRN_KERNEL != "numba", reason="the fused kernel needs Numba"
)


def activities(*shape, dtype=torch.float64, scale=50.0):
    return scale * torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(0))


def printed_formula(a, size, alpha, beta, k, columns):
    """Section 3.3 as loops; the sum runs over the channels of i's own column."""
    b = torch.empty_like(a)
    per_column = a.shape[1] // columns
    for i in range(a.shape[1]):
        first = i // per_column * per_column
        last = first + per_column - 1
        energy = torch.zeros_like(a[:, i])
        for j in range(max(first, i - size // 2), min(last, i + size // 2) + 1):
            energy += a[:, j] ** 2
        b[:, i] = a[:, i] / (k + alpha * energy) ** beta
    return b


@pytest.mark.parametrize("columns", [1, 2, 4])
@pytest.mark.parametrize("size", [1, 3, 5, 9])
def test_it_is_the_printed_formula_clipped_at_the_edges_of_each_column(size, columns):
    a = activities(2, 16, 3, 4)
    norm = LocalResponseNorm(size, alpha=1e-3, beta=0.6, k=1.5, columns=columns)
    torch.testing.assert_close(norm(a), printed_formula(a, size, 1e-3, 0.6, 1.5, columns))


def test_the_defaults_are_the_constants_of_section_3_3():
    a = activities(2, 12, 3, 4)
    torch.testing.assert_close(LocalResponseNorm()(a), printed_formula(a, 5, 1e-4, 0.75, 2.0, 1))


def test_torch_divides_its_alpha_by_size_and_ours_is_the_papers():
    a = activities(2, 12, 3, 4)
    torch.testing.assert_close(
        LocalResponseNorm(5, alpha=1e-4)(a), nn.LocalResponseNorm(5, alpha=5e-4, k=2.0)(a)
    )


def test_alpha_divided_by_size_is_the_program_of_2012():
    a = activities(2, 12, 3, 4)
    torch.testing.assert_close(
        LocalResponseNorm(5, alpha=1e-4, alpha_is_divided_by_size=True)(a),
        nn.LocalResponseNorm(5, alpha=1e-4, k=2.0)(a),
    )


def test_a_column_is_normalized_as_it_would_be_alone():
    a = activities(2, 12, 3, 4)
    alone = [LocalResponseNorm()(column) for column in a.chunk(2, 1)]
    torch.testing.assert_close(LocalResponseNorm(columns=2)(a), torch.cat(alone, 1))


@pytest.mark.parametrize("columns", [1, 2])
def test_gradients_are_the_derivatives(columns):
    a = activities(1, 8, 2, 2, scale=3.0).requires_grad_()
    norm = LocalResponseNorm(alpha=0.1, columns=columns)
    assert torch.autograd.gradcheck(norm, (a,))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_float32_and_returned_as_it_came(dtype):
    a = activities(2, 12, 3, 4, dtype=torch.float32, scale=300.0).to(dtype)  # squares pass 65504
    b = LocalResponseNorm()(a)
    assert b.dtype == dtype
    assert torch.equal(b, LocalResponseNorm()(a.float()).to(dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_single_and_double_precision_stay(dtype):
    assert LocalResponseNorm()(activities(1, 8, 2, 2).to(dtype)).dtype == dtype


def test_autocast_does_not_lower_the_precision_of_the_sum():
    a = activities(2, 12, 3, 4, dtype=torch.float32, scale=300.0).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        b = LocalResponseNorm()(a)
    torch.testing.assert_close(b, F.local_response_norm(a.float(), 5, 5e-4, k=2.0).bfloat16())


@pytest.mark.parametrize("size", [4, 0, -3])
def test_a_window_that_cannot_be_centred_is_refused(size):
    with pytest.raises(ValueError, match=f"size is {size}"):
        LocalResponseNorm(size)


@pytest.mark.parametrize("wrong", [{"k": 0.0}, {"alpha": -1e-4}])
def test_a_denominator_that_may_vanish_is_refused(wrong):
    with pytest.raises(ValueError, match="must be positive"):
        LocalResponseNorm(**wrong)


def test_columns_that_do_not_divide_the_channels_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        LocalResponseNorm(columns=0)
    with pytest.raises(ValueError, match="10 channels do not divide into 4 equal columns"):
        LocalResponseNorm(columns=4)(activities(1, 10, 2, 2))


def test_it_prints_its_constants():
    assert repr(LocalResponseNorm(columns=2)) == (
        "LocalResponseNorm(size=5, alpha=0.0001, beta=0.75, k=2.0, columns=2)"
    )
    assert "alpha_is_divided_by_size" in repr(LocalResponseNorm(alpha_is_divided_by_size=True))


def both_passes(a, norm):
    """Activities, and the gradient for a given gradient of them."""
    a = a.detach().requires_grad_()
    b = norm(a)
    b.backward(activities(*a.shape[::-1], dtype=torch.float32).permute(3, 2, 1, 0).to(a.dtype))
    return b.detach(), a.grad


@needs_numba
@pytest.mark.parametrize("columns", [1, 2])
def test_the_kernel_gives_the_same_bits_for_any_threads_and_either_layout(columns):
    a = activities(3, 32, 37, 39, dtype=torch.float32)  # more than one thread's share
    norm = LocalResponseNorm(columns=columns)
    before = torch.get_num_threads()
    found = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        for order in (torch.contiguous_format, torch.channels_last):
            b, gradient = both_passes(a.contiguous(memory_format=order), norm)
            assert b.is_contiguous(memory_format=order)
            found.append((b, gradient))
    torch.set_num_threads(before)
    for b, gradient in found[1:]:
        assert torch.equal(b, found[0][0])
        assert torch.equal(gradient, found[0][1])


@needs_numba
@pytest.mark.parametrize("beta", [0.75, 0.5])
def test_the_kernel_is_as_exact_in_float32_as_torchs_own_norm(beta):
    a = activities(2, 12, 5, 6, dtype=torch.float32)
    theirs = nn.LocalResponseNorm(5, alpha=5e-4, beta=beta, k=2.0)
    exact = both_passes(a.double(), theirs)
    ours = both_passes(a, LocalResponseNorm(5, alpha=1e-4, beta=beta))
    for value, reference in zip(ours, exact, strict=True):
        scale = reference.abs().max()
        torch.testing.assert_close(value / scale, (reference / scale).float(), atol=3e-7, rtol=0)


@needs_numba
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_gradients_in_half_precision_are_those_of_float32_rounded(dtype):
    a = activities(2, 12, 3, 4, dtype=torch.float32, scale=3.0).to(dtype).requires_grad_()
    weights = activities(2, 12, 3, 4, dtype=torch.float32, scale=1.0).to(dtype)
    [half] = torch.autograd.grad(LocalResponseNorm()(a), a, weights)
    exact = a.detach().float().requires_grad_()
    [single] = torch.autograd.grad(LocalResponseNorm()(exact), exact, weights.float())
    assert torch.equal(half, single.to(dtype))


@needs_numba
def test_for_the_gradient_only_the_input_is_kept():
    kept = []
    a = activities(2, 8, 5, 5).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        LocalResponseNorm()(a)
    assert [t.data_ptr() for t in kept] == [a.data_ptr()]


def test_second_derivatives_are_the_derivatives_of_the_first():
    a = activities(1, 5, 1, 2, scale=3.0).requires_grad_()
    assert torch.autograd.gradgradcheck(LocalResponseNorm(alpha=0.1, columns=1), (a,))


@needs_numba
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_the_kernel_is_an_operator_that_torch_can_trace(order):
    a = activities(2, 8, 3, 4).contiguous(memory_format=order).requires_grad_()
    torch.library.opcheck(local_response_norm._fused, (a, 2, 5, 1e-4, 0.75, 2.0))


@needs_numba
def test_the_formula_of_a_gpu_is_one_graph_for_torch_compile():
    compiled = torch.compile(local_response_norm._formula, backend="aot_eager", fullgraph=True)
    x = 60 * torch.randn(2, 8, 3, 3, dtype=torch.float64)
    constants = (2, 5, 1e-4, 0.75, 2.0)
    torch.testing.assert_close(compiled(x, *constants), local_response_norm._formula(x, *constants))


@pytest.mark.gpu
@pytest.mark.parametrize("is_compiled", [False, True])
def test_on_a_gpu_outputs_and_gradients_are_those_of_the_cpu(is_compiled):
    norm = LocalResponseNorm(columns=2)
    there = torch.compile(norm, fullgraph=True) if is_compiled else norm
    x = (60 * torch.randn(2, 8, 3, 3)).requires_grad_()
    moved = x.detach().cuda().requires_grad_()
    weights = torch.randn(2, 8, 3, 3)
    (norm(x) * weights).sum().backward()
    y = there(moved)
    (y * weights.cuda()).sum().backward()
    torch.testing.assert_close(y.cpu(), norm(x))
    torch.testing.assert_close(moved.grad.cpu(), x.grad)


def test_any_strides_are_taken_and_a_view_is_not_written_to():
    a = activities(2, 12, 6, 8)
    view = a[:, ::2, 1:, ::2]
    before = a.clone()
    torch.testing.assert_close(
        LocalResponseNorm()(view), printed_formula(view, 5, 1e-4, 0.75, 2.0, 1)
    )
    assert torch.equal(a, before)
    assert LocalResponseNorm()(a[:0]).shape == (0, 12, 6, 8)


def test_what_is_exported_runs_without_this_package():
    norm, a = LocalResponseNorm(columns=2), activities(2, 8, 3, 4)
    exported = torch.export.export(norm, (a,))
    assert not [node for node in exported.graph.nodes if "alexnet" in str(node.target)]
    torch.testing.assert_close(exported.module()(a), norm(a))


@needs_numba
def test_without_numba_the_formula_runs(monkeypatch):
    a = activities(2, 12, 3, 4)
    fast = both_passes(a, LocalResponseNorm(columns=2))
    monkeypatch.setattr(local_response_norm, "LRN_KERNEL", "torch")
    monkeypatch.setattr(local_response_norm, "_fused", None)
    torch.testing.assert_close(both_passes(a, LocalResponseNorm(columns=2)), fast)


@needs_numba
def test_where_nothing_can_be_written_kernels_are_compiled_and_not_kept(monkeypatch, caplog):
    from numba.core import caching

    from alexnet.model import lrn_kernel

    caplog.set_level("INFO")
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    monkeypatch.setattr(lrn_kernel, "_WORTH_A_WORD", 0.0)
    lrn_kernel._compiled.cache_clear()
    a = activities(2, 8, 3, 4)
    torch.testing.assert_close(LocalResponseNorm(3)(a), printed_formula(a, 3, 1e-4, 0.75, 2.0, 1))
    lrn_kernel._compiled.cache_clear()
    assert "every run repeats it" in caplog.text
    assert "no locator available" in caplog.text


@needs_numba
def test_a_forked_process_has_threads_of_its_own():
    a, norm = activities(4, 32, 37, 39, dtype=torch.float32), LocalResponseNorm()
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    expected = norm(a)
    if (child := os.fork()) == 0:
        # Compared by NumPy: torch's own threads do wait for ever in a forked process.
        os._exit(0 if np.array_equal(norm(a).numpy(), expected.numpy()) else 1)
    torch.set_num_threads(before)
    assert os.waitpid(child, 0)[1] == 0
