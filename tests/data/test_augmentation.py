import numpy as np
import pytest

from alexnet.data.augmentation import Augmenter

COUNT = 200


def random_images(pixels=32, count=COUNT):
    return np.random.default_rng(0).integers(256, size=(count, 3, pixels, pixels), dtype=np.uint8)


def test_crop24_reflects_and_crops_every_image_by_itself():
    images = random_images()
    augmenter = Augmenter("crop24", images.mean(0))
    views = augmenter.draw(COUNT, np.random.default_rng(1))
    seen = augmenter.apply(images, views)
    assert seen.shape == (COUNT, 3, 24, 24)
    for i in range(COUNT):
        image = images[i, :, :, ::-1] if views.reflected[i] else images[i]
        for row in range(24):
            expected = image[:, views.top[i] + row, views.left[i] : views.left[i] + 24]
            assert np.array_equal(seen[i, :, row], expected)


def test_pad4_moves_every_image_and_shows_the_mean_where_nothing_is_known():
    images = random_images()
    mean = images.mean(0)
    augmenter = Augmenter("pad4", mean)
    views = augmenter.draw(COUNT, np.random.default_rng(1))
    seen = augmenter.apply(images, views)
    for i in range(COUNT):
        image = images[i, :, :, ::-1] if views.reflected[i] else images[i]
        for row in range(32):
            for column in range(32):
                y, x = row + views.top[i] - 4, column + views.left[i] - 4
                if 0 <= y < 32 and 0 <= x < 32:
                    expected = image[:, y, x]
                else:
                    expected = mean[:, row, column].round()
                assert np.array_equal(seen[i, :, row, column], expected)


@pytest.mark.parametrize(("kind", "pixels"), [("crop24", 32), ("crop24", 28), ("pad4", 32)])
def test_every_position_and_both_reflections_are_drawn(kind, pixels):
    views = Augmenter(kind, np.zeros((3, pixels, pixels))).draw(5000, np.random.default_rng(0))
    positions = 5 if pixels == 28 else 9
    assert set(views.top) == set(views.left) == set(range(positions))
    assert 0.45 < views.reflected.mean() < 0.55


def test_the_original_images_are_left_alone():
    images = random_images()
    before = images.copy()
    for kind in ("none", "crop24", "pad4"):
        augmenter = Augmenter(kind, images.mean(0))
        augmenter.apply(images, augmenter.draw(COUNT, np.random.default_rng(1)))
    assert np.array_equal(images, before)


def test_evaluation_takes_the_central_crop():
    images = random_images(count=1)
    central = Augmenter("crop24", images.mean(0)).central(images)
    assert np.array_equal(central, images[:, :, 4:28, 4:28])
    assert Augmenter("pad4", images.mean(0)).central(images) is images
