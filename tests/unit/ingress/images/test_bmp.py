"""BMP files in the variants that programs write."""

import io
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from deployments.common.errors import ImageTooLarge, UndecodableImage, UnsupportedImage
from deployments.ingress.images.decode import decode
from deployments.ingress.images.preprocess import preprocess, to_upright_rgb
from testing.bmp import make_bmp
from testing.pictures import make_picture

WIDTH, HEIGHT = 61, 50
PICTURE = np.asarray(make_picture(1, WIDTH, HEIGHT))
GREY = np.repeat(np.arange(256, dtype=np.uint8), 4).reshape(256, 4)
"""A palette in which an index is its own brightness."""


def pixels(data: bytes) -> NDArray[np.uint8]:
    decoded = decode(data, "BMP", 10**6)
    return np.asarray(to_upright_rgb(decoded.image, 1))


def pack(fields: Sequence[tuple[NDArray[np.uint8], int, int]], bits: int) -> list[bytes]:
    """Rows of pixels, bottom up, of (channel, its bits, the lowest of them)."""
    values = np.zeros((HEIGHT, WIDTH), np.uint32)
    for channel, size, shift in fields:
        top = (1 << size) - 1
        values |= (channel.astype(np.uint32) * top // 255) << np.uint32(shift)
    packed = values.astype(f"<u{bits // 8}")
    return [row.tobytes() for row in packed[::-1]]


@pytest.mark.parametrize(
    ("bits", "sizes", "shifts"),
    [
        (32, (8, 8, 8), (0, 8, 16)),
        (32, (8, 8, 8), (8, 16, 24)),
        (32, (10, 10, 10), (20, 10, 0)),
        (16, (4, 4, 4), (8, 4, 0)),
        (16, (5, 6, 5), (11, 5, 0)),
        (16, (5, 5, 5), (10, 5, 0)),
    ],
)
def test_bit_fields_may_stand_anywhere(
    bits: int, sizes: tuple[int, ...], shifts: tuple[int, ...]
) -> None:
    channels = [PICTURE[..., channel] for channel in range(3)]
    rows = pack(list(zip(channels, sizes, shifts, strict=True)), bits)
    masks = [((1 << size) - 1) << shift for size, shift in zip(sizes, shifts, strict=True)]
    data = make_bmp((WIDTH, HEIGHT), bits, rows, compression=3, masks=masks)
    step = 1 + 255 // ((1 << min(sizes)) - 1)  # both roundings are downwards
    assert np.abs(pixels(data).astype(int) - PICTURE).max() <= step


@pytest.mark.parametrize(("alpha", "expected"), [(0, 255), (255, 100), (51, 224)])
def test_alpha_field_is_laid_over_white(alpha: int, expected: int) -> None:
    grey = np.full((HEIGHT, WIDTH), 100, np.uint8)
    fields = [(grey, 8, 16), (grey, 8, 8), (grey, 8, 0), (np.full_like(grey, alpha), 8, 24)]
    masks = [0xFF0000, 0xFF00, 0xFF, 0xFF000000]
    rows = pack(fields, 32)
    data = make_bmp((WIDTH, HEIGHT), 32, rows, compression=3, masks=masks, header_bytes=124)
    assert np.abs(pixels(data).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("header_bytes", [12, 16, 40, 64, 108, 124])
def test_palettes_have_any_depth_and_header(bits: int, header_bytes: int) -> None:
    indices = (PICTURE[..., 0] >> (8 - bits)).astype(np.uint8)
    planes = (indices[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    rows = [np.packbits(row.reshape(-1)).tobytes() for row in planes[::-1]]
    palette = GREY[: 1 << bits, : 3 if header_bytes == 12 else 4].tobytes()
    data = make_bmp((WIDTH, HEIGHT), bits, rows, palette=palette, header_bytes=header_bytes)
    assert (pixels(data)[..., 1] == indices).all()


def test_palette_may_be_larger_than_its_indices_can_name() -> None:
    rows = [row.tobytes() for row in PICTURE[::-1, :, 0]]
    palette = GREY.tobytes() + bytes(44 * 4)
    data = make_bmp((WIDTH, HEIGHT), 8, rows, palette=palette, colours=300)
    assert (pixels(data)[..., 1] == PICTURE[..., 0]).all()


def test_rows_may_stand_top_down_and_the_last_without_padding() -> None:
    rows = [row.tobytes() for row in PICTURE[..., ::-1]]
    data = make_bmp((WIDTH, -HEIGHT), 24, rows)
    padding = -3 * WIDTH % 4
    assert padding
    assert (pixels(data[:-padding]) == PICTURE).all()
    with pytest.raises(UndecodableImage):
        preprocess(data[: -padding - 1], 10**6)


def test_runs_of_colours_are_expanded_and_skipped_pixels_are_white() -> None:
    # Bottom row: three times 7, then 1 2 3 literally. Then two rows up and one right, 9 twice.
    runs = b"\x03\x07\0\x03\x01\x02\x03\0" + b"\0\0" + b"\0\x02\x01\x01" + b"\x02\x09" + b"\0\x01"
    data = make_bmp((6, 4), 8, [runs], palette=GREY.tobytes(), compression=1)
    expected = np.full((4, 6), 255)
    expected[3] = [7, 7, 7, 1, 2, 3]
    expected[1, 1:3] = 9
    assert (pixels(data)[..., 0] == expected).all()


def test_runs_of_four_bits_alternate_between_two_colours() -> None:
    runs = b"\x05\x12" + b"\0\x01"
    data = make_bmp((5, 1), 4, [runs], palette=GREY[:16].tobytes(), compression=2)
    assert pixels(data)[0, :, 0].tolist() == [1, 2, 1, 2, 1]


def test_runs_that_end_before_the_picture_are_undecodable() -> None:
    data = make_bmp((6, 4), 8, [b"\x03\x07"], palette=GREY.tobytes(), compression=1)
    with pytest.raises(UndecodableImage):
        preprocess(data, 10**6)


@pytest.mark.parametrize(
    ("bits", "compression", "header_bytes"), [(24, 4, 64), (0, 4, 40), (0, 5, 40), (1, 3, 64)]
)
def test_other_variants_are_unsupported_by_name(
    bits: int, compression: int, header_bytes: int
) -> None:
    data = make_bmp((4, 4), bits, [bytes(64)], compression=compression, header_bytes=header_bytes)
    with pytest.raises(UnsupportedImage, match=f"variant of BMP .*compression {compression}"):
        preprocess(data, 10**6)


def test_pixels_are_limited_by_the_header_alone() -> None:
    data = make_bmp((60_000, 60_000), 8, [b"\0\x01"], palette=GREY.tobytes(), compression=1)
    with pytest.raises(ImageTooLarge, match="60000 x 60000 pixels"):
        preprocess(data, 10**6)


def test_pillow_reads_what_the_tests_write() -> None:
    rows = [row.tobytes() for row in PICTURE[::-1, :, ::-1]]
    with Image.open(io.BytesIO(make_bmp((WIDTH, HEIGHT), 24, rows))) as image:
        assert (np.asarray(image) == PICTURE).all()
