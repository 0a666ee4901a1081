"""The image formats that the service accepts: the one list of them."""

import re
from dataclasses import dataclass

from deployments.common.errors import UnsupportedImage


@dataclass(frozen=True)
class ImageFormat:
    """A format: Pillow's name for it, its first bytes, its media type and file suffixes."""

    name: str
    magic: re.Pattern[bytes]
    media_type: str
    suffixes: tuple[str, ...]


FORMATS = (
    ImageFormat(
        "JPEG", re.compile(rb"\xff\xd8\xff"), "image/jpeg", (".jpg", ".jpeg", ".jpe", ".jfif")
    ),
    ImageFormat("PNG", re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png", (".png",)),
    ImageFormat("WEBP", re.compile(rb"RIFF.{4}WEBP", re.DOTALL), "image/webp", (".webp",)),
    ImageFormat("GIF", re.compile(rb"GIF8[79]a"), "image/gif", (".gif",)),
    ImageFormat("BMP", re.compile(rb"BM"), "image/bmp", (".bmp",)),
)
_OTHERS = {
    "HEIC, the format of iPhones": re.compile(
        rb".{4}ftyp(hei[cmsx]|hev[cmsx]|mif1|msf1)", re.DOTALL
    ),
    "AVIF": re.compile(rb".{4}ftypavi[fs]", re.DOTALL),
    "TIFF": re.compile(rb"II\*\0|MM\0\*"),
}
"""What people take for a photo that every program reads."""
LONGEST_MAGIC_BYTES = 12
"""WebP's: how many bytes tell the format."""
SUFFIXES = frozenset(suffix for image_format in FORMATS for suffix in image_format.suffixes)


def sniff_format(data: bytes) -> str:
    """Name the format by its first bytes, as Pillow names it. Raises UnsupportedImage."""
    for image_format in FORMATS:
        if image_format.magic.match(data):
            return image_format.name
    for name, magic in _OTHERS.items():
        if magic.match(data):
            raise UnsupportedImage(f"the service does not read {name}; save the picture as JPEG")
    raise UnsupportedImage("the file is not a JPEG, PNG, WebP, GIF or BMP image")


def is_image(head: bytes) -> bool:
    """Whether the first bytes of a body are those of a supported format."""
    return any(image_format.magic.match(head) for image_format in FORMATS)
