import itertools

import pytest
import torch

from alexnet.model import SameMapNorm


def activities(*shape, dtype=torch.float64, scale=50.0):
    return scale * torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(0))


def formula(a, size, alpha, beta):
    """A loop over places; the divisor is size**2 also at the edges."""
    b = torch.empty_like(a)
    height, width = a.shape[2:]
    reach = size // 2
    for y, x in itertools.product(range(height), range(width)):
        energy = torch.zeros_like(a[..., y, x])
        for dy, dx in itertools.product(range(-reach, reach + 1), repeat=2):
            if 0 <= y + dy < height and 0 <= x + dx < width:
                energy += a[..., y + dy, x + dx] ** 2
        b[..., y, x] = a[..., y, x] / (1 + alpha / size**2 * energy) ** beta
    return b


@pytest.mark.parametrize("size", [1, 3, 5])
def test_it_is_the_formula_with_pixels_beyond_the_edge_counted_as_zero(size):
    a = activities(2, 3, 4, 7)
    norm = SameMapNorm(size, alpha=1e-2, beta=0.6)
    torch.testing.assert_close(norm(a), formula(a, size, 1e-2, 0.6))


def test_the_defaults_are_the_constants_of_layer_params_145():
    a = activities(2, 3, 6, 6)
    torch.testing.assert_close(SameMapNorm()(a), formula(a, 5, 1e-3, 0.75))


def test_maps_do_not_see_each_other():
    a = activities(2, 3, 4, 4)
    other = a.clone()
    other[:, 1:] *= 7
    assert torch.equal(SameMapNorm()(a)[:, 0], SameMapNorm()(other)[:, 0])


def test_gradients_are_the_derivatives():
    a = activities(1, 2, 4, 4, scale=3.0).requires_grad_()
    assert torch.autograd.gradcheck(SameMapNorm(alpha=0.1), (a,))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_float32_and_returned_as_it_came(dtype):
    a = activities(2, 3, 6, 6, dtype=torch.float32, scale=300.0).to(dtype)  # squares pass 65504
    b = SameMapNorm()(a)
    assert b.dtype == dtype
    assert torch.equal(b, SameMapNorm()(a.float()).to(dtype))


@pytest.mark.parametrize(
    ("wrong", "message"), [({"size": 4}, "size is 4"), ({"alpha": -1.0}, "alpha is -1.0")]
)
def test_a_window_without_a_centre_and_a_negative_alpha_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        SameMapNorm(**wrong)
