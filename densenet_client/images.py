"""The images to send, and which of them travel together."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from densenet_client.results import Failure

Image = str | os.PathLike[str] | bytes | tuple[str, bytes]
"""A path, an encoded image's bytes, or a name and an encoded image's bytes."""

CHUNK_BYTES = 4 * 2**20
"""Enough for a request's own cost not to matter, and small enough to come back soon."""


@dataclass(frozen=True, slots=True)
class ImageSource:
    """One image under the name of its result; a path is read only when it is sent."""

    name: str
    source: Path | bytes

    @property
    def size_bytes(self) -> int:
        """0 if it is unknown; `read` then gives the reason."""
        if isinstance(self.source, bytes):
            return len(self.source)
        try:
            return self.source.stat().st_size
        except (OSError, ValueError):
            return 0

    def read(self, max_bytes: int) -> bytes | Failure:
        """The encoded image, of at most `max_bytes`."""
        try:
            data = self._read(max_bytes + 1)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            return Failure(self.name, "unreadable_file", reason)
        if len(data) > max_bytes:
            return Failure(self.name, "image_too_large", f"larger than {max_bytes} bytes")
        return data

    def _read(self, max_bytes: int) -> bytes:
        if isinstance(self.source, bytes):
            return self.source
        with self.source.open("rb") as file:
            return file.read(max_bytes)


def name_images(images: Image | Iterable[Image]) -> Iterator[ImageSource]:
    """Bytes without a name are called `image 1`, `image 2`, ... by their position."""
    match images:
        case str() | bytes() | os.PathLike() | (str(), bytes()):
            images = [images]
    for position, image in enumerate(images, start=1):
        if isinstance(image, bytes):
            yield ImageSource(f"image {position}", image)
        elif isinstance(image, tuple):
            yield ImageSource(*image)
        else:
            yield ImageSource(os.fspath(image), Path(image))


def check_top_k(top_k: int) -> None:
    """Raises ValueError."""
    if not 1 <= top_k <= 1000:
        raise ValueError(f"top_k is 1 to 1000, not {top_k}")


def read_all(sources: Iterable[ImageSource], max_bytes: int) -> list[tuple[str, bytes] | Failure]:
    """Each image under its name, or why it cannot be sent."""
    read = [(source.name, source.read(max_bytes)) for source in sources]
    return [data if isinstance(data, Failure) else (name, data) for name, data in read]


def chunk(
    sources: Iterable[ImageSource], max_images: int, max_bytes: int = CHUNK_BYTES
) -> Iterator[list[ImageSource]]:
    """Consecutive images, as many as a request of `max_images` and `max_bytes` holds.

    An image over `max_bytes` stands alone.
    """
    together: list[ImageSource] = []
    together_bytes = 0
    for source in sources:
        size_bytes = source.size_bytes
        if together and (len(together) == max_images or together_bytes + size_bytes > max_bytes):
            yield together
            together, together_bytes = [], 0
        together.append(source)
        together_bytes += size_bytes
    if together:
        yield together
