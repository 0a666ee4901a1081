"""Parse multipart/form-data (RFC 7578) as its bytes arrive.

python-multipart and multipart were tried: the one refuses folded headers, the other blanks
after a boundary, and neither reads extended parameters (RFC 5987), which clients send.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from urllib.parse import unquote_to_bytes

from deployments.common.errors import MalformedRequest

MAX_BOUNDARY_BYTES = 256
"""RFC 2046 allows 70."""
MAX_HEAD_BYTES = 8192
MAX_HEADERS = 32
_MAX_PADDING_BYTES = 256
_PIECE_BYTES = 1 << 16
"""What is searched at a time, since each event copies the rest of it."""

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FOLD = re.compile(rb"\r\n[ \t]+")
_PARAMETER = re.compile(
    rb""";[ \t]*([^\s;="]+)[ \t]*=[ \t]*("(?:[^"\\]|\\.)*"|"[^"]*"|[^;]*)""", re.DOTALL
)
_EXTENDED = re.compile(rb"([A-Za-z0-9_.:+-]+)'[^']*'(.*)", re.DOTALL)
_PADDING = re.compile(rb"[ \t]*\r\n")
_UNFINISHED_PADDING = re.compile(rb"[ \t]*\r?|-")


@dataclass(frozen=True)
class PartHead:
    """The headers of a part: its field name, its file name ("" if none) and media type."""

    name: str
    filename: str
    media_type: str


class PartEnd:
    """The end of a part."""


class _State(Enum):
    DATA = auto()
    HEAD = auto()
    END = auto()


class FormParser:
    """Turns chunks of a body into events: a PartHead, the part's bytes, a PartEnd, and so on."""

    def __init__(self, boundary: bytes) -> None:
        """Raises MalformedRequest for a boundary that cannot be one."""
        if not 0 < len(boundary) <= MAX_BOUNDARY_BYTES or re.search(rb"[\r\n]", boundary):
            raise MalformedRequest("the Content-Type names no usable multipart boundary")
        self._delimiter = b"\r\n--" + boundary
        self._buffer = b"\r\n"  # so that the first delimiter is like the others
        self._state = _State.DATA
        self._in_part = False

    @property
    def has_ended(self) -> bool:
        """Whether the last boundary has been read; what follows it is ignored."""
        return self._state is _State.END

    def feed(self, chunk: bytes) -> Iterator[PartHead | PartEnd | bytes]:
        """Yield the events that a chunk completes. Raises MalformedRequest."""
        for start in range(0, len(chunk), _PIECE_BYTES):
            self._buffer += chunk[start : start + _PIECE_BYTES]
            yield from self._read_events()

    def _read_events(self) -> Iterator[PartHead | PartEnd | bytes]:
        progress = True
        while progress and not self.has_ended:
            if self._state is _State.HEAD:
                end = (b"\r\n" + self._buffer).find(b"\r\n\r\n", 0, MAX_HEAD_BYTES)
                progress = end >= 0
                if progress:
                    head, self._buffer = self._buffer[:end], self._buffer[end + 2 :]
                    self._state = _State.DATA
                    self._in_part = True
                    yield _parse_head(head)
                elif len(self._buffer) >= MAX_HEAD_BYTES:
                    raise MalformedRequest(f"a part's headers exceed {MAX_HEAD_BYTES} bytes")
            else:
                data, progress = self._read_data()
                if data and self._in_part:
                    yield data
                if progress and self._state is not _State.DATA and self._in_part:
                    self._in_part = False
                    yield PartEnd()

    def _read_data(self) -> tuple[bytes, bool]:
        """Take data up to the next delimiter line; also say whether to go on."""
        buffer, delimiter = self._buffer, self._delimiter
        start = buffer.find(delimiter)
        if start < 0:
            start = buffer.rfind(b"\r", max(0, len(buffer) - len(delimiter) + 1))
            if start < 0 or not delimiter.startswith(buffer[start:]):
                start = len(buffer)
            self._buffer = buffer[start:]
            return buffer[:start], False
        after = start + len(delimiter)
        if buffer.startswith(b"--", after):
            self._state, self._buffer = _State.END, b""
            return buffer[:start], True
        if padding := _PADDING.match(buffer, after):
            self._state, self._buffer = _State.HEAD, buffer[padding.end() :]
            return buffer[:start], True
        tail = buffer[after : after + _MAX_PADDING_BYTES]
        if len(tail) < _MAX_PADDING_BYTES and _UNFINISHED_PADDING.fullmatch(tail):
            self._buffer = buffer[start:]
            return buffer[:start], False
        self._buffer = buffer[after:]  # a longer line that begins like the delimiter: data
        return buffer[:after], True


def _parse_head(head: bytes) -> PartHead:
    headers: dict[bytes, bytes] = {}
    lines = _FOLD.sub(b" ", head).split(b"\r\n")[: MAX_HEADERS + 1]
    for line in lines[:-1] if lines[-1] == b"" else lines:
        name, colon, value = line.partition(b":")
        if not colon or not _TOKEN.fullmatch(name) or b"\r" in value or len(lines) > MAX_HEADERS:
            raise MalformedRequest("the multipart body is broken: a part has invalid headers")
        headers[name.lower()] = value.strip(b" \t")
    disposition, parameters = parse_parameters(headers.get(b"content-disposition", b""))
    if disposition != b"form-data" or b"name" not in parameters:
        raise MalformedRequest("a part of the multipart body has no field name")
    return PartHead(
        _decode_name(parameters[b"name"]),
        _decode_name(parameters.get(b"filename", b"")),
        headers.get(b"content-type", b"").decode("latin-1").lower(),
    )


def parse_parameters(value: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """Split a header's value into its lower-case first part and its parameters.

    An extended parameter (`name*=utf-8''...`, RFC 5987) stands in UTF-8 in place of the plain
    one; if it is broken, the plain one counts.
    """
    first = value.partition(b";")[0]
    plain: dict[bytes, bytes] = {}
    extended: dict[bytes, bytes] = {}
    for found in _PARAMETER.finditer(value, len(first)):
        name, text = found[1].lower(), found[2].strip(b" \t")
        if name.endswith(b"*"):
            if (decoded := _decode_extended(text.strip(b'"'))) is not None:
                extended[name[:-1]] = decoded
            continue
        if len(text) >= 2 and text.startswith(b'"'):
            text = text[1:-1].replace(b"\\\\", b"\\").replace(b'\\"', b'"')
        plain[name] = text
    return first.strip(b" \t").lower(), plain | extended


def _decode_extended(text: bytes) -> bytes | None:
    found = _EXTENDED.fullmatch(text)
    if found is None or re.search(rb"%(?![0-9A-Fa-f]{2})", found[2]):
        return None
    try:
        return unquote_to_bytes(found[2]).decode(found[1].decode()).encode()
    except (LookupError, UnicodeError):
        return None


def _decode_name(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode("latin-1")
