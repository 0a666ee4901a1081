"""Files that lost their end, frames smaller than their canvas, and JPEGs at a reduced scale."""

import io
import struct

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms.functional import center_crop, resize

from deployments.common.errors import ImageTooLarge, UndecodableImage
from deployments.ingress.images.decode import decode
from deployments.ingress.images.preprocess import preprocess, to_upright_rgb
from testing.pictures import encode, make_picture

MAX_PIXELS = 50_000_000
NOISE = Image.fromarray(np.random.default_rng(1).integers(0, 256, (61, 75, 3), np.uint8))


def pixels(data: bytes, image_format: str) -> NDArray[np.uint8]:
    decoded = decode(data, image_format, MAX_PIXELS)
    return np.asarray(to_upright_rgb(decoded.image, decoded.orientation))


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("picture", [NOISE, make_picture(1)])
def test_jpeg_without_its_end_mark_is_decoded(
    picture: Image.Image, mode: str, progressive: bool
) -> None:
    data = encode(picture.convert(mode), "JPEG", progressive=progressive)
    for cut in (1, 2):
        assert (pixels(data[:-cut], "JPEG") == pixels(data, "JPEG")).all()


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", [0, 2])
@pytest.mark.parametrize("cut", [4, 5, 6, 10, 100])
def test_jpeg_that_lost_pixels_is_undecodable(
    progressive: bool, subsampling: int, cut: int
) -> None:
    data = encode(NOISE, "JPEG", progressive=progressive, subsampling=subsampling)
    with pytest.raises(UndecodableImage):
        preprocess(data[:-cut], MAX_PIXELS)


def test_progressive_jpeg_that_lost_a_whole_scan_is_undecodable() -> None:
    data = encode(make_picture(1), "JPEG", progressive=True)
    with pytest.raises(UndecodableImage):
        preprocess(data[: data.rindex(b"\xff\xda")], MAX_PIXELS)


def animate_webp(frame: Image.Image, at: tuple[int, int], canvas: tuple[int, int]) -> bytes:
    """Two frames on a canvas of which the header says that it has no alpha channel."""
    sides = [side.to_bytes(3, "little") for side in (at[0] // 2, at[1] // 2)]
    sides += [(side - 1).to_bytes(3, "little") for side in frame.size]
    anmf = b"".join([*sides, b"\x64\0\0\0", encode(frame, "WEBP", lossless=True)[12:]])
    corner = b"".join((side - 1).to_bytes(3, "little") for side in canvas)
    body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\2\0\0\0" + corner
    body += b"ANIM" + struct.pack("<I", 6) + b"\0\0\0\xff\0\0"
    body += 2 * (b"ANMF" + struct.pack("<I", len(anmf)) + anmf)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def place_gif(frame: Image.Image, at: tuple[int, int], canvas: tuple[int, int]) -> bytes:
    """A GIF whose frame stands on a larger screen; the palette's first colour is not white."""
    data = bytearray(encode(frame.quantize(200), "GIF"))
    data[6:10] = struct.pack("<HH", *canvas)
    position = data.index(b"," + bytes(4) + struct.pack("<HH", *frame.size))
    data[position + 1 : position + 5] = struct.pack("<HH", *at)
    return bytes(data)


@pytest.mark.parametrize("image_format", ["GIF", "WEBP"])
def test_canvas_that_the_first_frame_does_not_cover_is_white(image_format: str) -> None:
    frame = make_picture(1, 40, 30)
    make = place_gif if image_format == "GIF" else animate_webp
    expected = np.full((60, 100, 3), 255, np.uint8)
    shown = np.asarray(frame.quantize(200).convert("RGB") if image_format == "GIF" else frame)
    expected[10:40, 20:60] = shown
    data = make(frame, (20, 10), (100, 60))
    assert (pixels(data, image_format) == expected).all()


def test_damage_behind_the_first_frame_of_a_webp_spoils_no_pixel() -> None:
    data = animate_webp(make_picture(1, 40, 30), (20, 10), (100, 60))
    assert (pixels(data[:-20], "WEBP") == pixels(data, "WEBP")).all()


def test_metadata_of_a_webp_that_is_cut_spoils_no_pixel() -> None:
    data = encode(make_picture(1), "WEBP", xmp=bytes(1000))
    assert (pixels(data[:-100], "WEBP") == pixels(data, "WEBP")).all()


def difference(data: bytes, upright: Image.Image) -> NDArray[np.int64]:
    expected = np.asarray(center_crop(resize(upright.convert("RGB"), [256]), [224])).astype(int)
    found: NDArray[np.int64] = np.abs(preprocess(data, MAX_PIXELS).astype(int) - expected)
    return found


@pytest.mark.parametrize(
    ("short", "scale"),
    [(1023, 1), (2047, 1), (2048, 2), (2049, 2), (4096, 4), (4097, 4)],
)
def test_jpeg_at_a_reduced_scale_stays_within_the_bounds(short: int, scale: int) -> None:
    data = encode(make_picture(3).resize((short + 130, short)), "JPEG")
    assert decode(data, "JPEG", MAX_PIXELS).scale == scale
    with Image.open(io.BytesIO(data)) as full:
        found = difference(data, full)
    assert found.max() <= (1 if scale == 1 else 8)
    assert found.mean() <= 0.5


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_reduced_scale_keeps_mode_and_orientation(mode: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(
        make_picture(4).resize((2051, 2200)).convert(mode), "JPEG", exif=exif, progressive=True
    )
    assert decode(data, "JPEG", MAX_PIXELS).scale == 2
    with Image.open(io.BytesIO(data)) as full:
        turned = to_upright_rgb(full.convert("RGB"), orientation)
    found = difference(data, turned)
    assert found.max() <= 8
    assert found.mean() <= 0.5


def test_limit_counts_full_pixels_and_not_reduced_ones() -> None:
    data = encode(Image.new("L", (2048, 2048)), "JPEG")
    with pytest.raises(ImageTooLarge):
        preprocess(data, 2048 * 2048 - 1)
