"""How fast training images are loaded: shards of prepare.py against torchvision's ImageFolder.

    python benchmarks/loading.py PREPARED [ROUNDS]

Both read the same 256 x 256 JPEG images, take random 224 x 224 crops, reflect them at random, and
return batches of 128 uint8 images. Ours decodes a whole batch in a worker; ImageFolder decodes one
image at a time, each from its own file. The limit is simplejpeg decoding the same images and doing
nothing else. The three are timed in turn for ROUNDS (5) after a warm-up. Without workers, processor
seconds are measured.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from simplejpeg import decode_jpeg
from timing import alternate, ratio, spread
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from alexnet.data import ImageNet
from alexnet.sources.shards import ShardImages, read_index

BATCH = 128


def main() -> None:
    """Print a line for each number of workers."""
    prepared = sys.argv[1]
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    with tempfile.TemporaryDirectory() as folder:
        files = _write_files(Path(prepared), Path(folder))
        limit = _decoding(files)
        for workers in (0, 1, 2):
            ways = {"ours": _ours(prepared, workers), "ImageFolder": _theirs(folder, workers)}
            if not workers:
                ways["decoding alone"] = limit
            found = alternate(ways, repeats=rounds)
            print(f"{workers} workers, images/s")
            for name, speeds in found.items():
                line = f"  {name:<16}{spread(speeds, 0):>24}"
                if name != "ours":
                    line += f"   ours is {ratio(found['ours'], speeds)} times as fast"
                print(line)


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


def _decoding(files: list[Path]) -> Callable[[], float]:
    jpegs = [file.read_bytes() for file in files]

    def speed() -> float:
        began = time.process_time()
        for jpeg in jpegs:
            decode_jpeg(jpeg)
        return len(jpegs) / (time.process_time() - began)

    return speed


def _images_per_second(loader: DataLoader) -> float:
    now = time.perf_counter if loader.num_workers else time.process_time
    began = now()
    count = sum(len(batch[1]) for batch in loader)
    return count / (now() - began)


def _write_files(prepared: Path, folder: Path) -> list[Path]:
    """Write each training image of the shards to its own file, encoded as by prepare.py."""
    index = read_index(prepared)
    assert index is not None
    images = ShardImages(prepared, index.shards["train"])
    files = []
    for row, label in enumerate(images.labels):
        [pixels] = images.read(np.array([row]))
        file = folder / str(label) / f"{row}.jpeg"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels.transpose(1, 2, 0)).save(file, quality=95, subsampling=0)
        files.append(file)
    return files


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
