"""Connections to the HTTP proxy that would never end, against uvicorn with our protocol."""

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from deployments.ingress.http import connection
from deployments.ingress.http.connection import MAX_HEAD_BYTES, BoundedProtocol

TIMEOUT_S = 10.0


async def answer_unread(_: Scope, __: Receive, send: Send) -> None:
    """An answer that is given before the body has come."""
    await send({"type": "http.response.start", "status": 413, "headers": []})
    await send({"type": "http.response.body", "body": b"too large"})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Where uvicorn listens, with times that do not keep tests waiting."""
    with pytest.MonkeyPatch.context() as patch, socket.create_server(("127.0.0.1", 0)) as listener:
        patch.setattr(connection, "HEAD_WITHIN_S", 0.3)
        patch.setattr(connection, "LINGER_S", 0.3)
        config = uvicorn.Config(
            answer_unread, http=BoundedProtocol, lifespan="off", log_config=None, log_level="error"
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=asyncio.run, args=(server.serve([listener]),))
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join()


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


@pytest.mark.parametrize("head", [b"", b"POST / HT", b"POST / HTTP/1.1\r\nHost: x\r\nX-A: "])
def test_a_head_that_does_not_come_closes_the_connection(
    client: socket.socket, head: bytes
) -> None:
    client.sendall(head)
    assert read_to_end(client) == b""


@pytest.mark.parametrize("piece", [b"a", b"a: b\r\n"])
def test_an_endless_head_is_refused(client: socket.socket, piece: bytes) -> None:
    client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nX-A: b\r\n" + piece * MAX_HEAD_BYTES)
    assert read_to_end(client).startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 413 "))


def test_who_has_an_answer_and_goes_on_sending_is_closed(client: socket.socket) -> None:
    client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
    assert client.recv(2**16).startswith(b"HTTP/1.1 413 ")
    client.sendall(b"x" * 1000)
    read_to_end(client)


def test_one_connection_serves_one_request_after_another(client: socket.socket) -> None:
    for _ in range(3):
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
        answer = b""
        while not answer.endswith(b"0\r\n\r\n"):
            answer += client.recv(2**16)
        assert answer.startswith(b"HTTP/1.1 413 ")
