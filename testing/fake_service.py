"""A small HTTP server that answers as the service does, and fails as it is told to.

The class of an "image" is its own bytes, so that answers can be told apart.
"""

import json
import re
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_PART = re.compile(rb'filename="(\d+)"\r\n\r\n(.*?)\r\n--', re.DOTALL)

Fault = Callable[["Handler"], bool]
"""Called instead of the answer; what returns True lets the answer follow."""


@dataclass(frozen=True)
class Seen:
    """A request to `/predict` as it came."""

    at: float
    headers: Mapping[str, str]
    images: Mapping[str, bytes]


class FakeService:
    """`faults` are used up by the requests to `/predict`, in the order they come."""

    def __init__(self) -> None:
        self.model_version = "sha256:0123456789ab"
        self.is_ready = True
        self.max_images = 32
        self.faults: deque[Fault] = deque()
        self.always: Fault | None = None
        self.seen: list[Seen] = []
        self.in_flight = self.most_in_flight = 0
        self.lock = threading.Lock()
        handler = type("BoundHandler", (Handler,), {"service": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@contextmanager
def running_fake() -> Iterator[FakeService]:
    service = FakeService()
    thread = threading.Thread(target=service.server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield service
    finally:
        service.stop()
        thread.join()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    service: FakeService

    def do_GET(self) -> None:
        if self.service.is_ready:
            self.answer(200, {"status": "ready"})
        else:
            self.answer(503, {"error": {"code": "unavailable", "message": "not ready"}})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        images = {name.decode(): data for name, data in _PART.findall(body)}
        with self.service.lock:
            self.service.seen.append(Seen(time.monotonic(), dict(self.headers), images))
            self.service.in_flight += 1
            self.service.most_in_flight = max(self.service.most_in_flight, self.service.in_flight)
            fault = self.service.always
            if self.service.faults:
                fault = self.service.faults.popleft()
        try:
            if fault is None or fault(self):
                self._classify(images)
        finally:
            with self.service.lock:
                self.service.in_flight -= 1

    def _classify(self, images: Mapping[str, bytes]) -> None:
        if len(images) > self.service.max_images:
            self.answer(413, {"error": {"code": "too_many_images", "message": "too many"}})
            return
        top_k = int(self.path.partition("top_k=")[2])
        self.answer(200, {name: describe(data, top_k) for name, data in images.items()})

    def answer(self, status: int, body: object, **headers: str) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Model-Version", self.service.model_version)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def drop(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: Any) -> None:
        """Say nothing: a test that fails says enough."""


def describe(data: bytes, top_k: int) -> dict[str, Any]:
    if data == b"broken":
        return {"error": {"code": "undecodable_image", "message": "the file is broken"}}
    name = data[:40].decode()
    classes = [(f"n{rank:08}", f"{name}_{rank}", 0.5**rank) for rank in range(1, top_k + 1)]
    keys = ("class_id", "class_name", "probability")
    return {"predictions": [dict(zip(keys, each, strict=True)) for each in classes]}


def refuse(status: int, code: str, **headers: str) -> Fault:
    def fault(handler: Handler) -> bool:
        handler.answer(status, {"error": {"code": code, "message": f"says {code}"}}, **headers)
        return False

    return fault


def refuse_before(status: int) -> Fault:
    """What a reverse proxy says that does not reach the service."""

    def fault(handler: Handler) -> bool:
        handler.send_response(status)
        handler.send_header("Content-Length", "5")
        handler.end_headers()
        handler.wfile.write(b"Sorry")
        return False

    return fault


def drop(handler: Handler) -> bool:
    """The connection ends without an answer."""
    handler.drop()
    return False


def cut_short(handler: Handler) -> bool:
    """The connection ends within the answer."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.send_header("X-Model-Version", handler.service.model_version)
    handler.end_headers()
    handler.wfile.write(b'{"0": ')
    handler.drop()
    return False


def delay(seconds: float) -> Fault:
    def fault(_: Handler) -> bool:
        time.sleep(seconds)
        return True

    return fault
