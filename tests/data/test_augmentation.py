import numpy as np
import pytest

from alexnet.data.augmentation import Augmenter, ColorNoise
from alexnet.sources.statistics import ColorComponents

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


def test_blocks_of_consecutive_images_share_crop_and_reflection():
    augmenter = Augmenter("crop24", np.zeros((3, 32, 32)), block=32)
    views = augmenter.draw(100, np.random.default_rng(0))
    for drawn in (views.reflected, views.top, views.left):
        assert len(drawn) == 100
        for start in range(0, 100, 32):
            assert len(set(drawn[start : start + 32])) == 1
    assert len(set(zip(views.top, views.left, strict=True))) > 1


def test_the_ten_views_are_the_corners_the_centre_and_their_reflections():
    images = random_images(pixels=256, count=2)
    views = Augmenter("crop224", images.mean(0)).views(images, 10)
    slices = [(0, 0), (0, 32), (32, 0), (32, 32), (16, 16)]
    assert views.shape == (2, 10, 3, 224, 224)
    for i, (top, left) in enumerate(slices):
        crop = images[:, :, top : top + 224, left : left + 224]
        assert np.array_equal(views[:, i], crop)
        assert np.array_equal(views[:, 5 + i], np.flip(crop, -1))


@pytest.mark.parametrize(
    ("scale", "spread"),
    [("deviation", [2.0, 3.0, 10.0]), ("variance", [4 / 255, 9 / 255, 100 / 255])],
)
def test_color_noise_has_the_spread_of_each_component_times_the_coefficient(scale, spread):
    vectors = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    components = ColorComponents(np.array([4.0, 9.0, 100.0]), vectors)
    noise = ColorNoise(components, coefficient=0.1, scale=scale)
    colors = noise.draw(200_000, np.random.default_rng(0))
    expected = vectors @ np.diag(0.1 * np.array(spread)) ** 2 @ vectors.T
    np.testing.assert_allclose(np.cov(colors.T), expected, atol=0.01 * expected.max())
    np.testing.assert_allclose(colors.mean(axis=0), 0, atol=0.01 * max(spread))


def test_color_noise_leaves_crops_and_reflections_as_they_were():
    components = ColorComponents(np.ones(3), np.eye(3))
    noise = ColorNoise(components, coefficient=0.1, scale="deviation")
    mean = np.zeros((3, 32, 32))
    plain, colored = (
        Augmenter("crop24", mean, color_noise=each).draw(50, np.random.default_rng(0))
        for each in (None, noise)
    )
    assert plain.color is None
    assert colored.color.shape == (50, 3)
    assert np.array_equal(plain.top, colored.top)
    assert np.array_equal(plain.reflected, colored.reflected)
