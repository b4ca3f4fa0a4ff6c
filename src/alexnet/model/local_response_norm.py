import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override


class LocalResponseNorm(nn.Module):
    """Divide each activity by its neighbours' energy across channels (section 3.3).

        b[i] = a[i] / (k + alpha * sum of a[j]**2 over |j - i| <= size // 2) ** beta

    Channels beyond the edge count as zero. Channels form `columns` equal blocks (section 3.2), and
    the window is clipped at the edges of a block: columns do not see each other's activities.

    Our alpha is the paper's: it multiplies the plain sum. The program of 2012 divided it by size,
    as torch.nn.LocalResponseNorm does, so the paper's 1e-4 ran as 2e-5: that is
    `alpha_is_divided_by_size`. The divisor is size at the edges, too.

    Shape: (N, C, H, W) -> (N, C, H, W). The sum is taken in float32 at least, float64 stays
    float64, and the output has the input's dtype.

    Raises ValueError if size is even or not positive, if columns is not positive or does not divide
    C, or if k and alpha do not keep the denominator positive.
    """

    def __init__(
        self,
        size: int = 5,
        alpha: float = 1e-4,
        beta: float = 0.75,
        k: float = 2.0,
        columns: int = 1,
        alpha_is_divided_by_size: bool = False,
    ) -> None:
        super().__init__()
        if size < 1 or size % 2 == 0:
            raise ValueError(
                f"the window must be centred on its channel, but size is {size}: "
                "give an odd, positive size"
            )
        if columns < 1:
            raise ValueError(f"columns must be at least 1, but is {columns}")
        if k <= 0 or alpha < 0:
            raise ValueError(
                f"k + alpha * sum must be positive, but k is {k} and alpha is {alpha}: "
                "give k > 0 and alpha >= 0"
            )
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k
        self.columns = columns
        self.alpha_is_divided_by_size = alpha_is_divided_by_size

    @override
    def forward(self, activities: Tensor) -> Tensor:
        channels = activities.shape[1]
        if channels % self.columns:
            raise ValueError(
                f"{channels} channels do not divide into {self.columns} equal columns: "
                "change columns or the number of channels"
            )
        # Activities reach hundreds when pixels are 0..255; their squares overflow float16 and lose
        # the small neighbours in bfloat16.
        a = activities.to(torch.promote_types(activities.dtype, torch.float32))
        a = a.unflatten(1, (self.columns, -1))  # (N, columns, C / columns, H, W)
        reach = self.size // 2
        squares = F.pad(a.square(), (0, 0, 0, 0, reach, reach))
        energy = torch.zeros_like(a)
        for offset in range(self.size):
            energy = energy + squares.narrow(2, offset, a.shape[2])
        alpha = self.alpha / self.size if self.alpha_is_divided_by_size else self.alpha
        b = a / (self.k + alpha * energy) ** self.beta
        return b.flatten(1, 2).to(activities.dtype)  # (N, C, H, W)

    @override
    def extra_repr(self) -> str:
        divided = ", alpha_is_divided_by_size=True" if self.alpha_is_divided_by_size else ""
        return (
            f"size={self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}, "
            f"columns={self.columns}{divided}"
        )
