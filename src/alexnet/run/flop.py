"""How much arithmetic a network takes."""

import logging

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

log = logging.getLogger("alexnet.train")


def forward_flop(net: nn.Module, image_size: int | None) -> int | None:
    """Return the FLOP of one image's forward pass, as torch counts them.

    They are those of convolutions and matrix products, two for a multiply-add; norms, pooling and
    nonlinearities are not counted. None if the network takes no image of this size. The network
    and the random numbers are left as they were.
    """
    # Only forward: torch's count of the backward pass is wrong for convolutions in groups. The
    # method is called, because the module may be compiled.
    if image_size is None:
        return None
    modes = [(module, module.training) for module in net.modules()]
    dtype = next((each.dtype for each in net.parameters()), torch.float32)
    counter = FlopCounterMode(display=False)
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad(), counter:
            net.eval().forward(torch.zeros(1, 3, image_size, image_size, dtype=dtype))
    except Exception as error:
        log.debug("the FLOP of the network are not known: %s", error)
        return None
    finally:
        for module, is_training in modes:
            module.training = is_training
    return counter.get_total_flops()
