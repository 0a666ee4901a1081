"""Reduce a WebP file to what decides the pixels of its first frame.

libwebp refuses a file in which any chunk is cut short, metadata and later frames included.
"""

import struct
from collections.abc import Iterator

_CHUNK = struct.Struct("<4sI")
_KEPT = {b"VP8X", b"ANIM", b"ALPH", b"VP8 ", b"VP8L", b"EXIF"}
_PIXELS = {b"VP8 ", b"VP8L", b"ANMF"}
_FLAGS = 20
"""Where VP8X, which is always the first chunk, keeps its flags."""
_ALPHA, _ICC, _EXIF, _XMP = 0x10, 0x20, 0x08, 0x04


def reduce_webp(data: bytes) -> bytes:
    """Return the file with its first frame and EXIF only.

    What the frame of an animation does not cover becomes transparent: libwebp leaves it black
    unless the file says that it has an alpha channel.
    """
    kept: list[bytes] = []
    kinds: set[bytes] = set()
    for kind, chunk in _chunks(data):
        is_first_frame = kind == b"ANMF" and kind not in kinds
        if is_first_frame or (kind in _KEPT and kind not in kinds):
            kept.append(chunk)
            kinds.add(kind)
    body = bytearray(b"".join([b"WEBP", *kept]))
    if body[4:8] == b"VP8X":
        flags = body[_FLAGS - 8] & ~(_ICC | _XMP | _EXIF)
        flags |= _EXIF if b"EXIF" in kinds else 0
        body[_FLAGS - 8] = flags | (_ALPHA if b"ANMF" in kinds else 0)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and bytes of each chunk. One that is cut short ends them, but for pixels."""
    position = 12
    while position + _CHUNK.size <= len(data):
        kind, length = _CHUNK.unpack_from(data, position)
        end = position + _CHUNK.size + length
        if end > len(data) and kind not in _PIXELS:
            return
        yield kind, data[position:end] + b"\0" * (length & 1)
        position = end + (length & 1)
