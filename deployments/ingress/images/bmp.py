"""Read BMP files: every header, palette, bit field and run-length coding but OS/2's own codings.

Pillow refuses most bit fields, two bits a pixel, large palettes and OS/2's short headers.
"""

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deployments.common.errors import UnsupportedImage
from deployments.ingress.images.bmp_rle import read_runs

_FILE_HEADER_BYTES, _CORE_BYTES, _INFO_BYTES = 14, 12, 40
_WINDOWS_BYTES = (40, 52, 56, 108, 124)
_MASKS_AT = 40
_INFO = struct.Struct("<iiHHIIiiI")
_RAW, _RLE8, _RLE4, _BIT_FIELDS, _ALPHA_BIT_FIELDS = 0, 1, 2, 3, 6
_DEFAULT_MASKS = {
    16: (0x7C00, 0x03E0, 0x001F, 0),
    24: (0xFF0000, 0xFF00, 0xFF, 0),
    32: (0xFF0000, 0xFF00, 0xFF, 0),
}
_PILLOW_MODES = {24: "BGR", 32: "BGRX"}
_STRIP_PIXELS = 1 << 20
"""How many pixels are unpacked at a time, four bytes each and more."""

Masks = tuple[int, int, int, int]


@dataclass(frozen=True)
class BmpHeader:
    """What the headers of a file say; `masks` are those of red, green, blue and alpha."""

    width: int
    height: int
    bits: int
    compression: int
    is_top_down: bool
    pixels_at: int
    palette_at: int
    palette_entries: int
    palette_entry_bytes: int
    masks: Masks

    @property
    def row_bytes(self) -> int:
        """The length of a row, padded to four bytes."""
        return (self.width * self.bits + 31) // 32 * 4


def read_header(data: bytes) -> BmpHeader:
    """Read the headers. Raises UnsupportedImage for another variant, struct.error if cut."""
    pixels_at, header_bytes = struct.unpack_from("<II", data, 10)
    if header_bytes == _CORE_BYTES:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        compression, colours = _RAW, 0
    elif header_bytes in range(16, 65) or header_bytes in _WINDOWS_BYTES:
        fields = data[18 : min(_FILE_HEADER_BYTES + header_bytes, 50)].ljust(_INFO.size, b"\0")
        width, height, _, bits, compression, _, _, _, colours = _INFO.unpack(fields)
    else:
        raise ValueError("no BMP header is so short")
    _require_supported(header_bytes, bits, compression)
    has_masks = compression in (_BIT_FIELDS, _ALPHA_BIT_FIELDS)
    palette_at = _FILE_HEADER_BYTES + header_bytes
    if has_masks and header_bytes == _INFO_BYTES:
        palette_at += 12 if compression == _BIT_FIELDS else 16
    entry_bytes = 3 if header_bytes == _CORE_BYTES else 4
    entries = min(colours or 1 << bits, 1 << bits) if bits <= 8 else 0
    if pixels_at in (0, palette_at) and bits <= 8:  # some writers forget the palette
        pixels_at = palette_at + (colours or 1 << bits) * entry_bytes
    return BmpHeader(
        width,
        abs(height),
        bits,
        compression,
        height < 0,
        pixels_at or palette_at,
        palette_at,
        entries,
        entry_bytes,
        _read_masks(data, header_bytes, compression) if has_masks else _default_masks(bits),
    )


def _require_supported(header_bytes: int, bits: int, compression: int) -> None:
    depths = {_RAW: (1, 2, 4, 8, 16, 24, 32), _RLE8: (8,), _RLE4: (4,)}
    if header_bytes in _WINDOWS_BYTES:
        depths |= {_BIT_FIELDS: (16, 24, 32), _ALPHA_BIT_FIELDS: (16, 24, 32)}
    if bits not in depths.get(compression, ()):
        raise UnsupportedImage(
            f"this variant of BMP ({bits} bits a pixel, compression {compression}, a header of"
            f" {header_bytes} bytes) is not supported: save the image as JPEG or PNG"
        )


def _default_masks(bits: int) -> Masks:
    return _DEFAULT_MASKS.get(bits, (0, 0, 0, 0))


def _read_masks(data: bytes, header_bytes: int, compression: int) -> Masks:
    """Read the bit fields; alpha has one in long headers and in BI_ALPHABITFIELDS only."""
    red, green, blue = struct.unpack_from("<III", data, _FILE_HEADER_BYTES + _MASKS_AT)
    alpha = 0
    if header_bytes >= 56 or compression == _ALPHA_BIT_FIELDS:
        (alpha,) = struct.unpack_from("<I", data, _FILE_HEADER_BYTES + _MASKS_AT + 12)
    return red, green, blue, alpha


def read_pixels(data: bytes, header: BmpHeader) -> Image.Image:
    """Read the picture: mode P, RGB or RGBA. Raises ValueError if pixels are missing.

    Pixels that a run-length coding skips are transparent.
    """
    if not header.width or not header.height:
        raise ValueError("no pixels")
    if header.compression in (_RLE8, _RLE4):
        indices, covered = read_runs(
            data[header.pixels_at :], header.width, header.height, header.bits
        )
        picture = _colour(data, header, indices)
        if not covered.all():
            picture = picture.convert("RGB")
            picture.putalpha(Image.fromarray(covered.astype(np.uint8) * np.uint8(255)))
        if not header.is_top_down:
            picture = picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        return picture
    rows = _read_rows(data, header)
    if header.bits <= 8:
        return _colour(data, header, _unpack_indices(rows, header))
    if header.bits in _PILLOW_MODES and header.masks == _default_masks(header.bits):
        size, mode = (header.width, header.height), _PILLOW_MODES[header.bits]
        return Image.frombytes("RGB", size, rows.tobytes(), "raw", mode, header.row_bytes)
    return _unpack_fields(rows, header)


def _read_rows(data: bytes, header: BmpHeader) -> NDArray[np.uint8]:
    """The rows from top to bottom, uint8 (height, row_bytes). The last needs no padding."""
    total_bytes = header.height * header.row_bytes
    unpadded_bytes = total_bytes - header.row_bytes + (header.width * header.bits + 7) // 8
    packed = data[header.pixels_at : header.pixels_at + total_bytes]
    if len(packed) < unpadded_bytes:
        raise ValueError("pixels are missing")
    rows = np.frombuffer(packed.ljust(total_bytes, b"\0"), np.uint8)
    rows = rows.reshape(header.height, header.row_bytes)
    return rows if header.is_top_down else rows[::-1]


def _unpack_indices(rows: NDArray[np.uint8], header: BmpHeader) -> NDArray[np.uint8]:
    if header.bits < 8:
        shifts = np.arange(8 - header.bits, -1, -header.bits, dtype=np.uint8)
        mask = np.uint8((1 << header.bits) - 1)
        rows = (rows[:, :, None] >> shifts & mask).reshape(header.height, -1)
    return np.ascontiguousarray(rows[:, : header.width])


def _colour(data: bytes, header: BmpHeader, indices: NDArray[np.uint8]) -> Image.Image:
    entries = np.zeros((256, header.palette_entry_bytes), np.uint8)
    end = header.palette_at + header.palette_entries * header.palette_entry_bytes
    stored = np.frombuffer(data[header.palette_at : end], np.uint8)
    entries.reshape(-1)[: len(stored)] = stored
    picture = Image.fromarray(indices)
    picture.putpalette(entries[:, 2::-1].tobytes())
    return picture


def _unpack_fields(rows: NDArray[np.uint8], header: BmpHeader) -> Image.Image:
    """Red, green, blue and perhaps alpha from their bits."""
    channels = 4 if header.masks[3] else 3
    pixels = np.empty((header.height, header.width, channels), np.uint8)
    height = max(1, _STRIP_PIXELS // header.width)
    for top in range(0, header.height, height):
        packed = _pack(rows[top : top + height], header)
        for channel, mask in enumerate(header.masks[:channels]):
            pixels[top : top + height, :, channel] = _extract(packed, mask)
    return Image.fromarray(pixels)


def _pack(rows: NDArray[np.uint8], header: BmpHeader) -> NDArray[np.uint32]:
    """One number a pixel, uint32 (rows, width)."""
    size = header.bits // 8
    pixel_bytes = rows[:, : size * header.width].reshape(len(rows), header.width, size)
    packed = np.zeros((len(rows), header.width, 4), np.uint8)
    packed[..., :size] = pixel_bytes
    return packed.view("<u4")[..., 0]


def _extract(packed: NDArray[np.uint32], mask: int) -> NDArray[np.uint8]:
    if not mask:
        return np.zeros(packed.shape, np.uint8)
    shift = (mask & -mask).bit_length() - 1
    bits = (mask >> shift).bit_length()
    values = (packed & np.uint32(mask)) >> np.uint32(shift + max(0, bits - 8))
    top = (1 << min(bits, 8)) - 1
    return (values if top == 255 else values * np.uint32(255) // np.uint32(top)).astype(np.uint8)
