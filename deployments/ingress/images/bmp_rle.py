"""The run-length codings of BMP, for 4 and 8 bits a pixel."""

import numpy as np
from numpy.typing import NDArray

_END_OF_LINE, _END_OF_BITMAP, _DELTA = 0, 1, 2


def read_runs(
    data: bytes, width: int, height: int, bits: int
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Expand runs into colour indices, uint8 (height, width), rows in the order of the file.

    Also returns which pixels the runs cover, bool (height, width).
    Raises ValueError if the data ends before the picture does.
    """
    canvas = _Canvas(width, height)
    position = 0
    while canvas.y < height and not (canvas.y == height - 1 and canvas.x >= width):
        if position + 2 > len(data):
            raise ValueError("pixels are missing")
        count, value = data[position : position + 2]
        position += 2
        if count:
            canvas.put(_alternate(value, count, bits), count)
        elif value == _END_OF_BITMAP:
            break
        elif value == _END_OF_LINE:
            canvas.move(-canvas.x, 1)
        elif value == _DELTA:
            right, up = data[position : position + 2]
            canvas.move(right, up)
            position += 2
        else:
            size = (value * bits + 7) // 8
            canvas.put(_spread(data[position : position + size], bits), value)
            position += size + size % 2
    return canvas.finish()


def _alternate(value: int, count: int, bits: int) -> bytes:
    if bits == 8:
        return bytes([value]) * count
    return bytes([value >> 4, value & 0x0F]) * ((count + 1) // 2)


def _spread(packed: bytes, bits: int) -> bytes:
    return packed if bits == 8 else bytes(half for byte in packed for half in divmod(byte, 16))


class _Canvas:
    def __init__(self, width: int, height: int) -> None:
        self.x = self.y = 0
        self._width, self._height = width, height
        self._indices = bytearray(width * height)
        self._covered = bytearray(width * height)

    def put(self, indices: bytes, count: int) -> None:
        """Write pixels in the row; what goes beyond its end is dropped."""
        if len(indices) < count:
            raise ValueError("pixels are missing")
        length = max(0, min(count, self._width - self.x))
        start = self.y * self._width + self.x
        self._indices[start : start + length] = indices[:length]
        self._covered[start : start + length] = b"\1" * length
        self.x += length

    def move(self, right: int, up: int) -> None:
        self.x = min(self.x + right, self._width)
        self.y += up

    def finish(self) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        shape = self._height, self._width
        indices = np.frombuffer(self._indices, np.uint8).reshape(shape)
        return indices, np.frombuffer(self._covered, np.bool_).reshape(shape)
