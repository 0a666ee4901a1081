"""Decoding: every form of image, against torchvision's own transforms."""

import io
import struct
import zlib

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms.functional import center_crop, resize

from deployments.common.errors import ImageTooLarge, UndecodableImage, UnsupportedImage
from deployments.ingress.images.preprocess import preprocess
from testing.pictures import encode, list_photos, make_picture

MAX_PIXELS = 50_000_000


def reference(image: Image.Image) -> NDArray[np.int16]:
    """What torchvision makes of an upright RGB picture, before it becomes floats."""
    return np.asarray(center_crop(resize(image.convert("RGB"), [256]), [224])).astype(np.int16)


def decode_wide(data: bytes) -> NDArray[np.int16]:
    return preprocess(data, MAX_PIXELS).astype(np.int16)


def solid(mode: str, colour: object, image_format: str = "PNG") -> bytes:
    return encode(Image.new(mode, (40, 40), colour), image_format)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "size", [(320, 256), (256, 320), (224, 224), (1000, 301), (301, 1001), (57, 91), (3, 2), (1, 1)]
)
def test_pixels_are_those_of_torchvision_within_one_step(size: tuple[int, int]) -> None:
    picture = make_picture(1, *size)
    decoded = decode_wide(encode(picture))
    assert decoded.shape == (224, 224, 3)
    assert np.abs(decoded - reference(picture)).max() <= 1


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_every_promised_format_is_decoded(image_format: str) -> None:
    data = encode(make_picture(2), image_format)
    with Image.open(io.BytesIO(data)) as stored:
        assert np.abs(decode_wide(data) - reference(stored)).max() <= 1


@pytest.mark.skipif(not list_photos(), reason="no photographs at ../shared/photos")
def test_photographs_have_the_pixels_of_torchvision_within_one_step() -> None:
    worst = 0
    for path in list_photos():
        with Image.open(path) as photo:
            worst = max(worst, np.abs(decode_wide(path.read_bytes()) - reference(photo)).max())
    assert worst <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(320, 257), (257, 320), (301, 500)])
def test_exif_orientation_is_applied(orientation: int, size: tuple[int, int]) -> None:
    upright = make_picture(3, *size)
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode_wide(encode(stored, "PNG", exif=exif))
    assert np.abs(decoded - reference(upright)).max() <= 1


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_means_nothing_is_ignored(orientation: int) -> None:
    picture = make_picture(4)
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode_wide(encode(picture, "PNG", exif=exif))
    assert np.abs(decoded - reference(picture)).max() <= 1


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_broken_exif_spoils_no_pixel() -> None:
    picture = make_picture(5)
    decoded = decode_wide(encode(picture, "PNG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff"))
    assert np.abs(decoded - reference(picture)).max() <= 1


def test_grey_is_spread_over_three_channels() -> None:
    grey = make_picture(6).convert("L")
    assert np.abs(decode_wide(encode(grey)) - reference(grey)).max() <= 1


def test_one_bit_is_decoded() -> None:
    bits = make_picture(6).convert("1")
    assert np.abs(decode_wide(encode(bits)) - reference(bits)).max() <= 1


def test_palette_is_decoded() -> None:
    palette = make_picture(7).convert("P")
    assert np.abs(decode_wide(encode(palette)) - reference(palette)).max() <= 1


def test_cmyk_is_decoded() -> None:
    data = encode(make_picture(8).convert("CMYK"), "JPEG")
    with Image.open(io.BytesIO(data)) as stored:
        assert np.abs(decode_wide(data) - reference(stored)).max() <= 1


@pytest.mark.parametrize(
    ("value", "expected"), [(0, 0), (0x7FFF, 127), (0x8000, 128), (0xFFFF, 255)]
)
def test_sixteen_bit_grey_is_scaled_to_eight(value: int, expected: int) -> None:
    pixels = np.full((40, 40), value, np.uint16)
    assert (decode_wide(encode(Image.fromarray(pixels))) == expected).all()


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("RGBA", (200, 100, 0, 255), (200, 100, 0)),
        ("RGBA", (200, 100, 0, 0), (255, 255, 255)),
        ("RGBA", (200, 100, 0, 128), (227, 177, 127)),
        ("LA", (100, 0), (255, 255, 255)),
        ("LA", (100, 255), (100, 100, 100)),
    ],
)
def test_alpha_is_laid_over_white(
    mode: str, colour: tuple[int, ...], expected: tuple[int, int, int]
) -> None:
    assert np.abs(decode_wide(solid(mode, colour)) - expected).max() <= 1


def test_a_transparent_palette_entry_is_white() -> None:
    palette = Image.new("P", (40, 40), 0)
    palette.putpalette([200, 0, 0, 0, 200, 0])
    assert (decode_wide(encode(palette, "GIF", transparency=0)) == 255).all()


@pytest.mark.parametrize("image_format", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_of_an_animation_is_taken(image_format: str) -> None:
    first, second = Image.new("RGB", (40, 40), "red"), Image.new("RGB", (40, 40), "blue")
    options = {"save_all": True, "append_images": [second]}
    if image_format == "WEBP":
        options["lossless"] = True
    decoded = decode_wide(encode(first, image_format, **options))
    assert np.abs(decoded - (255, 0, 0)).max() <= 1


def test_a_colour_profile_is_ignored() -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    picture = make_picture(9)
    decoded = decode_wide(encode(picture, "PNG", icc_profile=profile))
    assert np.abs(decoded - reference(picture)).max() <= 1


@pytest.mark.parametrize(
    "data",
    [b"", b"hello", b"%PDF-1.7", encode(make_picture(1), "TIFF"), encode(make_picture(1), "ICO")],
    ids=["empty", "text", "pdf", "tiff", "ico"],
)
def test_another_format_is_unsupported(data: bytes) -> None:
    with pytest.raises(UnsupportedImage):
        preprocess(data, MAX_PIXELS)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_a_file_cut_short_is_undecodable(image_format: str) -> None:
    data = encode(make_picture(1), image_format)
    for length in (len(data) // 2, 40, 12):
        with pytest.raises(UndecodableImage):
            preprocess(data[:length], MAX_PIXELS)


def test_too_many_pixels_are_refused_from_the_header_alone() -> None:
    header = struct.pack(">IIBBBBB", 225_000, 225_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", len(header))
        + chunk
        + struct.pack(">I", zlib.crc32(chunk))
    )
    bomb += struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    with pytest.raises(ImageTooLarge, match="225000 x 225000 pixels"):
        preprocess(bomb, MAX_PIXELS)


def test_the_limit_itself_is_allowed() -> None:
    data = encode(make_picture(1, 30, 20))
    assert preprocess(data, 600).shape == (224, 224, 3)
    with pytest.raises(ImageTooLarge, match="30 x 20 pixels"):
        preprocess(data, 599)
