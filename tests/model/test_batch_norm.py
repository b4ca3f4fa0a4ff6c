import pytest
import torch
from torch import nn

from alexnet.model import BatchNorm


def activities(*shape, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return 3 + 2 * torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def test_while_training_each_channel_has_mean_0_and_variance_1_before_weight_and_bias():
    norm = BatchNorm(4).double()
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]))
        norm.bias.fill_(5)
    a = activities(6, 4, 3, 2)

    b = norm(a)

    for channel in range(4):
        x = a[:, channel]
        deviation = (x - x.mean()) / (x.var(unbiased=False) + 1e-5).sqrt()
        torch.testing.assert_close(b[:, channel], (channel + 1) * deviation + 5)
        expected = 0.1 * x.mean(), 0.9 + 0.1 * x.var(unbiased=True)
        torch.testing.assert_close(norm.running_mean[channel], expected[0])
        torch.testing.assert_close(norm.running_var[channel], expected[1])
    assert norm.num_batches_tracked == 1


def test_in_evaluation_the_running_statistics_are_used_and_kept():
    norm = BatchNorm(4).double()
    norm.running_mean.fill_(1.0)
    norm.running_var.fill_(4.0)
    a = activities(2, 4, 3, 2)

    b = norm.eval()(a)

    torch.testing.assert_close(b, (a - 1) / (4 + 1e-5) ** 0.5)
    assert torch.equal(norm.running_mean, torch.full((4,), 1.0).double())
    assert norm.num_batches_tracked == 0


def test_gradients_are_the_derivatives():
    norm = BatchNorm(3).double()
    assert torch.autograd.gradcheck(norm, (activities(2, 3, 2, 2).requires_grad_(),))


@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32_and_returned_as_it_came(dtype, is_training):
    a = 300 * activities(4, 6, 5, 5, dtype=dtype)
    norm, exact = (BatchNorm(6).train(is_training) for _ in range(2))

    b = norm(a)

    assert b.dtype == dtype
    assert torch.equal(b, exact(a.float()).to(dtype))
    assert torch.equal(norm.running_var, exact.running_var)


def test_a_layer_of_half_precision_keeps_its_statistics_in_it():
    norm = BatchNorm(6).bfloat16()
    a = activities(4, 6, 5, 5, dtype=torch.bfloat16)
    assert norm(a).dtype == norm.running_mean.dtype == torch.bfloat16
    expected = 0.1 * a.float().mean((0, 2, 3))
    torch.testing.assert_close(norm.running_mean, expected.bfloat16())


def test_autocast_does_not_lower_the_precision():
    a = activities(4, 6, 5, 5, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        b = BatchNorm(6)(a)
    assert torch.equal(b, BatchNorm(6)(a.float()).bfloat16())


def test_its_parameters_and_statistics_are_those_of_torch_by_name():
    norm, torchs = BatchNorm(6), nn.BatchNorm2d(6)
    norm(activities(4, 6, 5, 5, dtype=torch.float32))
    torchs.load_state_dict(norm.state_dict())
    a = activities(2, 6, 5, 5, dtype=torch.float32)
    assert torch.equal(torchs.eval()(a), norm.eval()(a))


def test_columns_that_do_not_divide_the_channels_are_refused():
    with pytest.raises(ValueError, match="10 channels do not divide into 4 equal columns"):
        BatchNorm(10, columns=4)


def test_it_prints_its_constants():
    assert repr(BatchNorm(8, 2)) == "BatchNorm(8, columns=2, eps=1e-05, momentum=0.1)"
