"""PNG files whose metadata or animation is odd, and whose pixels are whole."""

import struct
import zlib

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from deployments.common.errors import ImageTooLarge, UndecodableImage
from deployments.ingress.images.decode import decode
from deployments.ingress.images.preprocess import preprocess, to_upright_rgb
from testing.pictures import encode, make_picture
from testing.png import chunk, make_png, rgb_png

PICTURE = make_picture(1, 60, 50)
TWO_MIB = zlib.compress(b"0123456789abcdef" * 2**17)
EXIF = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
ANCILLARY = b"iCCP zTXt iTXt tEXt pHYs gAMA cHRM sRGB acTL tIME bKGD sBIT eXIf prVt".split()


def pixels(data: bytes, image_format: str = "PNG") -> NDArray[np.uint8]:
    decoded = decode(data, image_format, 10**6)
    return np.asarray(to_upright_rgb(decoded.image, decoded.orientation))


def fctl(sequence: int, width: int, height: int, left: int, top: int) -> bytes:
    values = (sequence, width, height, left, top, 1, 10, 0, 0)
    return chunk(b"fcTL", struct.pack(">IIIIIHHBB", *values))


def animate(frame: Image.Image, at: tuple[int, int], frames: int = 1, damage: int = 0) -> bytes:
    """An animation of one frame, to which the still picture does not belong."""
    rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in np.asarray(frame)))
    return rgb_png(
        PICTURE,
        before=[chunk(b"acTL", struct.pack(">II", frames, 0))],
        after=[
            fctl(0, *frame.size, *at),
            chunk(b"fdAT", struct.pack(">I", 1) + rows[:500]),
            chunk(b"fdAT", struct.pack(">I", 2) + rows[500:], damage),
        ],
    )


@pytest.mark.parametrize("kind", ANCILLARY)
@pytest.mark.parametrize(("data", "damage"), [(b"", 0), (b"abc", 0), (bytes(8), 1)])
@pytest.mark.parametrize("place", ["before", "after"])
def test_damaged_metadata_spoils_no_pixel(
    kind: bytes, data: bytes, damage: int, place: str
) -> None:
    odd = [chunk(kind, data, damage)]
    file = rgb_png(PICTURE, before=odd) if place == "before" else rgb_png(PICTURE, after=odd)
    assert (pixels(file) == np.asarray(PICTURE)).all()


@pytest.mark.parametrize(
    ("kind", "head"),
    [
        (b"zTXt", b"Comment\0\0"),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0"),
        (b"iCCP", b"profile\0\0"),
    ],
)
def test_large_metadata_spoils_no_pixel(kind: bytes, head: bytes) -> None:
    file = rgb_png(PICTURE, before=[chunk(kind, head + TWO_MIB)])
    assert (pixels(file) == np.asarray(PICTURE)).all()


@pytest.mark.parametrize("place", ["before", "after"])
def test_orientation_of_exif_is_kept(place: str) -> None:
    odd = [chunk(b"eXIf", EXIF)]
    file = rgb_png(PICTURE, before=odd) if place == "before" else rgb_png(PICTURE, after=odd)
    expected = np.asarray(PICTURE.transpose(Image.Transpose.ROTATE_270))
    assert (pixels(file) == expected).all()


@pytest.mark.parametrize("kind", [b"IHDR", b"PLTE"])
def test_damaged_critical_chunk_is_undecodable(kind: bytes) -> None:
    file = encode(PICTURE.quantize(), "PNG")
    position = file.index(kind)
    broken = file[: position + 4] + bytes([file[position + 4] ^ 1]) + file[position + 5 :]
    with pytest.raises(UndecodableImage):
        preprocess(broken, 10**9)


def test_picture_counts_if_only_what_follows_its_pixels_is_cut() -> None:
    file = rgb_png(PICTURE, after=[chunk(b"tEXt", b"Comment\0" + b"x" * 100)])
    end_of_pixels = file.index(b"tEXt") - 4
    # The checksums of the chunk and of the deflate stream are four bytes each.
    for length in [*range(end_of_pixels - 8, end_of_pixels + 30), len(file) - 12]:
        assert (pixels(file[:length]) == np.asarray(PICTURE)).all(), length


def test_missing_pixel_is_undecodable() -> None:
    file = rgb_png(PICTURE)
    with pytest.raises(UndecodableImage):
        preprocess(file[: file.index(b"IEND") - 40], 10**6)


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_transparent_grey_is_white_in_every_depth(depth: int) -> None:
    top = (1 << depth) - 1
    grey = (np.arange(64 * 8).reshape(8, 64) * 977 % (top + 1)).astype(np.uint32)
    for key in {0, 1, top // 2, top}:
        bits = (grey[..., None] >> np.arange(depth - 1, -1, -1)) & 1
        rows = [np.packbits(row.reshape(-1).astype(np.uint8)).tobytes() for row in bits]
        file = make_png((64, 8), depth, 0, rows, [chunk(b"tRNS", struct.pack(">H", key))])
        shown = np.where(grey == key, 255, grey * 255 // top)
        assert np.abs(pixels(file)[..., 0].astype(int) - shown).max() <= 1, key


def test_transparent_colour_of_16_bits_is_compared_in_all_of_them() -> None:
    values = np.full((4, 4, 3), 0x1234, ">u2")
    values[0, 0, 2] = 0x1235
    key = struct.pack(">HHH", *[0x1234] * 3)
    rows = [row.tobytes() for row in values]
    found = pixels(make_png((4, 4), 16, 2, rows, [chunk(b"tRNS", key)]))
    assert found[0, 0].tolist() == [0x12] * 3
    assert (found.reshape(-1, 3)[1:] == 255).all()


@pytest.mark.parametrize("size", [0, 1, 5, 7])
def test_transparency_of_a_wrong_length_is_ignored(size: int) -> None:
    file = rgb_png(PICTURE, before=[chunk(b"tRNS", bytes(size))])
    assert (pixels(file) == np.asarray(PICTURE)).all()


def test_first_frame_of_an_animation_counts_and_not_its_fallback() -> None:
    frame = make_picture(2, 30, 20)
    expected = Image.new("RGB", PICTURE.size, "white")
    expected.paste(frame, (10, 6))
    assert (pixels(animate(frame, (10, 6))) == np.asarray(expected)).all()


def test_fallback_that_is_the_first_frame_counts() -> None:
    file = encode(PICTURE, "PNG", save_all=True, append_images=[make_picture(2, 60, 50)])
    assert (pixels(file) == np.asarray(PICTURE)).all()


@pytest.mark.parametrize(("at", "damage"), [((40, 6), 0), ((10, 40), 0), ((10, 6), 1)])
def test_fallback_counts_if_the_first_frame_cannot(at: tuple[int, int], damage: int) -> None:
    file = animate(make_picture(2, 30, 20), at, damage=damage)
    assert (pixels(file) == np.asarray(PICTURE)).all()


def test_canvas_of_an_animation_is_limited() -> None:
    with pytest.raises(ImageTooLarge, match="60 x 50 pixels"):
        preprocess(animate(make_picture(2, 30, 20), (10, 6)), 60 * 50 - 1)
