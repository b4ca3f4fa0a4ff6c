import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override


class LocallyConnected(nn.Module):
    """A convolution with separate weights and biases at every place.

    Windows are pixels x pixels, 1 apart, padded with zeros so that the maps keep their size.
    `weight` is (size * size, fan_in, out_channels): a matrix for each place, row by row. fan_in
    counts the pixels of the window, row by row, each with all channels. `bias` is
    (out_channels, size, size).

    Shape: (N, in_channels, size, size) -> (N, out_channels, size, size); `pixels` must be odd.
    """

    def __init__(self, in_channels: int, out_channels: int, size: int, pixels: int = 3) -> None:
        super().__init__()
        assert pixels % 2 == 1
        self.pixels = pixels
        self.size = size
        self.fan_in = in_channels * pixels**2
        self.weight = nn.Parameter(torch.empty(size**2, self.fan_in, out_channels))
        self.bias = nn.Parameter(torch.empty(out_channels, size, size))

    @override
    def forward(self, maps: Tensor) -> Tensor:
        # Places first, then images: a shift of the window is a slice of whole blocks of memory, and
        # the products need no copies. F.unfold or einsum would copy, and take twice as long.
        edge, size = self.pixels // 2, self.size
        x = F.pad(maps.permute(2, 3, 0, 1), (0, 0, 0, 0, edge, edge, edge, edge))
        shifts = [(i, j) for i in range(self.pixels) for j in range(self.pixels)]
        windows = torch.cat([x[i : i + size, j : j + size] for i, j in shifts], dim=-1)
        y = windows.flatten(0, 1) @ self.weight  # (places, N, out_channels), a product for each
        return y.unflatten(0, (size, size)).permute(2, 3, 0, 1) + self.bias

    @override
    def extra_repr(self) -> str:
        in_channels, out_channels = self.fan_in // self.pixels**2, self.weight.shape[-1]
        return f"{in_channels}, {out_channels}, size={self.size}, pixels={self.pixels}"
