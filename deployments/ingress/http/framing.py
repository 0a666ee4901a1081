"""Where a request ends: what llhttp accepts of a head, and another parser may read otherwise.

llhttp refuses by itself: Content-Length beside Transfer-Encoding, several or odd lengths, folded
lines, bare CR or LF, control characters, blanks around names, broken chunks and their extensions.
"""

from collections.abc import Iterable

from deployments.common.errors import MalformedRequest

_VERSIONS = ("1.0", "1.1")


def check_framing(version: str, headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Raises MalformedRequest when two parsers might disagree about a request.

    headers: lower-case names and values, as they came.
    """
    if version not in _VERSIONS:
        raise MalformedRequest("the HTTP version is not supported; send HTTP/1.0 or HTTP/1.1")
    num_hosts = num_codings = 0
    for name, value in headers:
        if name == b"host":
            num_hosts += 1
        elif name == b"transfer-encoding":
            num_codings += 1
            _check_coding(version, value)
        elif name == b"expect" and value.lower() != b"100-continue":
            raise MalformedRequest("the Expect header is unknown; send 100-continue or none")
    if num_hosts > 1 or (num_hosts == 0 and version == "1.1"):
        raise MalformedRequest(f"the request has {num_hosts} Host headers; send one")
    if num_codings > 1:
        raise MalformedRequest("the request has several Transfer-Encoding headers; send one")


def _check_coding(version: str, coding: bytes) -> None:
    if version == "1.0":  # RFC 9112, 6.1: then its framing is faulty
        raise MalformedRequest("HTTP/1.0 has no Transfer-Encoding; send a Content-Length")
    if coding.lower() != b"chunked":
        raise MalformedRequest("the Transfer-Encoding is not supported; send chunked alone")
