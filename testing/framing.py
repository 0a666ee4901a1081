"""Requests whose end two parsers may find in different places, and such as only seem to be."""

NEXT = b"GET /next HTTP/1.1\r\nHost: next\r\n\r\n"
"""What follows on each connection; it is answered only when it is a request of its own."""

H2C = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk")
WEBSOCKET = (
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
)
CHUNKED = b"Transfer-Encoding: chunked"


def head(
    *lines: bytes,
    method: bytes = b"POST",
    path: bytes = b"/first",
    version: bytes = b"1.1",
    host: bytes = b"Host: localhost",
) -> bytes:
    first = [method + b" " + path + b" HTTP/" + version, host, *lines]
    return b"\r\n".join([*first, b"", b""])


UNCLEAR_HEADS = {
    "length-and-chunks": head(b"Content-Length: 3", CHUNKED) + b"0\r\n\r\n",
    "chunks-and-length": head(CHUNKED, b"Content-Length: 3") + b"0\r\n\r\n",
    "two-lengths": head(b"Content-Length: 3", b"Content-Length: 4") + b"abc",
    "the-same-length-twice": head(b"Content-Length: 3", b"Content-Length: 3") + b"abc",
    "a-list-of-lengths": head(b"Content-Length: 3, 3") + b"abc",
    "signed-length": head(b"Content-Length: +3") + b"abc",
    "negative-length": head(b"Content-Length: -3") + b"abc",
    "hexadecimal-length": head(b"Content-Length: 0x3") + b"abc",
    "empty-length": head(b"Content-Length: ") + b"abc",
    "length-with-a-blank": head(b"Content-Length: 3 3") + b"abc",
    "length-with-letters": head(b"Content-Length: 3x") + b"abc",
    "length-beyond-64-bits": head(b"Content-Length: 18446744073709551619") + b"abc",
    "folded-length": head(b"Content-Length:\r\n 3") + b"abc",
    "folded-header": head(b"X-A: b\r\n c", b"Content-Length: 3") + b"abc",
    "folded-coding": head(b"Transfer-Encoding:\r\n\tchunked") + b"0\r\n\r\n",
    "blank-before-the-first-header": head(host=b" Host: localhost"),
    "bare-lf-in-headers": head(b"X-A: b\nContent-Length: 3") + b"abc",
    "bare-lf-after-the-headers": head(b"Content-Length: 3")[:-2] + b"\nabc",
    "bare-lf-after-the-request-line": b"POST / HTTP/1.1\nHost: localhost\r\n\r\n",
    "bare-lf-everywhere": b"POST / HTTP/1.1\nHost: localhost\nContent-Length: 3\n\nabc",
    "bare-cr-in-headers": head(b"X-A: b\rContent-Length: 3") + b"abc",
    "blank-before-the-colon": head(b"Content-Length : 3") + b"abc",
    "nul-in-a-value": head(b"X-A: b\0c"),
    "nul-in-a-name": head(b"X-A\0: b"),
    "control-character-in-a-value": head(b"X-A: b\x01c"),
    "header-without-a-colon": head(b"Content-Length"),
    "header-without-a-name": head(b": 3"),
    "other-coding": head(b"Transfer-Encoding: gzip") + b"abc",
    "coding-before-chunked": head(b"Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n",
    "coding-after-chunked": head(b"Transfer-Encoding: chunked, gzip") + b"0\r\n\r\n",
    "identity": head(b"Transfer-Encoding: identity", b"Content-Length: 3") + b"abc",
    "misspelt-chunked": head(b"Transfer-Encoding: xchunked") + b"0\r\n\r\n",
    "quoted-chunked": head(b'Transfer-Encoding: "chunked"') + b"0\r\n\r\n",
    "chunked-after-a-vertical-tab": head(b"Transfer-Encoding: \x0bchunked") + b"0\r\n\r\n",
    "chunked-twice": head(CHUNKED, CHUNKED) + b"0\r\n\r\n",
    "chunked-and-an-empty-coding": head(CHUNKED, b"Transfer-Encoding: ") + b"0\r\n\r\n",
    "chunks-over-http-1-0": head(CHUNKED, version=b"1.0") + b"0\r\n\r\n",
    "http-0-9": head(version=b"0.9"),
    "http-1-2": head(version=b"1.2"),
    "http-2": head(version=b"2.0"),
    "http-2-preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "two-hosts": head(b"Host: y"),
    "no-host": head(host=b"X-A: b"),
    "unknown-expectation": head(b"Expect: 200-ok", b"Content-Length: 3") + b"abc",
    "two-expectations": head(b"Expect: 100-continue, 200-ok", b"Content-Length: 3") + b"abc",
    "connect": head(b"Content-Length: 3", method=b"CONNECT", path=b"x:1") + b"abc",
    "unknown-method": head(b"Content-Length: 3", method=b"FOO") + b"abc",
    "target-with-a-blank": head(path=b"/a b"),
    "offer-with-length-and-chunks": head(b"Content-Length: 3", CHUNKED, *H2C) + b"0\r\n\r\n",
    "offer-with-two-lengths": head(b"Content-Length: 3", b"Content-Length: 3", *H2C) + b"abc",
    "offer-with-coding-before-chunked": head(b"Transfer-Encoding: a, chunked", *H2C) + b"0\r\n\r\n",
    "offer-over-http-1-0-with-chunks": head(CHUNKED, *H2C, version=b"1.0") + b"0\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}

BROKEN_CHUNKS = {
    "hexadecimal-prefix": b"0x3\r\nabc\r\n0\r\n\r\n",
    "sign": b"+3\r\nabc\r\n0\r\n\r\n",
    "negative": b"-3\r\nabc\r\n0\r\n\r\n",
    "blank-before": b" 3\r\nabc\r\n0\r\n\r\n",
    "blank-after": b"3 \r\nabc\r\n0\r\n\r\n",
    "no-size": b"\r\nabc\r\n0\r\n\r\n",
    "no-digit": b"g\r\nabc\r\n0\r\n\r\n",
    "underscore": b"0_3\r\nabc\r\n0\r\n\r\n",
    "beyond-64-bits": b"10000000000000003\r\nabc\r\n0\r\n\r\n",
    "bare-lf-after-the-size": b"3\nabc\r\n0\r\n\r\n",
    "bare-lf-after-the-data": b"3\r\nabc\n0\r\n\r\n",
    "nothing-after-the-data": b"3\r\nabc0\r\n\r\n",
    "more-data-than-size": b"3\r\nabcd\r\n0\r\n\r\n",
    "bare-lf-at-the-end": b"3\r\nabc\r\n0\r\n\n",
    "bare-lf-after-the-last-size": b"3\r\nabc\r\n0\n\r\n",
    "empty-extension": b"3;\r\nabc\r\n0\r\n\r\n",
    "bare-lf-in-an-extension": b"3;a\nabc\r\n0\r\n\r\n",
    "bare-cr-in-an-extension": b"3;a\rbc\r\nabc\r\n0\r\n\r\n",
    "nul-in-an-extension": b"3;a=\0\r\nabc\r\n0\r\n\r\n",
    "folded-trailer": b"0\r\nX-A: b\r\n c\r\n\r\n",
    "bare-lf-in-trailers": b"0\r\nX-A: b\n\r\n",
    "length-among-trailers": b"0\r\nContent-Length: 36\r\n\r\n",
    "coding-among-trailers": b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
}
