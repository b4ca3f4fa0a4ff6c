import pytest
import torch
import torch.nn.functional as F
from torch import nn

from alexnet.model import LocalResponseNorm


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
