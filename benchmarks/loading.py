"""How fast training images come: shards of prepare.py against torchvision's ImageFolder.

    python benchmarks/loading.py PREPARED [ROUNDS]

Both read the same 256 x 256 JPEG images, cut 224 x 224 at random, reflect, and hand over batches of
128 uint8 images. Ours decodes a whole batch in a worker; ImageFolder image by image, from files of
their own. Alternating, medians over ROUNDS (5) epochs after one to warm up.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from alexnet.data import ImageNet
from alexnet.sources.shards import ShardImages, read_index

BATCH = 128


def main() -> None:
    """Print a line for each way and number of workers."""
    prepared = sys.argv[1]
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    with tempfile.TemporaryDirectory() as folder:
        _write_files(Path(prepared), Path(folder))
        print("images/s, median (lowest to highest)")
        print(f"{'workers':>8} {'shards':>22} {'ImageFolder':>22}")
        for workers in (0, 1, 2):
            ways = (_ours(prepared, workers), _theirs(folder, workers))
            for way in ways:
                way()
            seconds = [[way() for way in ways] for _ in range(rounds)]
            columns = [sorted(each) for each in zip(*seconds, strict=True)]
            texts = [
                f"{statistics.median(speeds):.0f} ({speeds[0]:.0f} to {speeds[-1]:.0f})"
                for speeds in columns
            ]
            print(f"{workers:>8} {texts[0]:>22} {texts[1]:>22}")


def _ours(prepared: str, workers: int) -> Callable[[], float]:
    data = ImageNet(root=prepared, batch_size=BATCH, workers=workers, augmentation="crop224")
    data.setup("fit")
    loader = data.train_dataloader()
    return lambda: _images_per_second(loader)


def _theirs(folder: str, workers: int) -> Callable[[], float]:
    views = v2.Compose([v2.PILToTensor(), v2.RandomCrop(224), v2.RandomHorizontalFlip()])
    loader = DataLoader(
        ImageFolder(folder, views),
        batch_size=BATCH,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    return lambda: _images_per_second(loader)


def _images_per_second(loader: DataLoader) -> float:
    began = time.perf_counter()
    count = sum(len(batch[1]) for batch in loader)
    return count / (time.perf_counter() - began)


def _write_files(prepared: Path, folder: Path) -> None:
    """The training images of the shards, each encoded as prepare.py does, in a file of its own."""
    index = read_index(prepared)
    assert index is not None
    images = ShardImages(prepared, index.shards["train"])
    for row, label in enumerate(images.labels):
        [pixels] = images.read(np.array([row]))
        file = folder / str(label) / f"{row}.jpeg"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels.transpose(1, 2, 0)).save(file, quality=95, subsampling=0)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
