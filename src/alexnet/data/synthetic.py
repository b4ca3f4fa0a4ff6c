import numpy as np
from typing_extensions import Unpack, override

from alexnet.data.batches import LabelledImages
from alexnet.data.image_module import ImageModule, Settings
from alexnet.vocabulary import Positive

_SEED = 2012
_PIXELS = 32
_PATTERN_CELLS = 4  # coarse enough to be recognized at any size, and after a crop
_NOISE_LEVELS = 32


class Synthetic(ImageModule):
    """Generated images that are easy to learn, for trial runs: one pattern per class, plus noise.

    There are `num_images` for training, and a quarter as many each for validation and test. `size`
    is their height and width in pixels (None: the network's input size). The images do not depend
    on `seed`, which only determines their order.
    """

    def __init__(
        self,
        *,
        num_images: Positive = 512,
        num_classes: Positive = 10,
        size: Positive | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        self.num_images = num_images
        self.size = settings.get("image_size") or _PIXELS if size is None else size
        for name, value in (
            ("num_images", num_images),
            ("num_classes", num_classes),
            ("size", self.size),
        ):
            if value < 1:
                raise ValueError(f"data.{name} is {value}, must be at least 1")
        super().__init__(
            class_names=tuple(f"class {i}" for i in range(num_classes)),
            pixels=self.size,
            **settings,
        )

    @override
    def load_train_and_val(self) -> tuple[LabelledImages, LabelledImages]:
        return self._make(self.num_images, part=0), self._make(self._num_held_out, part=1)

    @override
    def load_test(self) -> LabelledImages:
        return self._make(self._num_held_out, part=2)

    @property
    def _num_held_out(self) -> int:
        return max(1, self.num_images // 4)

    def _make(self, count: int, part: int) -> LabelledImages:
        shape = (self.num_classes, 3, _PATTERN_CELLS, _PATTERN_CELLS)
        cells = np.random.default_rng(_SEED).integers(
            _NOISE_LEVELS, 256 - _NOISE_LEVELS, shape, dtype=np.uint8
        )
        # Nearest neighbour, (num_classes, 3, size, size)
        position = np.arange(self.size) * _PATTERN_CELLS // self.size
        patterns = cells[:, :, position[:, None], position]
        labels = np.arange(count) % self.num_classes
        images = np.random.default_rng((_SEED, part + 1)).integers(
            2 * _NOISE_LEVELS, size=(count, 3, self.size, self.size), dtype=np.uint8
        )
        # Cannot leave 0..255: the noise adds -32..31 to 32..223.
        images += (patterns - _NOISE_LEVELS)[labels]
        return LabelledImages(images, labels)
