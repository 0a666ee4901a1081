"""Bytes of an image file in, the model's 224x224 RGB pixels out.

Knows Pillow and NumPy; knows nothing of HTTP, of torch or of the model's normalisation.
The result is that of `DenseNet121_Weights.IMAGENET1K_V1.transforms()` (short side to 256,
antialiased bilinear, centre crop of 224), in one resize of the part that is kept.
"""

import io
import struct
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deployments.common.errors import ImageError, ImageTooLarge, UndecodableImage, UnsupportedImage

CROP_PX = 224
SHORT_SIDE_PX = 256
_EXIF_ORIENTATION = 0x0112
_BROKEN_EXIF = (
    EOFError,
    IndexError,
    KeyError,
    OSError,
    OverflowError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
)
_TO_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Pillow has a guard of its own, one for the process: it warns over a limit and raises over twice
# that. It must be there, since opening a GIF allocates what its first frame declares, 4 GB for 50
# bytes; it must not be less than ours.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)

Span = tuple[float, float]


def decode(data: bytes, max_pixels: int) -> NDArray[np.uint8]:
    """Decode one JPEG, PNG, WebP, GIF (first frame) or BMP.

    Returns uint8 of shape (224, 224, 3), RGB, upright by EXIF, transparency over white.
    Raises UnsupportedImage for another format, ImageTooLarge when the header declares more
    than `max_pixels`, UndecodableImage when the file is broken.
    """
    outcome = _decode(data, sniff_format(data), max_pixels)
    if isinstance(outcome, ImageError):
        raise outcome
    return outcome


def sniff_format(data: bytes) -> str:
    """Name the format by its first bytes, as Pillow names it. Raises UnsupportedImage."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith(b"BM"):
        return "BMP"
    raise UnsupportedImage("the file is not a JPEG, PNG, WebP, GIF or BMP image")


def _decode(data: bytes, image_format: str, max_pixels: int) -> NDArray[np.uint8] | ImageError:
    """What is wrong is returned and not raised: an error raised here, or from Pillow's, keeps
    the picture in its trace, 200 MB for a file of a few kB, until all of a request is answered.
    """
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, max_pixels)
    try:
        with Image.open(io.BytesIO(data), formats=[image_format]) as image:
            width, height = image.size
            if width * height > max_pixels:
                message = f"{width} x {height} pixels are more than the {max_pixels} allowed"
                return ImageTooLarge(message)
            return np.asarray(_centre(image))
    except Image.DecompressionBombError:  # Pillow does not say how many there are
        return ImageTooLarge(f"there are more pixels than the {max_pixels} allowed")
    except Exception:  # noqa: BLE001
        # Pillow's decoders raise nearly anything on hostile bytes (OSError, SyntaxError,
        # ValueError, struct.error, ...): whichever it was, this file is the reason.
        return UndecodableImage(f"the {image_format} file is broken or incomplete")


def _centre(image: Image.Image) -> Image.Image:
    image.load()
    orientation = _orientation(image)
    box = _centre_box(*image.size, orientation)
    # Only the part that is kept is resized, in the file's own orientation: turning the
    # 224 pixels afterwards is the same as turning millions before.
    crop = _to_eight_bit(image).resize((CROP_PX, CROP_PX), Image.Resampling.BILINEAR, box=box)
    crop = _over_white(crop)
    return crop.transpose(_TO_UPRIGHT[orientation]) if orientation in _TO_UPRIGHT else crop


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation; 1 where there is none or it cannot be read."""
    try:
        value = image.getexif().get(_EXIF_ORIENTATION, 1)
    except _BROKEN_EXIF:
        return 1  # it spoils no pixel
    return value if value in _TO_UPRIGHT else 1


def _centre_box(width: int, height: int, orientation: int) -> tuple[float, float, float, float]:
    """The part of the stored picture that becomes the crop, as (left, top, right, bottom).

    torchvision rounds on the upright picture, so the crop is found there and turned back.
    """
    upright = (height, width) if orientation >= 5 else (width, height)
    x, y = (_centre_span(side, min(upright)) for side in upright)
    if orientation in (2, 3, 6, 7):
        x = (upright[0] - x[1], upright[0] - x[0])
    if orientation in (3, 4, 7, 8):
        y = (upright[1] - y[1], upright[1] - y[0])
    if orientation >= 5:
        x, y = y, x
    return x[0], y[0], x[1], y[1]


def _centre_span(side: int, short_side: int) -> Span:
    """Where the crop begins and ends on one side of the picture, in its own pixels."""
    resized = SHORT_SIDE_PX * side // short_side
    start = round((resized - CROP_PX) / 2)
    return start * side / resized, (start + CROP_PX) * side / resized


def _to_eight_bit(image: Image.Image) -> Image.Image:
    """8 bits a channel in a mode that can be resized: L, RGB or RGBA."""
    if image.mode.startswith("I"):
        return _high_byte(image)
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def _high_byte(image: Image.Image) -> Image.Image:
    """16-bit grey scaled to 8 bits."""
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))


def _over_white(image: Image.Image) -> Image.Image:
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
