"""The bytes of a request in, named images out, each limit met as early as it can be.

Knows HTTP bodies, which BodyLimitMiddleware counts; knows nothing of Ray, pixels or responses.
"""

from dataclasses import dataclass, replace

from starlette.datastructures import Headers

from deployments.common.errors import (
    ImageError,
    ImageTooLarge,
    MalformedRequest,
    NoImage,
    TooManyImages,
    UnsupportedImage,
)
from deployments.common.settings import Limits
from deployments.ingress.content_coding import Chunks, Reserve, decode_body
from deployments.ingress.images.form_parser import (
    FormParser,
    PartEnd,
    PartHead,
    parse_parameters,
)
from deployments.ingress.images.formats import LONGEST_MAGIC_BYTES, is_image
from deployments.ingress.images.rejected_body import (
    CHANGED_BY_CURL,
    FORM_OF_TEXT,
    HOW_TO_SEND,
    empty_body,
    unsupported_body,
)

RAW_BODY_NAME = "image"
MAX_PARTS = 1000
"""Of a multipart body, those that are no images included."""


@dataclass(frozen=True)
class Upload:
    """One image as it was sent: the name it is answered under, and its bytes or why not.

    hint: what to add to the message if it cannot be decoded.
    """

    name: str
    data: bytes | ImageError
    hint: str = ""

    @classmethod
    def of(cls, name: str, data: bytes, limits: Limits) -> "Upload":
        """An image whose bytes are at hand already; too many of them are its error."""
        part = _Part(name, limits.max_image_bytes)
        part.write(data)
        return part.upload()


async def read_uploads(
    headers: Headers, chunks: Chunks, limits: Limits, reserve: Reserve = lambda _: None
) -> list[Upload]:
    """Read the images of a request in the order sent, under distinct names.

    `reserve` is called with the size of each piece that a Content-Encoding expands to.
    Raises NoImage, MalformedRequest, TooManyImages, RequestTooLarge or UnsupportedBody for the
    request as a whole. An image over `max_image_bytes` is an entry of its own.
    """
    chunks = decode_body(chunks, headers, limits.max_request_bytes, reserve)
    content_type = headers.get("content-type", "").encode("latin-1", "replace")
    media_type, options = parse_parameters(content_type)
    if media_type == b"multipart/form-data":
        uploads = await _read_multipart(chunks, options.get(b"boundary", b""), limits)
    elif media_type.startswith(b"image/") or media_type == b"application/octet-stream":
        uploads = await _read_raw(chunks, limits)
    else:
        uploads = await _read_untyped(chunks, media_type, limits)
    if not uploads:
        raise NoImage(f"the request holds no image; {HOW_TO_SEND}")
    return _distinct(uploads)


async def _read_untyped(chunks: Chunks, media_type: bytes, limits: Limits) -> list[Upload]:
    """An image that came with another Content-Type or none, as `curl --data-binary` sends it.

    Raises NoImage or UnsupportedBody.
    """
    part = _Part(RAW_BODY_NAME, limits.max_image_bytes)
    head = b""
    async for chunk in chunks:
        if len(head) < LONGEST_MAGIC_BYTES:
            head += chunk
            if len(head) >= LONGEST_MAGIC_BYTES and not is_image(head):
                break
        part.write(chunk)
    if not head:
        raise empty_body()
    if not is_image(head):
        raise unsupported_body(media_type)
    upload = part.upload()
    return [replace(upload, hint=CHANGED_BY_CURL) if media_type == FORM_OF_TEXT else upload]


async def _read_raw(chunks: Chunks, limits: Limits) -> list[Upload]:
    part = _Part(RAW_BODY_NAME, limits.max_image_bytes)
    async for chunk in chunks:
        part.write(chunk)
    if not part.size_bytes:
        raise empty_body()
    return [part.upload()]


async def _read_multipart(chunks: Chunks, boundary: bytes, limits: Limits) -> list[Upload]:
    parser: FormParser | None = None
    reader = _FormReader(limits)
    async for chunk in chunks:
        if chunk:
            parser = parser or FormParser(boundary)
            for event in parser.feed(chunk):
                reader.handle(event)
    if parser is not None and not parser.has_ended:
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
        if not self.size_bytes:
            return Upload(self._name, UnsupportedImage("the file is empty"))
        return Upload(self._name, b"".join(self._chunks))


class _FormReader:
    """Keeps the parts of a form that are images."""

    def __init__(self, limits: Limits) -> None:
        self.uploads: list[Upload] = []
        self._limits = limits
        self._parts = 0
        self._part: _Part | None = None

    def handle(self, event: PartHead | PartEnd | bytes) -> None:
        if isinstance(event, PartHead):
            self._part = self._open_part(event)
        elif self._part is not None and isinstance(event, bytes):
            self._part.write(event)
        elif self._part is not None:
            self.uploads.append(self._part.upload())

    def _open_part(self, head: PartHead) -> _Part | None:
        """None for a field of text, or a file input that was left empty."""
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise MalformedRequest(f"a multipart body may hold {MAX_PARTS} parts at most")
        if not head.filename and not head.media_type.startswith("image/"):
            return None
        if len(self.uploads) == self._limits.max_images:
            raise TooManyImages(f"a request may hold {self._limits.max_images} images at most")
        return _Part(head.filename or head.name, self._limits.max_image_bytes)


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
        distinct.append(replace(upload, name=name))
    return distinct


def _next_free(name: str, taken: set[str]) -> str:
    number = 2
    while f"{name} ({number})" in taken:
        number += 1
    return f"{name} ({number})"
