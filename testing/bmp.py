"""BMP files made by hand, in variants that Pillow does not write."""

import struct
from collections.abc import Sequence


def make_bmp(
    size: tuple[int, int],
    bits: int,
    rows: Sequence[bytes],
    *,
    compression: int = 0,
    masks: Sequence[int] = (),
    palette: bytes = b"",
    colours: int = 0,
    header_bytes: int = 40,
) -> bytes:
    """A BMP of packed rows in the order of the file, or of one piece of run-length codes.

    A header of 40 bytes has its masks behind it, a longer one within.
    """
    if header_bytes == 12:
        header = struct.pack("<IHHHH", 12, *size, 1, bits)
    else:
        fields = (*size, 1, bits, compression, 0, 2835, 2835, colours, 0)
        header = struct.pack("<IiiHHIIiiII", header_bytes, *fields)
        header += struct.pack(f"<{len(masks)}I", *masks)
        header = header[:header_bytes] if header_bytes < 40 else header.ljust(header_bytes, b"\0")
    packed = rows if compression in (1, 2) else [row + bytes(-len(row) % 4) for row in rows]
    start = 14 + len(header) + len(palette)
    body = b"".join(packed)
    return b"".join(
        [b"BM", struct.pack("<IHHI", start + len(body), 0, 0, start), header, palette, body]
    )
