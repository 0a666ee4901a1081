"""What Chromium shows of odd files, and what the service decodes of them, are the same pixels."""

import base64
import struct
import zlib
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page

from deployments.ingress.images.decode import decode
from deployments.ingress.images.formats import sniff_format
from deployments.ingress.images.preprocess import to_upright_rgb
from testing.bmp import make_bmp
from testing.browser import running_chromium
from testing.pictures import encode, make_picture
from testing.png import chunk, make_png, rgb_png

DRAW = """async (data) => {
  const image = new Image();
  image.src = "data:image/png;base64," + data;
  await image.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  const context = canvas.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
  return [canvas.width, canvas.height, Array.from(pixels)];
}"""
PICTURE = make_picture(1, 61, 50)
PIXELS = np.asarray(PICTURE)
EXIF = Image.Exif()
EXIF[0x0112] = 6


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with running_chromium("--force-color-profile=srgb") as browser:
        yield browser.new_page()


def grey_png(depth: int, key: int) -> bytes:
    grey = np.asarray(PICTURE.convert("L")).astype(int) * ((1 << depth) - 1) // 255
    bits = (grey[..., None] >> np.arange(depth - 1, -1, -1)) & 1
    rows = [np.packbits(row.reshape(-1).astype(np.uint8)).tobytes() for row in bits]
    return make_png(PICTURE.size, depth, 0, rows, [chunk(b"tRNS", struct.pack(">H", key))])


def odd_pngs() -> dict[str, bytes]:
    text = zlib.compress(bytes(2**21))
    still = rgb_png(PICTURE, after=[chunk(b"tEXt", b"Comment\0" + bytes(100))])
    frame = make_picture(2, 61, 50)
    files = {f"grey of {depth} bits": grey_png(depth, 1) for depth in (1, 2, 4, 8, 16)}
    for kind in (b"zTXt", b"iTXt", b"pHYs", b"tIME", b"sRGB", b"acTL"):
        files[f"damaged {kind.decode()}"] = rgb_png(PICTURE, before=[chunk(kind, bytes(9), 1)])
    return files | {
        "large text": rgb_png(PICTURE, before=[chunk(b"zTXt", b"Comment\0\0" + text)]),
        "cut in a text": still[:-60],
        "without an end": rgb_png(PICTURE)[:-12],
        "turned": encode(PICTURE, "PNG", exif=EXIF),
        "animation": encode(PICTURE, "PNG", save_all=True, append_images=[frame]),
        "animation with a fallback": encode(
            PICTURE,
            "PNG",
            save_all=True,
            append_images=[frame, PICTURE],
            default_image=True,
        ),
    }


def odd_bmps() -> dict[str, bytes]:
    rgbx = np.dstack([PIXELS, np.zeros(PIXELS.shape[:2], np.uint8)])[::-1]
    masks = [0xFF, 0xFF00, 0xFF0000]
    rows = [row.tobytes() for row in rgbx]
    grey = [row.tobytes() for row in PIXELS[::-1, :, 0]]
    palette = np.repeat(np.arange(256, dtype=np.uint8), 4).tobytes()
    return {
        "RGBX": make_bmp(PICTURE.size, 32, rows, compression=3, masks=masks),
        "short header": make_bmp(PICTURE.size, 8, grey, palette=palette, header_bytes=16),
        "large palette": make_bmp(
            PICTURE.size, 8, grey, palette=palette + bytes(44 * 4), colours=300
        ),
    }


def odd_others() -> dict[str, bytes]:
    gif = bytearray(encode(PICTURE.quantize(200), "GIF"))
    gif[6:10] = struct.pack("<HH", 100, 80)
    return {
        "turned JPEG": encode(PICTURE, "JPEG", quality=95, exif=EXIF),
        "grey JPEG": encode(PICTURE.convert("L"), "JPEG", quality=95),
        "CMYK JPEG": encode(PICTURE.convert("CMYK"), "JPEG", quality=95),
        "GIF on a larger screen": bytes(gif),
        "WebP": encode(PICTURE, "WEBP", lossless=True, xmp=bytes(1000)),
    }


FILES = odd_pngs() | odd_bmps() | odd_others()


def draw(page: Page, data: bytes) -> NDArray[np.uint8]:
    width, height, values = page.evaluate(DRAW, base64.b64encode(data).decode())
    return np.array(values, np.uint8).reshape(height, width, 4)[..., :3]


@pytest.mark.parametrize("name", FILES)
def test_pixels_are_those_that_chromium_shows(page: Page, name: str) -> None:
    data = FILES[name]
    shown = draw(page, data)
    decoded = decode(data, sniff_format(data), 10**6)
    pixels = np.asarray(to_upright_rgb(decoded.image, decoded.orientation))
    assert pixels.shape == shown.shape
    # JPEG decoders differ by a few levels; all other pixels are exact but for rounding.
    assert np.abs(pixels.astype(int) - shown).max() <= (6 if "JPEG" in name else 2)
