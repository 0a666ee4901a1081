"""Requests that are unclear, slow or endless, against uvicorn with our protocol."""

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from deployments.ingress.http import http_protocol
from deployments.ingress.http.http_protocol import MAX_HEAD_BYTES
from testing.framing import BROKEN_CHUNKS, CHUNKED, H2C, NEXT, UNCLEAR_HEADS, WEBSOCKET, head
from testing.parser_server import serving

TIMEOUT_S = 10.0
HEAD_WITHIN_S = LINGER_S = 1.0


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers what it has read, or at /unread before it has read it."""
    assert scope["type"] == "http"
    body, is_read = b"", scope["path"] == "/unread"
    while not is_read:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        is_read = not message["more_body"]
    seen = {"method": scope["method"], "path": scope["path"], "body": body.decode("latin-1")}
    content = json.dumps(seen | {"headers": len(scope["headers"])}).encode()
    headers = [(b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Where uvicorn listens, with times that do not keep tests waiting."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http_protocol, "HEAD_WITHIN_S", HEAD_WITHIN_S)
        patch.setattr(http_protocol, "LINGER_S", LINGER_S)
        with serving(application) as port:
            yield port


@pytest.fixture
def client(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as client:
        yield client


def read_to_end(client: socket.socket) -> bytes:
    """All that comes until the connection is closed; a reset is a way to close it, too."""
    received = b""
    try:
        while data := client.recv(2**16):
            received += data
    except ConnectionResetError:
        return received
    return received


def read_answer(client: socket.socket, method: bytes = b"") -> tuple[int, Any]:
    """The next final answer, and no byte of what follows: its status and what its body says."""
    top = b""
    while not top.endswith(b"\r\n\r\n") or top.startswith(b"HTTP/1.1 100 "):
        top = b"" if top.endswith(b"\r\n\r\n") else top
        data = client.recv(1)
        assert data, top
        top += data
    if method == b"HEAD":
        return int(top[9:12]), {}
    match = re.search(rb"content-length: (\d+)", top)
    assert match
    content = b""
    while len(content) < int(match[1]):
        content += client.recv(int(match[1]) - len(content))
    return int(top[9:12]), json.loads(content)


def check_two_requests(client: socket.socket, request: bytes, body: bytes) -> None:
    """That the body is the first request's, and the next request the one that was sent."""
    client.sendall(request + NEXT)
    status, seen = read_answer(client)
    assert (status, seen["path"], seen["body"]) == (200, "/first", body.decode())
    status, seen = read_answer(client)
    assert (status, seen["path"], seen["body"]) == (200, "/next", "")


def check_refused(client: socket.socket, request: bytes) -> None:
    """That there is one answer, 400 in the service's form, and a closed connection."""
    client.sendall(request + NEXT)
    received = read_to_end(client)
    assert received.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert received.count(b"HTTP/1.1 ") == 1
    top, _, body = received.partition(b"\r\n\r\n")
    assert b"connection: close" in top.lower()
    assert json.loads(body)["error"]["code"] == "malformed_request"


@pytest.mark.parametrize("method", [b"POST", b"GET", b"PUT", b"DELETE", b"OPTIONS", b"PATCH"])
@pytest.mark.parametrize("offer", [H2C, (b"Connection: upgrade", b"Upgrade: TLS/1.0, HTTP/2.0")])
def test_an_offer_to_upgrade_is_ignored(
    client: socket.socket, offer: tuple[bytes, ...], method: bytes
) -> None:
    request = head(b"Content-Length: %d" % len(NEXT), *offer, method=method) + NEXT
    check_two_requests(client, request, NEXT)


def test_an_offer_with_chunks_is_ignored(client: socket.socket) -> None:
    request = head(CHUNKED, *H2C) + b"3\r\nabc\r\n2;a=b\r\nde\r\n0\r\nX: y\r\n\r\n"
    check_two_requests(client, request, b"abcde")


def test_an_offer_without_a_body_is_ignored(client: socket.socket) -> None:
    check_two_requests(client, head(*H2C), b"")


def test_an_offer_that_comes_byte_by_byte_is_ignored(client: socket.socket) -> None:
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in head(b"Content-Length: 3", *H2C) + b"abc" + NEXT:
        client.sendall(bytes([byte]))
    assert read_answer(client)[1]["body"] == "abc"
    assert read_answer(client)[1]["path"] == "/next"


def test_many_offers_on_one_connection_are_ignored(client: socket.socket) -> None:
    client.sendall((head(b"Content-Length: 3", *H2C) + b"abc") * 200)
    assert {read_answer(client)[1]["body"] for _ in range(200)} == {"abc"}


def test_an_offer_over_http_1_0_is_ignored_and_the_connection_closed(
    client: socket.socket,
) -> None:
    client.sendall(head(b"Content-Length: 3", *H2C, version=b"1.0") + b"abc" + NEXT)
    received = read_to_end(client)
    assert received.count(b"HTTP/1.1 ") == 1
    assert b'"body": "abc"' in received


@pytest.mark.parametrize("method", [b"GET", b"POST"])
@pytest.mark.parametrize(
    ("lines", "body"),
    [
        ([], b""),
        ([b"Content-Length: 3"], b"abc"),
        ([b"Content-Length: 1000"], b"abc"),
        ([CHUNKED], b"3\r\nabc\r\n0\r\n\r\n"),
    ],
)
def test_a_websocket_is_answered_at_once_and_closed(
    client: socket.socket, method: bytes, lines: list[bytes], body: bytes
) -> None:
    client.sendall(head(*lines, *WEBSOCKET, method=method) + body)
    received = read_to_end(client)
    assert received.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert received.count(b"HTTP/1.1 ") == 1
    assert b'"forbidden"' in received


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST", b"OPTIONS"])
@pytest.mark.parametrize(
    ("line", "body"),
    [
        (b"Content-Length: %d" % len(NEXT), NEXT),
        (CHUNKED, b"%x\r\n" % len(NEXT) + NEXT + b"\r\n0\r\n\r\n"),
    ],
)
def test_a_body_is_read_whatever_the_method(
    client: socket.socket, method: bytes, line: bytes, body: bytes
) -> None:
    client.sendall(head(line, method=method) + body + NEXT)
    seen = read_answer(client, method)[1]
    assert method == b"HEAD" or seen["body"] == NEXT.decode()
    assert read_answer(client)[1]["path"] == "/next"


@pytest.mark.parametrize("request_", UNCLEAR_HEADS.values(), ids=UNCLEAR_HEADS)
def test_an_unclear_head_is_refused(client: socket.socket, request_: bytes) -> None:
    check_refused(client, request_)


@pytest.mark.parametrize("offer", [(), H2C], ids=["plain", "h2c"])
@pytest.mark.parametrize("chunks", BROKEN_CHUNKS.values(), ids=BROKEN_CHUNKS)
def test_a_broken_chunk_is_refused(
    client: socket.socket, chunks: bytes, offer: tuple[bytes, ...]
) -> None:
    check_refused(client, head(CHUNKED, *offer) + chunks)


def test_extensions_of_chunks_are_ignored(client: socket.socket) -> None:
    request = head(CHUNKED) + b'3;a;b=c;d="e\\"f"\r\nabc\r\n0;g\r\n\r\n'
    check_two_requests(client, request, b"abc")


def test_trailers_are_ignored(client: socket.socket) -> None:
    lines = b"0\r\nX-API-Key: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"
    client.sendall(head(CHUNKED) + b"3\r\nabc\r\n" + lines + NEXT)
    seen = read_answer(client)[1]
    assert (seen["body"], seen["headers"]) == ("abc", 2)
    assert read_answer(client)[1]["path"] == "/next"


def test_a_broken_request_does_not_take_the_answer_of_the_one_before(
    client: socket.socket,
) -> None:
    client.sendall(head(b"Content-Length: 3") + b"abc" + head(b"Content-Length: x") + NEXT)
    received = read_to_end(client)
    assert received.count(b"HTTP/1.1 ") == 1
    assert b'"body": "abc"' in received


def test_a_body_that_breaks_after_its_answer_gets_no_second_one(client: socket.socket) -> None:
    client.sendall(head(CHUNKED, path=b"/unread"))
    assert read_answer(client)[0] == 200
    client.sendall(b"x\r\n" + NEXT)
    assert read_to_end(client) == b""


def test_who_may_send_the_body_is_told_so_and_the_connection_is_kept(
    client: socket.socket,
) -> None:
    client.sendall(head(b"Content-Length: 3", b"Expect: 100-continue"))
    assert client.recv(2**10) == b"HTTP/1.1 100 Continue\r\n\r\n"
    check_two_requests(client, b"abc", b"abc")


def test_an_expectation_that_is_not_met_closes_the_connection(client: socket.socket) -> None:
    client.sendall(head(b"Content-Length: 36", b"Expect: 100-continue", path=b"/unread"))
    received = read_to_end(client)
    assert received.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close\r\n" in received
    assert b"100 Continue" not in received


@pytest.mark.parametrize("start", [b"", b"POST / HT", b"POST / HTTP/1.1\r\nHost: x\r\nX-A: "])
def test_a_head_that_does_not_come_closes_the_connection(
    client: socket.socket, start: bytes
) -> None:
    client.sendall(start)
    assert read_to_end(client) == b""


@pytest.mark.parametrize("piece", [b"a", b"a: b\r\n"])
def test_an_endless_head_is_refused(client: socket.socket, piece: bytes) -> None:
    client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nX-A: b\r\n" + piece * 8 * MAX_HEAD_BYTES)
    assert read_to_end(client).startswith(b"HTTP/1.1 400 ")


def test_blank_lines_without_end_are_refused(client: socket.socket) -> None:
    client.sendall(b"\r\n" * 4 * MAX_HEAD_BYTES)
    assert read_to_end(client).startswith(b"HTTP/1.1 400 ")


def test_a_large_head_that_comes_at_once_is_refused(client: socket.socket) -> None:
    check_refused(client, head(b"X-A: " + b"b" * MAX_HEAD_BYTES))


def test_a_large_body_is_not_taken_for_a_large_head(client: socket.socket) -> None:
    body = b"x" * 3 * MAX_HEAD_BYTES
    for _ in range(3):
        check_two_requests(client, head(b"Content-Length: %d" % len(body)) + body, body)


def test_a_slow_body_is_not_taken_for_a_slow_head(client: socket.socket) -> None:
    request = head(b"Content-Length: 3")
    client.sendall(request[:-5])
    client.sendall(request[-5:])
    client.settimeout(2 * HEAD_WITHIN_S)
    with pytest.raises(TimeoutError):
        client.recv(1)
    client.settimeout(TIMEOUT_S)
    check_two_requests(client, b"abc", b"abc")


def test_who_has_an_answer_and_goes_on_sending_is_closed(client: socket.socket) -> None:
    client.sendall(head(b"Content-Length: 1000000", path=b"/unread"))
    assert read_answer(client)[0] == 200
    client.sendall(b"x" * 1000)
    assert read_to_end(client) == b""


def test_a_body_that_ends_after_its_answer_leaves_the_connection_open(
    client: socket.socket,
) -> None:
    client.sendall(head(b"Content-Length: %d" % len(NEXT), path=b"/unread"))
    assert read_answer(client)[1]["body"] == ""
    client.sendall(NEXT + NEXT)
    assert read_answer(client)[1]["path"] == "/next"


def wait_until_closed(port: int) -> None:
    """Until nobody listens any more: the server has begun to stop."""
    give_up = time.monotonic() + TIMEOUT_S
    while time.monotonic() < give_up:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S).close()
        except ConnectionRefusedError:
            return
        time.sleep(0.02)
    raise AssertionError("the server goes on")


def test_a_server_that_stops_closes_the_connection_of_an_upload_after_its_response() -> None:
    with ExitStack() as stack:
        port = stack.enter_context(serving(application))
        with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as client:
            client.sendall(head(b"Content-Length: 6", b"Expect: 100-continue"))
            assert client.recv(2**16).startswith(b"HTTP/1.1 100 ")
            client.sendall(b"abc")
            stopping = threading.Thread(target=stack.close)
            stopping.start()
            wait_until_closed(port)
            client.sendall(b"def")
            received = read_to_end(client)
        stopping.join()
    assert received.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in received.lower()
    assert b"abcdef" in received
