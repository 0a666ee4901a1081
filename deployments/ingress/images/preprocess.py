"""Bytes of an image file in, the model's 224x224 RGB pixels out.

Knows Pillow and NumPy; knows nothing of HTTP, of torch or of the model's normalisation.
The result is that of `DenseNet121_Weights.IMAGENET1K_V1.transforms()` (short side to 256,
antialiased bilinear, centre crop of 224), in one resize of the part that is kept.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deployments.common.errors import ImageError, UndecodableImage
from deployments.ingress.images.decode import Decoded, decode
from deployments.ingress.images.formats import sniff_format
from deployments.model.spec import SPEC

CROP_PX = SPEC.input_px
SHORT_SIDE_PX = SPEC.short_side_px
_EXIF_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

EXACT_WHITE_PIXELS = 4_000_000
"""Up to here a transparent picture is laid over white before it is resized, so that it equals the
opaque one to the last bit. Larger ones are laid over white afterwards, for the sake of memory."""

Span = tuple[float, float]


def preprocess(data: bytes, max_pixels: int) -> NDArray[np.uint8]:
    """Decode, crop and resize one JPEG, PNG, WebP, GIF (first frame) or BMP.

    Returns uint8 of shape (224, 224, 3), RGB, upright by EXIF, transparency over white.
    Raises UnsupportedImage for another format, ImageTooLarge if the header declares more
    than `max_pixels`, UndecodableImage if the file is broken.
    """
    outcome = _preprocess(data, sniff_format(data), max_pixels)
    if isinstance(outcome, ImageError):
        raise outcome
    return outcome


def _preprocess(data: bytes, image_format: str, max_pixels: int) -> NDArray[np.uint8] | ImageError:
    """Return the pixels, or the error: one raised here, or from Pillow's, would keep the picture
    in its trace, 200 MB for a file of a few kB, until all of a request is answered.
    """
    try:
        return np.asarray(_center_crop(decode(data, image_format, max_pixels)))
    except ImageError as error:
        return type(error)(error.message)
    except Exception:  # noqa: BLE001
        # Pillow's decoders raise nearly anything on hostile bytes (OSError, SyntaxError,
        # ValueError, struct.error, ...): whichever it was, this file is the reason.
        return UndecodableImage(f"the {image_format} file is broken or incomplete")


def _center_crop(decoded: Decoded) -> Image.Image:
    full_box = _center_box(*decoded.size, decoded.orientation)
    left, top, right, bottom = (edge / decoded.scale for edge in full_box)
    image = decoded.image
    if image.mode == "RGBA" and image.width * image.height <= EXACT_WHITE_PIXELS:
        image = _composite_on_white(image)
    # Only the part that is kept is resized, in the file's own orientation: turning the
    # 224 pixels afterwards is the same as turning millions before.
    crop = image.resize(
        (CROP_PX, CROP_PX), Image.Resampling.BILINEAR, box=(left, top, right, bottom)
    )
    return to_upright_rgb(crop, decoded.orientation)


def to_upright_rgb(image: Image.Image, orientation: int) -> Image.Image:
    """Lay an image over white and turn it by its EXIF orientation."""
    image = _composite_on_white(image)
    if orientation in _EXIF_TRANSPOSE:
        return image.transpose(_EXIF_TRANSPOSE[orientation])
    return image


def _center_box(width: int, height: int, orientation: int) -> tuple[float, float, float, float]:
    """The part of the stored picture that becomes the crop, as (left, top, right, bottom).

    torchvision rounds on the upright picture, so the crop is found there and turned back.
    """
    upright = (height, width) if orientation >= 5 else (width, height)
    x, y = (_center_span(side, min(upright)) for side in upright)
    if orientation in (2, 3, 6, 7):
        x = (upright[0] - x[1], upright[0] - x[0])
    if orientation in (3, 4, 7, 8):
        y = (upright[1] - y[1], upright[1] - y[0])
    if orientation >= 5:
        x, y = y, x
    return x[0], y[0], x[1], y[1]


def _center_span(side: int, short_side: int) -> Span:
    """Where the crop begins and ends on one side of the picture, in its own pixels."""
    resized = SHORT_SIDE_PX * side // short_side
    start = round((resized - CROP_PX) / 2)
    return start * side / resized, (start + CROP_PX) * side / resized


def _composite_on_white(image: Image.Image) -> Image.Image:
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")  # which would copy it
