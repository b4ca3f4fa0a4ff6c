"""Statistics of the training images: the mean image (section 2) and colour components (4.1)."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ColorComponents:
    """Principal components of the RGB values of all pixels, smallest first (section 4.1).

    `eigenvalues` (3,) of their covariance, in squared levels of 0..255; `eigenvectors` (3, 3), with
    column i for eigenvalue i, in the sign that makes its largest entry positive.
    """

    eigenvalues: np.ndarray
    eigenvectors: np.ndarray


@dataclass(frozen=True)
class Sums:
    """Sums over images. They are sums of integers, so the order of addition does not matter.

    `image` (C, h, w) is the sum of the images, `products` (3, 3) the sum of the products r*r, r*g,
    ... over all pixels; a grey image counts as three equal channels.
    """

    count: int
    image: np.ndarray
    products: np.ndarray

    @classmethod
    def of(cls, images: np.ndarray) -> "Sums":
        """Sum uint8 images (N, C, h, w) with C = 3 or 1."""
        products = np.zeros((3, 3), np.int64)
        for image in images:
            # Below 2**53 for images of up to 3e11 pixels: float64 is exact, and multiplies faster.
            pixels = image.reshape(len(image), -1).astype(np.float64)
            products += (pixels @ pixels.T).astype(np.int64)  # (3, 3), or (1, 1) of grey
        return cls(len(images), images.sum(axis=0, dtype=np.int64), products)

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(
            self.count + other.count, self.image + other.image, self.products + other.products
        )

    @property
    def mean_image(self) -> np.ndarray:
        """The mean of each pixel, (C, h, w) in 0..255, float64."""
        return self.image / self.count

    def color_components(self) -> ColorComponents:
        """Return the components of the covariance of RGB over all pixels of all images."""
        pixels = self.count * self.image[0].size
        mean = np.broadcast_to(self.image.sum(axis=(1, 2)) / pixels, 3)
        eigenvalues, vectors = np.linalg.eigh(self.products / pixels - np.outer(mean, mean))
        largest = np.abs(vectors).argmax(axis=0)
        vectors = vectors * np.sign(vectors[largest, range(3)])
        return ColorComponents(eigenvalues.clip(min=0), vectors)  # rounding: -1e-13 is 0
