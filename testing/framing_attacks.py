"""Attacks on clients that share a connection with the attacker, and what these victims get."""

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from urllib.parse import urlsplit

from testing.framing import BROKEN_CHUNKS, CHUNKED, H2C, UNCLEAR_HEADS, WEBSOCKET, head

TIMEOUT_S = 30.0
GIVEN_UP_AFTER_S = 2.0
"""How long an attacker waits: some proxies wait for more of what is sent."""

LATE_S = 0.02
"""Between a head and its body: enough for an early response, and Caddy then still reuses the
connection, which it does not if the body takes longer than 50 ms."""

PATH = b"/predict"
IMAGE = b"Content-Type: image/png"
OFFERS = {"h2c": H2C, "other": (b"Connection: upgrade", b"Upgrade: other/1")}
CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
CONTEXT.check_hostname, CONTEXT.verify_mode = False, ssl.CERT_NONE


@dataclass(frozen=True)
class Target:
    """The service, or what stands before it, which makes its own of some requests."""

    name: str
    url: str

    @contextmanager
    def connect(self, timeout_s: float = TIMEOUT_S) -> Iterator[socket.socket]:
        parts = urlsplit(self.url)
        assert parts.port is not None
        with socket.create_connection(("localhost", parts.port), timeout_s) as plain:
            if parts.scheme == "http":
                yield plain
                return
            with CONTEXT.wrap_socket(plain, server_hostname="localhost") as client:
                yield client


def read_answer(client: socket.socket, method: str = "GET") -> HTTPResponse:
    """The next answer with its body at hand. Raises HTTPException or OSError."""
    answer = HTTPResponse(client, method=method)
    answer.begin()
    return answer


def smuggled(photo: bytes) -> bytes:
    """What a victim must never be answered with: a whole request for another photo."""
    length = b"Content-Length: %d" % len(photo)
    return head(length, IMAGE, b"X-Request-ID: smuggled", path=b"/run_inference") + photo


def attacks(photo: bytes) -> list[bytes]:
    """Bodies and remains of bodies that are requests."""
    inner = smuggled(photo)
    length = b"Content-Length: %d" % len(inner)
    chunks = b"%x\r\n" % len(inner) + inner + b"\r\n0\r\n\r\n"
    bodies = [
        head(*lines, *offer, IMAGE, method=method, path=PATH) + body
        for offer in [*OFFERS.values(), WEBSOCKET, (b"Expect: 100-continue",), ()]
        for lines, body in [((length,), inner), ((CHUNKED,), chunks)]
        for method in (b"POST", b"GET", b"HEAD", b"OPTIONS")
    ]
    unread = [
        head(length, *expect, IMAGE, method=method, path=path) + inner
        for expect in [(b"Expect: 100-continue",), ()]
        for method in (b"POST", b"GET")
        for path in (b"/healthz", b"/nothing")
    ]
    unclear = [*UNCLEAR_HEADS.values(), *(head(CHUNKED) + each for each in BROKEN_CHUNKS.values())]
    return bodies + unread + [request + inner for request in unclear]


def attack(target: Target, request: bytes) -> None:
    with target.connect(GIVEN_UP_AFTER_S) as client:
        try:
            client.sendall(request)
            read_answer(client, request.partition(b" ")[0].decode("latin-1")).read()
        except (HTTPException, OSError):
            return  # an attacker may be told anything, or nothing


def ask_as_victim(target: Target, number: int) -> tuple[int, str | None]:
    """On a connection of its own to the target: status and whose answer it is."""
    with target.connect() as client:
        client.sendall(head(b"X-Request-ID: %d" % number, method=b"GET", path=b"/healthz"))
        answer = read_answer(client)
        answer.read()
        return answer.status, answer.headers["X-Request-ID"]


def attack_with_a_late_body(target: Target, photo: bytes, offer: tuple[bytes, ...]) -> None:
    """A head with an offer and blank lines, more than a front holds back; then another request.

    Blank lines before a request line are skipped, so it does not matter where a front cuts them.
    """
    inner, blank = smuggled(photo), b"\r\n" * 4096
    length = b"Content-Length: %d" % len(blank + inner)
    with target.connect(GIVEN_UP_AFTER_S) as client:
        try:
            client.sendall(head(length, IMAGE, *offer, path=PATH) + blank)
            time.sleep(LATE_S)
            client.sendall(inner)
            read_answer(client).read()
        except (HTTPException, OSError):
            return
