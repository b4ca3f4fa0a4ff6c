import contextlib
import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from alexnet.sources import photograph as kinds
from alexnet.sources.photograph import BadImage, convert, decode, view
from tests.preparation.photographs import encode, photograph


def pixels_of(content: bytes) -> np.ndarray:
    return decode(convert(content).jpeg).transpose(1, 2, 0).astype(int)


def exif(orientation: int) -> Image.Exif:
    found = Image.Exif()
    found[0x0112] = orientation
    return found


def halves(mode: str = "RGB", size: tuple[int, int] = (256, 256)) -> Image.Image:
    """The left half red (grey: dark), the right half white."""
    image = Image.new("RGB", size, "white")
    image.paste((200, 0, 0), (0, 0, size[0] // 2, size[1]))
    return image.convert(mode)


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims to be of this size, grey, 8 bits, all zeros (as a bomb would)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    rows = zlib.compressobj()
    packed = b"".join(rows.compress(bytes(width + 1)) for _ in range(height)) + rows.flush()
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (encode(halves()), ()),
        (encode(halves("L")), (kinds.GREY,)),
        (encode(halves("CMYK")), (kinds.CMYK,)),
        (encode(halves(), "PNG"), (kinds.NOT_JPEG,)),
        (encode(halves(), "BMP"), (kinds.NOT_JPEG,)),
        (encode(halves(), "GIF"), (kinds.NOT_JPEG, kinds.PALETTE)),
        (encode(halves(), "WEBP", lossless=True), (kinds.NOT_JPEG,)),
        (encode(halves("P"), "PNG"), (kinds.NOT_JPEG, kinds.PALETTE)),
        (encode(halves("RGBA"), "PNG"), (kinds.NOT_JPEG, kinds.TRANSPARENT)),
        (encode(halves("LA"), "PNG"), (kinds.NOT_JPEG, kinds.GREY, kinds.TRANSPARENT)),
        (encode(halves("1"), "PNG"), (kinds.NOT_JPEG, kinds.GREY)),
        (
            encode(halves(), "GIF", save_all=True, append_images=[halves("L")]),
            (kinds.NOT_JPEG, kinds.SEVERAL, kinds.PALETTE),
        ),
        (encode(halves(), exif=exif(1)), ()),
        (encode(halves(size=(100, 100))), (kinds.ENLARGED,)),
    ],
)
def test_what_a_photograph_is_mended_of_is_told_and_its_pixels_are_right(content, expected):
    assert convert(content).kinds == expected

    left, right = pixels_of(content)[128, 40], pixels_of(content)[128, 216]
    assert right.min() > 240
    if {kinds.GREY} & set(expected):
        assert left.max() - left.min() <= 2  # grey
        assert left.max() < 90
    else:
        assert np.abs(left - (200, 0, 0)).max() < 25


def test_all_that_is_transparent_is_white():
    clear = Image.new("RGBA", (256, 256), (0, 0, 0, 0))
    assert pixels_of(encode(clear, "PNG")).min() == 255
    clear_palette = halves("P")
    content = encode(clear_palette, "PNG", transparency=clear_palette.getpixel((0, 0)))
    assert pixels_of(content)[128, 40].min() > 250


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_photograph_is_turned_as_its_camera_says(orientation):
    upright = photograph(0, (256, 256))
    turns = {
        2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2), 6: lambda a: np.rot90(a, -1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2), 8: lambda a: np.rot90(a),
    }  # fmt: skip
    content = encode(upright, exif=exif(orientation), quality=95, subsampling=0)

    assert convert(content).kinds == (kinds.ROTATED,)
    difference = pixels_of(content) - turns[orientation](np.asarray(upright).astype(int))
    assert np.abs(difference).mean() < 1


def test_16_bits_are_scaled_and_not_cut_off():
    levels = np.tile(np.linspace(0, 65535, 256).astype(np.uint16), (256, 1))

    content = encode(Image.fromarray(levels), "PNG")

    assert kinds.SIXTEEN_BITS in convert(content).kinds
    assert np.abs(pixels_of(content)[..., 0] - np.arange(256)).max() <= 2


def test_floating_point_pixels_are_refused():
    content = encode(Image.fromarray(np.ones((8, 8), np.float32)), "TIFF")
    with pytest.raises(BadImage, match="unknown range"):
        convert(content)


whole = encode(photograph(0, (300, 280)))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "an empty file"),
        (b"<html>not found</html>", "not an image: it begins with b'<html>no'"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        (whole[: len(whole) // 2], "truncated"),
        (encode(photograph(0, (300, 280)), "PNG")[:3000], "truncated"),
        (whole[:200], "."),
        (bytes(5000), "not an image"),
        (encode(Image.new("1", (60_000, 60_000)), "PNG"), "too large"),
    ],
)
def test_what_cannot_be_converted_has_a_reason(content, reason):
    with pytest.raises(BadImage, match=reason):
        convert(content)


def test_neither_bombs_nor_strips_nor_huge_images_take_much_memory(tmp_path):
    (tmp_path / "bomb").write_bytes(png_header(12_000, 9_000))
    (tmp_path / "strip").write_bytes(encode(Image.new("RGB", (60_000, 2), "red")))
    (tmp_path / "huge").write_bytes(encode(halves("L", (12_000, 10_000))))
    assert (tmp_path / "bomb").stat().st_size < 200_000
    program = f"""
import pathlib, resource
from alexnet.sources.photograph import BadImage, convert
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for name in ("bomb", "strip", "huge"):
    try:
        print(name, convert(pathlib.Path({str(tmp_path)!r}, name).read_bytes()).kinds)
    except BadImage as error:
        print(name, error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    bomb, strip, huge, kilobytes = ran.stdout.splitlines()
    assert bomb == "bomb too large, 12000 x 9000 pixels"
    assert strip == f"strip ({kinds.ENLARGED!r},)"
    assert huge == f"huge ({kinds.HUGE!r}, {kinds.GREY!r})"
    assert int(kilobytes) < 60_000  # decoded whole, each of bomb and huge would be 100 MB or more


def test_a_huge_jpeg_is_decoded_at_a_fraction_of_its_size():
    content = encode(halves(size=(9000, 6000)))

    assert convert(content).kinds == (kinds.HUGE,)
    assert np.abs(pixels_of(content)[128, 40] - (200, 0, 0)).max() < 25


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"])
def test_a_damaged_file_is_converted_or_refused_and_never_a_crash(format):
    content = encode(photograph(0, (40, 30)), format)
    random = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(content)
        for at in random.integers(len(content), size=3):
            damaged[at] = random.integers(256)
        with contextlib.suppress(BadImage):
            assert decode(convert(bytes(damaged)).jpeg).shape == (3, 256, 256)


@pytest.mark.parametrize("size", [(256, 256), (401, 256), (256, 333)])
def test_at_the_right_size_the_central_square_is_cut_out(size):
    image = photograph(3, size)
    left, top = (size[0] - 256) // 2, (size[1] - 256) // 2

    found = pixels_of(encode(image, "PNG"))

    expected = np.asarray(image)[top : top + 256, left : left + 256].astype(int)
    assert np.abs(found - expected).mean() < 0.6  # JPEG


def test_shrinking_takes_the_mean_over_areas():
    random = np.random.default_rng(0)
    noise = random.integers(256, size=(768, 1024, 3), dtype=np.uint8)
    blocks = noise[:, 128:-128].reshape(256, 3, 256, 3, 3).mean(axis=(1, 3))

    found = pixels_of(encode(Image.fromarray(noise), "PNG"))

    # Weighted, so not the plain mean; nearest neighbours would differ by 60 levels.
    assert np.abs(found - blocks).mean() < 12
    assert abs(found.mean() - noise.mean()) < 1


def test_it_is_stored_as_a_jpeg_of_full_colour_resolution():
    with Image.open(io.BytesIO(convert(encode(photograph(0))).jpeg)) as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (256, 256))
        assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3


def gradient(size: tuple[int, int]) -> Image.Image:
    """A PNG so small that Pillow decodes it without noticing what is missing."""
    levels = np.add.outer(np.arange(size[1]), np.arange(size[0])) % 256
    return Image.fromarray(np.stack([levels] * 3, axis=-1).astype(np.uint8))


@pytest.mark.parametrize("image", [gradient((260, 200)), photograph(0, (260, 200))])
def test_a_png_with_damage_anywhere_is_refused(image):
    content = encode(image, "PNG")
    for at in (len(content) * np.arange(1, 10) // 10).tolist():
        for damage in (b"\xff" * 50, bytes(50), bytes([content[at] ^ 1])):
            damaged = content[:at] + damage + content[at + len(damage) :]
            if damaged == content:
                continue
            with pytest.raises(BadImage, match=r"damaged|truncated"):
                convert(damaged)


def test_colours_of_lab_are_not_called_transparent():
    profiles = (ImageCms.createProfile(name) for name in ("sRGB", "LAB"))
    lab = ImageCms.applyTransform(
        halves(), ImageCms.buildTransform(*profiles, inMode="RGB", outMode="LAB")
    )

    assert convert(encode(lab, "TIFF")).kinds == (kinds.NOT_JPEG,)


@pytest.mark.parametrize("pixels", [32, 256])
def test_an_image_of_the_size_that_is_asked_for_is_unchanged(pixels):
    noise = np.random.default_rng(0).integers(256, size=(pixels, pixels, 3), dtype=np.uint8)

    assert np.array_equal(
        view(encode(Image.fromarray(noise), "PNG"), pixels).transpose(1, 2, 0), noise
    )


def test_another_size_is_reached_in_one_step():
    # An area of 8 x 8 pixels of one colour becomes a pixel: twice scaled, its neighbours mix in.
    cells = np.random.default_rng(0).integers(256, size=(32, 32, 3), dtype=np.uint8)
    large = Image.fromarray(cells).resize((128, 128), Image.Resampling.NEAREST)
    expected = np.asarray(large.resize((32, 32), Image.Resampling.HAMMING))

    found = view(encode(large, "PNG"), 32).transpose(1, 2, 0)

    assert np.array_equal(found, expected)


def test_for_a_network_of_prepared_images_it_is_what_they_were_made_of():
    content = encode(photograph(3, (300, 280)))

    assert np.array_equal(view(content, 256), decode(convert(content).jpeg))
