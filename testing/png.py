"""PNG files made by hand, with chunks that Pillow does not write."""

import struct
import zlib
from collections.abc import Sequence

import numpy as np
from PIL import Image


def chunk(kind: bytes, data: bytes, damage: int = 0) -> bytes:
    """A whole chunk; `damage` is added to its checksum bit by bit."""
    checksum = zlib.crc32(kind + data) ^ damage
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def make_png(
    size: tuple[int, int],
    depth: int,
    colour_type: int,
    rows: Sequence[bytes],
    before: Sequence[bytes] = (),
    after: Sequence[bytes] = (),
) -> bytes:
    """A PNG of packed rows, with whole chunks before and after the pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, colour_type, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    end = chunk(b"IEND", b"")
    return b"".join([b"\x89PNG\r\n\x1a\n", header, *before, pixels, *after, end])


def rgb_png(
    picture: Image.Image, before: Sequence[bytes] = (), after: Sequence[bytes] = ()
) -> bytes:
    """A picture of mode RGB, with whole chunks before and after its pixels."""
    rows = [row.tobytes() for row in np.asarray(picture)]
    return make_png(picture.size, 8, 2, rows, before, after)
