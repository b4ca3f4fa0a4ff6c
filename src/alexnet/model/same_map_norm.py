import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override


class SameMapNorm(nn.Module):
    """Divide each activity by the energy around it in its map (in the 2012 program, not the paper).

        b[y, x] = a[y, x] / (1 + alpha / size**2 * sum of a**2 over size x size pixels) ** beta

    The window is centred on the activity, and pixels beyond the edge count as zero. The program of
    2012 used it after the local response normalization of its second layer, with these defaults.

    Shape: (N, C, H, W) -> (N, C, H, W). The sum is taken in float32 at least, float64 stays
    float64, and the output has the input's dtype.

    Raises ValueError if size is even or not positive, or if alpha is negative.
    """

    def __init__(self, size: int = 5, alpha: float = 1e-3, beta: float = 0.75) -> None:
        super().__init__()
        if size < 1 or size % 2 == 0:
            raise ValueError(
                f"the window must be centred on its pixel, but size is {size}: "
                "give an odd, positive size"
            )
        if alpha < 0:
            raise ValueError(f"1 + alpha * sum must be positive, but alpha is {alpha}")
        self.size = size
        self.alpha = alpha
        self.beta = beta

    @override
    def forward(self, activities: Tensor) -> Tensor:
        a = activities.to(torch.promote_types(activities.dtype, torch.float32))
        # The mean over all pixels of the window, those beyond the edge included: sum / size**2.
        energy = F.avg_pool2d(a.square(), self.size, stride=1, padding=self.size // 2)
        return (a / (1 + self.alpha * energy) ** self.beta).to(activities.dtype)

    @override
    def extra_repr(self) -> str:
        return f"size={self.size}, alpha={self.alpha}, beta={self.beta}"
