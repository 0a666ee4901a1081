"""Decode an image file as browsers show it: its first frame, whatever its metadata is like.

Knows the files of the formats; knows nothing of the model's size. Pillow decodes all but BMP.
"""

import io
import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from deployments.common.errors import ImageTooLarge
from deployments.ingress.images import bmp, jpeg
from deployments.ingress.images.png import reduce_png
from deployments.ingress.images.webp import reduce_webp

MIN_REDUCED_PX = 1024
"""What the short side of a JPEG keeps at a reduced scale, so from 2048 on.

At 512, tiled sharp photographs and noise differ from a full decode by up to 16/255; at 1024 by
up to 6/255, and a decode of 12 megapixels still takes 38 ms of CPU time instead of 128.
"""
_EXIF_ORIENTATION = 0x0112
_BROKEN_EXIF = (ArithmeticError, EOFError, LookupError, OSError, SyntaxError, TypeError, ValueError)

# Pillow has a guard of its own, one for the process: it warns over a limit and raises over twice
# that. It must be there, since opening a GIF allocates what its first frame declares, 4 GB for 50
# bytes; it must not be less than ours.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)


@dataclass(frozen=True)
class Decoded:
    """An image in the file's own orientation.

    image: mode L, RGB or RGBA, perhaps at a reduced scale.
    size: (width, height) at full scale; scale: the divisor of `image`. A reduced side is
        rounded up.
    orientation: of EXIF, 1 to 8.
    """

    image: Image.Image
    size: tuple[int, int]
    scale: int
    orientation: int


def decode(data: bytes, image_format: str, max_pixels: int) -> Decoded:
    """Decode the first frame of a file in one of `FORMATS`.

    Raises ImageTooLarge if the header declares more than `max_pixels`, before any is decoded,
    UnsupportedImage for a variant of BMP, and nearly anything for a broken file.
    """
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, max_pixels)
    try:
        return _DECODERS[image_format](data, max_pixels)
    except Image.DecompressionBombError:  # Pillow does not say how many there are
        message = f"there are more pixels than the {max_pixels} allowed"
        raise ImageTooLarge(message) from None


def _decode_jpeg(data: bytes, max_pixels: int) -> Decoded:
    with _open(data, "JPEG", max_pixels) as image:
        try:
            return _load_reduced(image)
        except OSError:
            completed = jpeg.complete(data)
            if completed is None:
                raise
    with _open(completed, "JPEG", max_pixels) as image:
        return _load_reduced(image)


def _load_reduced(image: Image.Image) -> Decoded:
    size = image.size
    drafted = image.draft(None, (MIN_REDUCED_PX, MIN_REDUCED_PX))
    scale = round(size[0] / drafted[1][2]) if drafted else 1
    image.load()
    return Decoded(to_8_bit(image), size, scale, _orientation(image))


def _decode_png(data: bytes, max_pixels: int) -> Decoded:
    still = reduce_png(data)
    _check_size(still.size, max_pixels)
    with _open(still.data, "PNG", max_pixels) as image:
        image.load()
        orientation = _orientation(image)
        key = image.info.get("transparency")
        if still.depth == 16 and image.mode == "RGB" and key is not None:
            pixels = _apply_16_bit_key(image, still.data, key)
        else:
            pixels = to_8_bit(image)
    return Decoded(_place(pixels, still.size, still.offset), still.size, 1, orientation)


def _apply_16_bit_key(image: Image.Image, data: bytes, key: tuple[int, int, int]) -> Image.Image:
    """Make one colour of 16 bits a channel transparent; Pillow keeps their high bytes only."""
    with Image.open(io.BytesIO(data), formats=["PNG"]) as low:
        low.tile = [low.tile[0]._replace(args="RGB;16L")]
        others = [part != np.uint8(value & 0xFF) for part, value in _channels(low, key)]
    others += [part != np.uint8(value >> 8) for part, value in _channels(image, key)]
    image.putalpha(Image.fromarray(np.logical_or.reduce(others).astype(np.uint8) * np.uint8(255)))
    return image


def _channels(
    image: Image.Image, key: tuple[int, int, int]
) -> Iterator[tuple[NDArray[np.uint8], int]]:
    for channel, value in enumerate(key):
        yield np.asarray(image.getchannel(channel)), value


def _decode_gif(data: bytes, max_pixels: int) -> Decoded:
    with _open(data, "GIF", max_pixels) as image:
        size = image.size
        box = image.tile[0].extents or (0, 0, *size)
        image.load()
        frame = to_8_bit(image if box == (0, 0, *size) else image.crop(box))
        return Decoded(_place(frame, size, box[:2]), size, 1, 1)


def _decode_webp(data: bytes, max_pixels: int) -> Decoded:
    with _open(reduce_webp(data), "WEBP", max_pixels) as image:
        image.load()
        return Decoded(to_8_bit(image), image.size, 1, _orientation(image))


def _decode_bmp(data: bytes, max_pixels: int) -> Decoded:
    header = bmp.read_header(data)
    _check_size((header.width, header.height), max_pixels)
    image = to_8_bit(bmp.read_pixels(data, header))
    return Decoded(image, image.size, 1, 1)


def _open(data: bytes, image_format: str, max_pixels: int) -> ImageFile.ImageFile:
    image = Image.open(io.BytesIO(data), formats=[image_format])
    _check_size(image.size, max_pixels)
    return image


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise ImageTooLarge(f"{width} x {height} pixels are more than the {max_pixels} allowed")


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation; 1 if the file has none or it cannot be read."""
    image.info.pop("xmp", None)  # Pillow would take its orientation, which browsers ignore
    try:
        value = image.getexif().get(_EXIF_ORIENTATION, 1)
    except (*_BROKEN_EXIF, struct.error):
        return 1
    return value if value in range(1, 9) else 1


def _place(frame: Image.Image, size: tuple[int, int], offset: tuple[int, int]) -> Image.Image:
    """Put a frame on its canvas, which is white or transparent if it is larger."""
    if frame.size == size:
        return frame
    canvas = Image.new(frame.mode, size, {"RGBA": (255, 255, 255, 0)}.get(frame.mode, "white"))
    canvas.paste(frame, offset)
    return canvas


def to_8_bit(image: Image.Image) -> Image.Image:
    """8 bits a channel in a mode that can be resized: L, RGB or RGBA."""
    if image.mode.startswith("I"):
        return _scale_16_bit_grey(image)
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def _scale_16_bit_grey(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    grey = Image.fromarray((values >> 8).astype(np.uint8))
    key = image.info.get("transparency")
    if key is None:
        return grey
    grey.putalpha(Image.fromarray((values != key).astype(np.uint8) * np.uint8(255)))
    return grey.convert("RGBA")


_DECODERS = {
    "BMP": _decode_bmp,
    "GIF": _decode_gif,
    "JPEG": _decode_jpeg,
    "PNG": _decode_png,
    "WEBP": _decode_webp,
}
