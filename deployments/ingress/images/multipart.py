"""The bytes of a request in, named images out, each limit met as early as it can be.

Knows HTTP bodies, which `intake` has counted; knows nothing of Ray, of pixels or of answers.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.datastructures import Headers

from deployments.common.errors import (
    ImageError,
    ImageTooLarge,
    MalformedRequest,
    NoImage,
    TooManyImages,
    UnsupportedBody,
)
from deployments.common.settings import Limits

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

RAW_BODY_NAME = "image"
MAX_PARTS = 1000
"""Of a multipart body, those that are no images included."""

Chunks = AsyncIterator[bytes]


@dataclass(frozen=True)
class Upload:
    """One image as it was sent: the name it is answered under, and its bytes or why not."""

    name: str
    data: bytes | ImageError

    @classmethod
    def of(cls, name: str, data: bytes, limits: Limits) -> "Upload":
        """An image whose bytes are at hand already; too many of them are its error."""
        part = _Part(name, limits.max_image_bytes)
        part.write(data)
        return part.upload()


async def read_uploads(headers: Headers, chunks: Chunks, limits: Limits) -> list[Upload]:
    """Read the images of a request in the order sent, under distinct names.

    Raises NoImage, MalformedRequest, TooManyImages or UnsupportedBody for the request as a
    whole. An image over `max_image_bytes` is an entry of its own.
    """
    media_type, options = parse_options_header(headers.get("content-type"))
    if media_type == b"multipart/form-data":
        uploads = await _read_multipart(chunks, options.get(b"boundary", b""), limits)
    elif media_type.startswith(b"image/") or media_type == b"application/octet-stream":
        uploads = await _read_raw(chunks, limits)
    else:
        raise await _refuse_body(chunks)
    if not uploads:
        raise NoImage("the request holds no image")
    return _distinct(uploads)


async def _refuse_body(chunks: Chunks) -> NoImage | UnsupportedBody:
    async for chunk in chunks:
        if chunk:
            return UnsupportedBody(
                "send multipart/form-data, or one image with its Content-Type (image/...)"
            )
    return NoImage("the request has no body")


async def _read_raw(chunks: Chunks, limits: Limits) -> list[Upload]:
    part = _Part(RAW_BODY_NAME, limits.max_image_bytes)
    async for chunk in chunks:
        part.write(chunk)
    return [part.upload()] if part.size_bytes else []


async def _read_multipart(chunks: Chunks, boundary: bytes, limits: Limits) -> list[Upload]:
    reader = _MultipartReader(limits)
    try:
        parser = MultipartParser(boundary, reader.callbacks()) if boundary else None
        async for chunk in chunks:
            if chunk and parser is None:
                raise MalformedRequest("the Content-Type names no multipart boundary")
            if parser is not None:
                parser.write(chunk)
                reader.started |= bool(chunk)
    except FormParserError as error:
        raise MalformedRequest("the multipart body is broken") from error
    if reader.started and not reader.ended:
        raise MalformedRequest("the multipart body ends before its last boundary")
    return reader.uploads


class _Part:
    """The bytes of one image, kept only while they are not too many."""

    def __init__(self, name: str, max_bytes: int) -> None:
        self.size_bytes = 0
        self._name = name
        self._max_bytes = max_bytes
        self._chunks: list[bytes] = []

    def write(self, chunk: bytes) -> None:
        self.size_bytes += len(chunk)
        if self.size_bytes <= self._max_bytes:
            self._chunks.append(chunk)
        else:
            self._chunks.clear()

    def upload(self) -> Upload:
        if self.size_bytes > self._max_bytes:
            message = f"the image is larger than {self._max_bytes} bytes"
            return Upload(self._name, ImageTooLarge(message))
        return Upload(self._name, b"".join(self._chunks))


class _MultipartReader:
    """The callbacks of the parser: which parts are images, and what is in them."""

    def __init__(self, limits: Limits) -> None:
        self.uploads: list[Upload] = []
        self.started = self.ended = False
        self._parts = 0
        self._limits = limits
        self._headers: dict[bytes, bytes] = {}
        self._field = self._value = b""
        self._part: _Part | None = None

    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._begin_part,
            "on_header_field": self._add_to_field,
            "on_header_value": self._add_to_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._open_part,
            "on_part_data": self._add_data,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def _begin_part(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise MalformedRequest(f"a multipart body may hold {MAX_PARTS} parts at most")
        self._headers = {}

    def _add_to_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _add_to_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        self._headers[self._field.lower()] = self._value
        self._field = self._value = b""

    def _open_part(self) -> None:
        disposition, options = parse_options_header(self._headers.get(b"content-disposition"))
        if disposition != b"form-data" or b"name" not in options:
            raise MalformedRequest("a part of the multipart body has no field name")
        filename = options.get(b"filename", b"")
        media_type = self._headers.get(b"content-type", b"").strip().lower()
        if not filename and not media_type.startswith(b"image/"):
            self._part = None  # another field, or a file input that was left empty
            return
        if len(self.uploads) == self._limits.max_images:
            raise TooManyImages(f"a request may hold {self._limits.max_images} images at most")
        self._part = _Part(_text(filename or options[b"name"]), self._limits.max_image_bytes)

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        if self._part is not None:
            self._part.write(data[start:end])

    def _end_part(self) -> None:
        if self._part is not None:
            self.uploads.append(self._part.upload())

    def _end(self) -> None:
        self.ended = True


def _text(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode("latin-1")


def _distinct(uploads: list[Upload]) -> list[Upload]:
    """Give a repeated name ` (2)`, ` (3)`, ... so that no result is lost.

    The first of each name keeps it as sent, also where a number would make that name.
    """
    taken = {upload.name for upload in uploads}
    seen: set[str] = set()
    distinct: list[Upload] = []
    for upload in uploads:
        name = upload.name if upload.name not in seen else _next_free(upload.name, taken)
        seen.add(upload.name)
        taken.add(name)
        distinct.append(Upload(name, upload.data))
    return distinct


def _next_free(name: str, taken: set[str]) -> str:
    number = 2
    while f"{name} ({number})" in taken:
        number += 1
    return f"{name} ({number})"
