import numpy as np
import pytest

from alexnet.sources.statistics import Sums


def random_images(count=20, channels=3):
    random = np.random.default_rng(0)
    base = random.integers(200, size=(count, 1, 6, 5))
    return (base + random.integers(56, size=(count, channels, 6, 5))).astype(np.uint8)


def test_the_mean_image_is_that_of_a_slow_loop():
    images = random_images()
    total = np.zeros((3, 6, 5))
    for image in images:
        total += image
    assert np.array_equal(Sums.of(images).mean_image, total / 20)


def test_the_components_are_those_of_numpys_covariance():
    images = random_images()
    components = Sums.of(images).color_components()
    pixels = images.transpose(1, 0, 2, 3).reshape(3, -1).astype(float)
    values, vectors = components.eigenvalues, components.eigenvectors
    np.testing.assert_allclose(vectors @ np.diag(values) @ vectors.T, np.cov(pixels, bias=True))
    assert (np.diff(values) > 0).all()
    assert (vectors[np.abs(vectors).argmax(axis=0), range(3)] > 0).all()


def test_parts_add_up_to_the_whole_exactly():
    images = random_images()
    whole, parts = Sums.of(images), Sums.of(images[:7]) + Sums.of(images[7:])
    assert parts.count == whole.count
    assert np.array_equal(parts.image, whole.image)
    assert np.array_equal(parts.products, whole.products)


def test_grey_images_vary_along_the_grey_axis_alone():
    components = Sums.of(random_images(channels=1)).color_components()
    np.testing.assert_allclose(components.eigenvalues[:2], 0, atol=1e-9)
    np.testing.assert_allclose(components.eigenvectors[:, 2], 3**-0.5)
    assert components.eigenvalues[2] == pytest.approx(3 * random_images(channels=1).var())
