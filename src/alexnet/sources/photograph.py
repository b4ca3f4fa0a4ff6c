"""Preprocessing of one photograph as in section 2, 256 x 256 RGB, whatever its file format."""

import io
import warnings
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError
from simplejpeg import decode_jpeg

PIXELS = 256

# Suffixes of image files. The format is determined by the content, not by the suffix.
SUFFIXES = (
    ".jpeg", ".jpg", ".jpe", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm",
)  # fmt: skip

# Kinds of conversion, in the words in which they are reported.
GREY = "grey"
CMYK = "CMYK"
NOT_JPEG = "not a JPEG"
PALETTE = "palette"
TRANSPARENT = "transparent, placed on white"
SIXTEEN_BITS = "16 bits"
ROTATED = "rotated by its EXIF orientation"
SEVERAL = "the first of several pictures"
HUGE = "huge, decoded at a fraction of its size"
ENLARGED = "enlarged"

_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")  # none can contain a program
_WITH_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
_ORIENTATION = 0x0112
_TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# The most pixels that a process decodes: 150 MB as RGB, and a few times as much while decoding. A
# baseline JPEG may have more, because its decoder reduces a few rows at a time; Pillow's own limit,
# about 180 million, remains.
_MOST_PIXELS = 50_000_000


class BadImage(ValueError):
    """The image cannot be converted; the message is the reason."""


@dataclass(frozen=True)
class Photograph:
    """A converted photograph: 256 x 256 RGB as JPEG, and the kinds of conversion it needed."""

    jpeg: bytes
    kinds: tuple[str, ...]


def convert(content: bytes) -> Photograph:
    """Scale the shorter side to 256 and cut out the central 256 x 256 (section 2), as JPEG.

    The central square is cut first and then scaled: the result is the same except for the rounding
    of the longer side, and a thin strip does not become huge. When shrinking, a pixel is a weighted
    mean of the pixels that it covers; enlarging is bicubic. The JPEG has quality 95 and full colour
    resolution.

    Raises BadImage for a file that is not an image, or is damaged.
    """
    return _as_jpeg(_open(content, PIXELS))


def view(content: bytes, pixels: int) -> np.ndarray:
    """Return an image at the size of the training images, `pixels` x `pixels`.

    An image of that size is unchanged. The central square of any other is scaled in one step; for
    256 pixels the result goes through `convert`, JPEG included, as the training images did.

    Shape: (3, pixels, pixels), uint8. Raises BadImage as `convert` does.
    """
    square = _open(content, pixels)
    if pixels == PIXELS and square.was_scaled:
        return decode(_as_jpeg(square).jpeg)
    return np.asarray(square.image).transpose(2, 0, 1)


def decode(jpeg: bytes, into: np.ndarray | None = None) -> np.ndarray:
    """Decode the output of `convert`: bit-identical to Pillow, in two thirds of the time.

    Shape: (3, 256, 256), uint8, with the channels last in memory, written into `into` if given,
    which has the same layout. Raises BadImage.
    """
    try:
        pixels = decode_jpeg(jpeg, buffer=None if into is None else into.transpose(1, 2, 0))
    except ValueError as error:
        raise BadImage(str(error)) from error
    if pixels.shape != (PIXELS, PIXELS, 3):
        raise BadImage(f"has shape {pixels.shape} instead of ({PIXELS}, {PIXELS}, 3)")
    return pixels.transpose(2, 0, 1)


class _Square(NamedTuple):
    """A square RGB image, the kinds of conversion it needed, and whether its size changed."""

    image: Image.Image
    kinds: tuple[str, ...]
    was_scaled: bool


def _as_jpeg(square: _Square) -> Photograph:
    jpeg = io.BytesIO()
    square.image.save(jpeg, "JPEG", quality=95, subsampling=0)
    return Photograph(jpeg.getvalue(), square.kinds)


def _open(content: bytes, pixels: int) -> _Square:
    if not content:
        raise BadImage("an empty file")
    with warnings.catch_warnings():
        # Pillow warns about sizes, which are checked here, and about EXIF fields that are not used.
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
                if image.format == "PNG":
                    _compare_sums(content)
                return _central_square(image, pixels)
        except BadImage:
            raise
        # For a damaged file Pillow can raise anything: SyntaxError, struct.error, IndexError, ...
        except Exception as error:
            raise BadImage(_reason(error, content)) from error


def _compare_sums(png: bytes) -> None:
    """Verify the checksum of every chunk, which decoding does not; raises SyntaxError."""
    with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
        image.verify()


def _central_square(image: Image.Image, pixels: int) -> _Square:
    kinds: list[str] = []
    size = image.size
    if image.format not in ("JPEG", "MPO"):
        kinds.append(NOT_JPEG)
    elif image.width * image.height > _MOST_PIXELS and "progressive" not in image.info:
        # Reduce by a factor of up to 8, to at least four times the needed size.
        needed = 4 * max(pixels, PIXELS)
        image.draft(None, (needed, needed))
        kinds.append(HUGE)
    if image.width * image.height > _MOST_PIXELS:
        raise BadImage(f"too large, {image.width} x {image.height} pixels")
    if getattr(image, "n_frames", 1) > 1:
        kinds.append(SEVERAL)
    # Load before reading the orientation. For a PNG, Pillow decodes the image to find it: an error
    # in a damaged file would be raised there, and not again when the pixels are read.
    image.load()
    orientation = _orientation(image)

    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    rgb = _to_rgb(image.crop((left, top, left + side, top + side)), kinds)
    if side < pixels:
        kinds.append(ENLARGED)
    # BOX averages whole pixels only, which is inexact at the scales of photographs (on average 2.9
    # levels from the exact mean over areas; HAMMING 1.0).
    scaling = Image.Resampling.BICUBIC if side < pixels else Image.Resampling.HAMMING
    square = rgb.resize((pixels, pixels), scaling)
    if orientation in _TURN:
        kinds.append(ROTATED)
        square = square.transpose(_TURN[orientation])
    return _Square(square, tuple(kinds), was_scaled=size != (pixels, pixels))


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except Exception:  # EXIF data are often damaged in intact images
        return 1


def _to_rgb(image: Image.Image, kinds: list[str]) -> Image.Image:
    if image.mode.startswith("I"):
        # Pillow would silently clip values above 255.
        levels = np.asarray(image)
        if levels.min() < 0 or levels.max() > 65535:
            raise BadImage("pixel values exceed 16 bits")
        kinds.append(SIXTEEN_BITS)
        image = Image.fromarray((levels // 257).astype(np.uint8))
    if image.mode == "F":
        raise BadImage("pixels are floating-point numbers of unknown range")
    if image.mode == "CMYK":
        kinds.append(CMYK)
    if image.mode in ("P", "PA"):
        kinds.append(PALETTE)
    if image.mode in ("1", "L", "LA", "La"):
        kinds.append(GREY)
    if image.mode in _WITH_ALPHA or "transparency" in image.info:
        if image.mode == "La":
            image = image.convert("LA")
        rgba = image.convert("RGBA")
        kinds.append(TRANSPARENT)
        paper = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(paper, rgba).convert("RGB")
    return image.convert("RGB")


def _reason(error: Exception, content: bytes) -> str:
    if isinstance(error, UnidentifiedImageError):
        return f"not an image: it begins with {content[:8]!r}"
    if isinstance(error, MemoryError | Image.DecompressionBombError):
        return f"too large: {error}"
    if "truncated" in str(error).lower():
        return f"truncated: {error}"
    return f"damaged: {type(error).__name__}: {error}"
