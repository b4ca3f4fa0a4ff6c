"""One photograph, whatever its file says it is, as section 2 wants it: 256 x 256 RGB."""

import io
import warnings
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError
from simplejpeg import decode_jpeg

PIXELS = 256

# What files of images are named. What is in one its content says, whatever its name.
SUFFIXES = (
    ".jpeg", ".jpg", ".jpe", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm",
)  # fmt: skip

# What a photograph can lie about. Values are the words in which it is told.
GREY = "grey"
CMYK = "CMYK"
NOT_JPEG = "not a JPEG"
PALETTE = "palette"
TRANSPARENT = "transparent, put on white"
SIXTEEN_BITS = "16 bits"
ROTATED = "turned by its EXIF orientation"
SEVERAL = "the first of several pictures"
HUGE = "huge, decoded at a fraction of its size"
ENLARGED = "enlarged"

_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")  # none that runs a program
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
# What one process may decode: 150 MB as RGB, a few times as much on the way. A baseline JPEG may
# have more, because its decoder keeps a few rows at a time and reduces them at once; up to Pillow's
# own limit, some 180 million.
_MOST_PIXELS = 50_000_000


class BadImage(ValueError):
    """It cannot be converted; the text is the reason."""


@dataclass(frozen=True)
class Photograph:
    """`jpeg` holds it as 256 x 256 RGB; `kinds` are those things about it that had to be mended."""

    jpeg: bytes
    kinds: tuple[str, ...]


def convert(content: bytes) -> Photograph:
    """Scale the shorter side to 256, cut out the central 256 x 256 (section 2), as JPEG.

    The central square is cut first and then scaled, which is the same but for the rounding of the
    longer side, and no thin strip becomes huge on the way. Shrinking, a pixel is a weighted mean of
    the pixels that it covers; enlarging is bicubic. JPEG has quality 95 and full colour resolution.

    Raises BadImage for what is no image, or a damaged one.
    """
    return _as_jpeg(_open(content, PIXELS))


def view(content: bytes, pixels: int) -> np.ndarray:
    """What a network that has learnt from images of `pixels` x `pixels` sees of any image.

    An image of that size is unchanged. Any other is brought there in one step; of 256 pixels, it is
    what `convert` makes of it, because those images were learnt from.

    Shape: (3, pixels, pixels), uint8. Raises BadImage as `convert` does.
    """
    square = _open(content, pixels)
    if pixels == PIXELS and square.was_scaled:
        return decode(_as_jpeg(square).jpeg)
    return np.asarray(square.image).transpose(2, 0, 1)


def decode(jpeg: bytes, into: np.ndarray | None = None) -> np.ndarray:
    """The pixels of what `convert` made: bit for bit Pillow's, in two thirds of the time.

    Shape: (3, 256, 256), uint8, with the channels last in memory. They lie in `into`, of the same
    kind, if it is given. Raises BadImage.
    """
    try:
        pixels = decode_jpeg(jpeg, buffer=None if into is None else into.transpose(1, 2, 0))
    except ValueError as error:
        raise BadImage(str(error)) from error
    if pixels.shape != (PIXELS, PIXELS, 3):
        raise BadImage(f"of shape {pixels.shape} instead of ({PIXELS}, {PIXELS}, 3)")
    return pixels.transpose(2, 0, 1)


class _Square(NamedTuple):
    """An RGB image, what had to be mended, and whether its file has another size."""

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
        # About sizes, which are checked here, and EXIF fields that nobody asks for.
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
                if image.format == "PNG":
                    _compare_sums(content)
                return _central_square(image, pixels)
        except BadImage:
            raise
        # A damaged file makes Pillow raise anything: SyntaxError, struct.error, IndexError, ...
        except Exception as error:
            raise BadImage(_reason(error, content)) from error


def _compare_sums(png: bytes) -> None:
    """Of every chunk, which Pillow does not do while it decodes; raises SyntaxError."""
    with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
        image.verify()


def _central_square(image: Image.Image, pixels: int) -> _Square:
    kinds: list[str] = []
    size = image.size
    if image.format not in ("JPEG", "MPO"):
        kinds.append(NOT_JPEG)
    elif image.width * image.height > _MOST_PIXELS and "progressive" not in image.info:
        # By up to 8, to no less than four times what is needed.
        needed = 4 * max(pixels, PIXELS)
        image.draft(None, (needed, needed))
        kinds.append(HUGE)
    if image.width * image.height > _MOST_PIXELS:
        raise BadImage(f"too large, {image.width} x {image.height} pixels")
    if getattr(image, "n_frames", 1) > 1:
        kinds.append(SEVERAL)
    # Before the orientation: Pillow decodes a PNG to find it, and what is damaged would be an error
    # of the orientation, and not be one again when the pixels are asked for.
    image.load()
    orientation = _orientation(image)

    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    rgb = _to_rgb(image.crop((left, top, left + side, top + side)), kinds)
    if side < pixels:
        kinds.append(ENLARGED)
    # BOX is the mean over whole pixels only, and so rough at the scales of photographs (2.9 levels
    # from the exact mean over areas on average; HAMMING 1.0).
    scaling = Image.Resampling.BICUBIC if side < pixels else Image.Resampling.HAMMING
    square = rgb.resize((pixels, pixels), scaling)
    if orientation in _TURN:
        kinds.append(ROTATED)
        square = square.transpose(_TURN[orientation])
    return _Square(square, tuple(kinds), was_scaled=size != (pixels, pixels))


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except Exception:  # EXIF is often damaged where the image is whole
        return 1


def _to_rgb(image: Image.Image, kinds: list[str]) -> Image.Image:
    if image.mode.startswith("I"):
        # Pillow would cut off what is above 255 without a word.
        levels = np.asarray(image)
        if levels.min() < 0 or levels.max() > 65535:
            raise BadImage("levels beyond 16 bits")
        kinds.append(SIXTEEN_BITS)
        image = Image.fromarray((levels // 257).astype(np.uint8))
    if image.mode == "F":
        raise BadImage("pixels are floating point numbers of an unknown range")
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
