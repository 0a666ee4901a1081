"""Reduce a PNG file to what decides its pixels.

Pillow inflates and checks every chunk, and refuses the file if metadata is large or damaged.
Browsers ignore such metadata. This module keeps the critical chunks, tRNS and eXIf, and
replaces the still picture of an APNG by its first frame if the two differ.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_IHDR = struct.Struct(">IIBBBBB")
_FRAME_BOX = struct.Struct(">IIII")  # fcTL, behind its sequence number
_FCTL_BYTES, _ACTL_BYTES = 26, 8
_GREY, _RGB, _PALETTE = 0, 2, 3
_MAX_EXIF_BYTES = 1 << 20


class _Chunk(NamedTuple):
    kind: bytes
    data: memoryview
    crc: bytes

    @property
    def is_whole(self) -> bool:
        """Whether the checksum is right."""
        return self.crc == _checksum(self.kind, self.data)

    @property
    def is_critical(self) -> bool:
        return not self.kind[0] & 0x20


@dataclass
class StillPng:
    """A PNG file without animation and metadata, and where its pixels belong.

    size: of the whole canvas, (width, height); offset: of the pixels on it, (left, top);
    depth: bits a channel.
    """

    data: bytes
    size: tuple[int, int]
    depth: int
    offset: tuple[int, int]


@dataclass
class _Parts:
    """The chunks of a file that matter."""

    head: list[_Chunk] = field(default_factory=list)
    pixels: list[_Chunk] = field(default_factory=list)
    transparency: _Chunk | None = None
    exif: _Chunk | None = None
    is_animated: bool = False
    frame: memoryview | None = None
    """fcTL of the first frame."""
    frame_pixels: list[_Chunk] = field(default_factory=list)


def reduce_png(data: bytes) -> StillPng:
    """Return the first frame without ancillary chunks. Raises ValueError if it has no header."""
    parts = _collect(data)
    header = next((chunk for chunk in parts.head if chunk.kind == b"IHDR"), None)
    if header is None or len(header.data) != _IHDR.size:
        raise ValueError("no IHDR")
    width, height, *rest = _IHDR.unpack(header.data)
    frame = _first_frame(parts, width, height)
    offset = (0, 0)
    if frame is not None:
        box, pixels = frame
        parts.pixels = [_make_chunk(b"IDAT", chunk.data[4:]) for chunk in pixels]
        index = parts.head.index(header)
        parts.head[index] = _make_chunk(b"IHDR", _IHDR.pack(*box[:2], *rest))
        offset = (box[2], box[3])
    kept = [*parts.head, *_kept_ancillary(parts, rest[1], rest[0]), *parts.pixels]
    return StillPng(_join(kept), (width, height), rest[0], offset)


def _collect(data: bytes) -> _Parts:
    parts = _Parts()
    previous = b""
    for chunk in _chunks(data):
        if chunk.kind == b"IDAT":
            if not parts.pixels or previous == b"IDAT":
                parts.pixels.append(chunk)
        elif chunk.kind == b"fdAT":
            if parts.frame is not None and (not parts.frame_pixels or previous == b"fdAT"):
                parts.frame_pixels.append(chunk)
        elif chunk.kind == b"IEND":
            break
        elif chunk.is_critical:
            if not parts.pixels:
                parts.head.append(chunk)
        else:
            _collect_ancillary(parts, chunk)
        previous = chunk.kind
    return parts


def _collect_ancillary(parts: _Parts, chunk: _Chunk) -> None:
    if chunk.kind == b"tRNS" and not parts.pixels and parts.transparency is None:
        parts.transparency = chunk if chunk.is_whole else None
    elif chunk.kind == b"eXIf" and parts.exif is None and len(chunk.data) <= _MAX_EXIF_BYTES:
        parts.exif = chunk if chunk.is_whole else None
    elif chunk.kind == b"acTL" and not parts.pixels and len(chunk.data) == _ACTL_BYTES:
        parts.is_animated = chunk.is_whole and any(chunk.data[:4])
    elif chunk.kind == b"fcTL" and parts.frame is None and len(chunk.data) == _FCTL_BYTES:
        if not parts.pixels:
            parts.is_animated = False  # the still picture is the first frame
        elif chunk.is_whole:
            parts.frame = chunk.data


def _chunks(data: bytes) -> Iterator[_Chunk]:
    """Yield the chunks of a file. Of one that the end of the file cuts, what there is."""
    view = memoryview(data)
    position = len(SIGNATURE)
    while position + 8 <= len(data):
        length = int.from_bytes(view[position : position + 4])
        kind = bytes(view[position + 4 : position + 8])
        end = position + 8 + length
        content, crc = view[position + 8 : end], bytes(view[end : end + 4])
        if len(crc) < 4 and kind in (b"IDAT", b"fdAT"):
            crc = _checksum(kind, content)  # Pillow sees by the pixels whether any is missing
        if kind.isalpha() and len(crc) == 4:
            yield _Chunk(kind, content, crc)
        else:
            return
        position = end + 4


def _first_frame(
    parts: _Parts, width: int, height: int
) -> tuple[tuple[int, int, int, int], list[_Chunk]] | None:
    """Find the first frame of an animation to which the still picture does not belong.

    Returns (width, height, left, top) and its fdAT chunks.
    """
    if not parts.is_animated or parts.frame is None or not parts.frame_pixels:
        return None
    columns, rows, left, top = box = _FRAME_BOX.unpack_from(parts.frame, 4)
    fits = columns and rows and left + columns <= width and top + rows <= height
    if not fits or not all(chunk.is_whole for chunk in parts.frame_pixels):
        return None
    return box, parts.frame_pixels


def _kept_ancillary(parts: _Parts, colour_type: int, depth: int) -> list[_Chunk]:
    kept = [parts.exif] if parts.exif else []
    if parts.transparency is None:
        return kept
    key = parts.transparency.data
    if colour_type == _GREY and len(key) == 2:
        return [*kept, _make_chunk(b"tRNS", _scale_grey(key, depth))]
    palette = next((len(chunk.data) // 3 for chunk in parts.head if chunk.kind == b"PLTE"), 0)
    fits = len(key) == 6 if colour_type == _RGB else 0 < len(key) <= palette
    return [*kept, parts.transparency] if colour_type in (_RGB, _PALETTE) and fits else kept


def _scale_grey(key: memoryview, depth: int) -> bytes:
    """Scale a transparent grey of 2 or 4 bits as Pillow scales such pixels, to 8 bits."""
    value = int.from_bytes(key) & ((1 << depth) - 1)
    return (value * 255 // 3 if depth == 2 else value * 17 if depth == 4 else value).to_bytes(2)


def _make_chunk(kind: bytes, data: bytes | memoryview) -> _Chunk:
    return _Chunk(kind, memoryview(data), _checksum(kind, data))


def _checksum(kind: bytes, data: bytes | memoryview) -> bytes:
    return zlib.crc32(data, zlib.crc32(kind)).to_bytes(4)


def _join(chunks: list[_Chunk]) -> bytes:
    pieces: list[bytes | memoryview] = [SIGNATURE]
    for chunk in [*chunks, _make_chunk(b"IEND", b"")]:
        pieces += [len(chunk.data).to_bytes(4), chunk.kind, chunk.data, chunk.crc]
    return b"".join(pieces)
