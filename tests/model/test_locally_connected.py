import itertools

import pytest
import torch
from torch.nn import functional

from alexnet.model import LocallyConnected


def layer_of(in_channels=2, out_channels=3, size=4, pixels=3):
    torch.manual_seed(0)
    layer = LocallyConnected(in_channels, out_channels, size, pixels).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    return layer


def maps(count, channels, size):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, channels, size, size, dtype=torch.float64, generator=generator)


def slowly(layer, x):
    """A loop over pixels; each place has its own weights."""
    count, channels, size, _ = x.shape
    reach = layer.pixels // 2
    y = torch.zeros(count, len(layer.bias), size, size, dtype=x.dtype)
    for row, column in itertools.product(range(size), repeat=2):
        matrix = layer.weight[row * size + column]  # (fan-in, out_channels)
        y[:, :, row, column] = layer.bias[:, row, column]
        shifts = itertools.product(range(-reach, reach + 1), repeat=2)
        for number, (dy, dx) in enumerate(shifts):
            if 0 <= row + dy < size and 0 <= column + dx < size:
                seen = x[:, :, row + dy, column + dx]
                y[:, :, row, column] += seen @ matrix[number * channels : (number + 1) * channels]
    return y


@torch.no_grad()
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("pixels", [1, 3, 5])
def test_every_place_has_weights_and_biases_of_its_own(pixels, memory_format):
    layer, x = layer_of(pixels=pixels), maps(2, 2, 4)
    torch.testing.assert_close(layer(x.contiguous(memory_format=memory_format)), slowly(layer, x))


@torch.no_grad()
def test_with_equal_weights_everywhere_it_is_a_convolution():
    layer, x = layer_of(), maps(2, 2, 4)
    kernels = torch.randn(3, 2, 3, 3, dtype=torch.float64)
    layer.weight.copy_(kernels.permute(2, 3, 1, 0).flatten(0, 2).expand_as(layer.weight))
    layer.bias.zero_()
    torch.testing.assert_close(layer(x), functional.conv2d(x, kernels, padding=1))


def test_gradients_are_the_derivatives():
    layer, x = layer_of(size=3), maps(2, 2, 3).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, *_: layer(x), (x, *(p.requires_grad_() for p in layer.parameters()))
    )


def test_it_prints_its_sizes():
    assert repr(LocallyConnected(64, 32, 6)) == "LocallyConnected(64, 32, size=6, pixels=3)"
