"""CifarNet and AlexNet, forward and backward: channels last against torch's default order.

    python benchmarks/memory_format.py [threads]

Prints the median seconds of a step (processor time if there is one thread) and the ratio. The two
orders alternate within one run.
"""

import statistics
import sys

import torch
from timing import now
from torch.nn import functional

from alexnet.model import AlexNet, CifarNet

REPEATS = 9


def step_seconds(net: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Time one forward and backward pass."""
    began = now()
    functional.cross_entropy(net(images), labels).backward()
    return now() - began


def main() -> None:
    """Compare both networks in both orders."""
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else torch.get_num_threads())
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, median of {REPEATS}")
    for make, batch_size in ((CifarNet, 128), (AlexNet, 32)):
        for normalization in ("none", "lrn"):
            net = make(normalization=normalization)
            images = 60 * torch.randn(batch_size, 3, net.image_size, net.image_size)
            labels = torch.arange(batch_size) % 10
            seconds: dict[torch.memory_format, list[float]] = {
                torch.contiguous_format: [],
                torch.channels_last: [],
            }
            for repeat in range(REPEATS + 1):
                for order, times in seconds.items():
                    net.to(memory_format=order)
                    took = step_seconds(net, images.to(memory_format=order), labels)
                    if repeat:  # the first is a warm-up
                        times.append(took)
            default, last = (statistics.median(times) for times in seconds.values())
            print(
                f"{make.__name__:9} normalization={normalization:5} batch {batch_size:3}: default "
                f"{default:.3f} s, channels last {last:.3f} s, {default / last:.2f} times as fast"
            )


if __name__ == "__main__":
    main()
