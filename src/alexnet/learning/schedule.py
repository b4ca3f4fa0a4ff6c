from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

REDUCTIONS = 3  # "reduced three times prior to termination", section 5


def plateau(optimizer: Optimizer, *, patience: int) -> ReduceLROnPlateau:
    """Divide every rate by 10 when validation error stops improving, at most 3 times (section 5).

    The authors judged by eye. Here the error has stopped improving after `patience` epochs without
    a new minimum.
    """
    lowest = [group["lr"] * 10.0**-REDUCTIONS for group in optimizer.param_groups]
    return ReduceLROnPlateau(
        optimizer, mode="min", factor=0.1, patience=patience - 1, threshold=0.0, min_lr=lowest
    )
