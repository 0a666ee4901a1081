"""Undo the Content-Encoding of a request body, bounded in size.

Knows HTTP's headers; knows nothing of routes or images.
"""

import zlib
from collections.abc import AsyncIterator, Callable

from starlette.datastructures import Headers

from deployments.common.errors import MalformedRequest, RequestTooLarge, UnsupportedContentCoding

_CODINGS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""The `wbits` of zlib for each coding; HTTP's deflate is the zlib format (RFC 9110, 8.4.1.2)."""
_PIECE_BYTES = 1 << 16

Chunks = AsyncIterator[bytes]
Reserve = Callable[[int], None]
"""Called with the size of each decoded piece; it may raise if memory is short."""


def decode_body(
    chunks: Chunks, headers: Headers, max_bytes: int, reserve: Reserve = lambda _: None
) -> Chunks:
    """Return the body's content, decoded if it has a Content-Encoding.

    Raises UnsupportedContentCoding for a coding other than gzip and deflate. While it is read,
    raises RequestTooLarge above `max_bytes` and MalformedRequest if the data is broken.
    """
    value = ",".join(headers.getlist("content-encoding")).lower()
    codings = [coding for item in value.split(",") if (coding := item.strip()) != "identity"]
    codings = [coding for coding in codings if coding]
    for coding in codings:
        if coding not in _CODINGS:
            raise UnsupportedContentCoding(
                f"the Content-Encoding {coding!r:.40} is not supported: send gzip, deflate or none"
            )
    if len(codings) > 1:
        raise UnsupportedContentCoding("send one Content-Encoding, gzip or deflate, or none")
    return _decode(chunks, codings[0], max_bytes, reserve) if codings else chunks


async def _decode(chunks: Chunks, coding: str, max_bytes: int, reserve: Reserve) -> Chunks:
    decoder = zlib.decompressobj(_CODINGS[coding])
    started = False
    decoded_bytes = 0
    async for chunk in chunks:
        pending, piece = chunk, b""
        # A full piece may leave output in the decoder although it has taken all input.
        while pending or (len(piece) == _PIECE_BYTES and not decoder.eof):
            if decoder.eof:  # RFC 1952 allows several members in a row
                decoder = zlib.decompressobj(_CODINGS[coding])
            piece = _decompress(decoder, pending, coding)
            started = True
            decoded_bytes += len(piece)
            if decoded_bytes > max_bytes:
                raise RequestTooLarge(f"the request is larger than {max_bytes} bytes")
            reserve(len(piece))
            yield piece
            pending = decoder.unused_data if decoder.eof else decoder.unconsumed_tail
    if started and not decoder.eof:
        raise MalformedRequest(f"the body ends before its {coding} data does")


def _decompress(decoder: "zlib._Decompress", data: bytes, coding: str) -> bytes:
    try:
        return decoder.decompress(data, _PIECE_BYTES)
    except zlib.error as error:
        raise MalformedRequest(f"the body is not valid {coding} data") from error
