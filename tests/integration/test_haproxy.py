"""HAProxy as it is configured here, before Ingresses that are played: what reaches them, what
clients get when they fail. Ray has no part in it."""

import contextlib
import json
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
import pytest
import requests

from deployments.haproxy.adapt import HEADER_WITHIN_S, SILENCE_S
from testing.haproxy import running_haproxy, start_haproxy, write_config
from testing.ports import find_free_port

CONTROL_HEADERS = (
    "x-request-timeout-seconds",
    "x-request-disconnect-disabled",
    "serve_multiplexed_model_id",
    "serve-multiplexed-model-id",
)
KEY = {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
"""Without it HAProxy itself refuses an offer of a WebSocket."""


class Ingress(socketserver.ThreadingTCPServer):
    """Answers each request with its headers; or goes away when it has read one."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port: int, *, is_lost: bool = False, is_stuck: bool = False) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.is_lost, self.is_stuck = is_lost, is_stuck
        self.bodies: list[bytes] = []


class _Handler(socketserver.StreamRequestHandler):
    server: Ingress

    def handle(self) -> None:
        with contextlib.suppress(ConnectionResetError):  # the end of a health check
            while line := self.rfile.readline():
                self.answer(line.split()[1])

    def answer(self, path: bytes) -> None:
        headers: dict[str, str] = {}
        while line := self.rfile.readline().strip().decode():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        body = self.rfile.read(int(headers.get("content-length", 0)))
        if path != b"/-/healthz":
            self.server.bodies.append(body)
            if self.server.is_lost:
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            while self.server.is_stuck:
                time.sleep(0.1)
        answer = json.dumps(headers).encode()
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)


@contextlib.contextmanager
def running(*, is_lost: bool = False, is_stuck: bool = False) -> Iterator[Ingress]:
    with Ingress(find_free_port(), is_lost=is_lost, is_stuck=is_stuck) as ingress:
        threading.Thread(target=ingress.serve_forever, args=[0.05], daemon=True).start()
        try:
            yield ingress
        finally:
            ingress.is_stuck = False
            ingress.shutdown()


@pytest.fixture
def ingress() -> Iterator[Ingress]:
    with running() as ingress:
        yield ingress


@pytest.fixture
def port(tmp_path: Path, ingress: Ingress) -> Iterator[int]:
    with running_haproxy(tmp_path, ingress.server_address[1]) as port:
        yield port


def ask(
    port: int, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> requests.Response:
    return requests.post(f"http://127.0.0.1:{port}/predict", body, headers=headers, timeout=60)


def read_error(response: requests.Response) -> tuple[int, str]:
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["X-Model-Version"] == "unknown"
    assert response.headers["X-Request-ID"]
    return response.status_code, response.json()["error"]["code"]


def send(port: int, data: bytes) -> bytes:
    """Bytes as they are; returns what comes back."""
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        connection.sendall(data)
        return connection.makefile("rb").read()


def test_an_upgrade_offer_reaches_no_ingress_and_its_body_is_a_body(
    port: int, ingress: Ingress
) -> None:
    body = b"GET /predict HTTP/1.1\r\nHost: a\r\n\r\n"
    for protocol in ("websocket", "h2c"):
        offer = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": protocol, **KEY}
        seen = ask(port, body, offer)
        assert seen.ok, seen.text
        assert not {"upgrade", "http2-settings"} & seen.json().keys()
        assert "pgrade" not in seen.json().get("connection", "")
    assert ingress.bodies == [body, body]


def test_a_client_that_asks_for_a_close_is_closed(port: int) -> None:
    assert ask(port, headers={"Connection": "close"}).headers["Connection"] == "close"


def test_an_ingress_learns_the_address_that_haproxy_saw_last(port: int) -> None:
    seen = ask(port, headers={"X-Forwarded-For": "192.0.2.7"}).json()
    assert seen["x-forwarded-for"].endswith("127.0.0.1")


def test_orders_to_ray_are_taken_off(port: int) -> None:
    seen = ask(port, headers=dict.fromkeys(CONTROL_HEADERS, "1")).json()
    assert not set(CONTROL_HEADERS) & seen.keys()


@pytest.mark.parametrize("sent", ["", "a b", "x" * 129, "<script>"])
def test_a_bad_request_id_is_replaced(port: int, sent: str) -> None:
    response = ask(port, headers={"X-Request-ID": sent})
    assert response.json()["x-request-id"] == response.headers["X-Request-ID"] != sent


def test_a_good_request_id_is_kept(port: int) -> None:
    response = ask(port, headers={"X-Request-ID": "my.id-1"})
    assert response.json()["x-request-id"] == response.headers["X-Request-ID"] == "my.id-1"


def test_what_is_not_http_is_refused_by_haproxy_itself(port: int, ingress: Ingress) -> None:
    assert send(port, b"NONSENSE\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert not ingress.bodies


def test_a_header_that_does_not_end_is_refused_in_time(port: int) -> None:
    begun = time.monotonic()
    assert send(port, b"POST /predict HTTP/1.1\r\nHost: a\r\n").startswith(b"HTTP/1.1 408 ")
    assert HEADER_WITHIN_S - 1 < time.monotonic() - begun < HEADER_WITHIN_S + 5


def test_a_body_that_does_not_go_on_is_refused_in_time(port: int) -> None:
    request = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1"
    begun = time.monotonic()
    answer = send(port, request)
    assert SILENCE_S - 1 < time.monotonic() - begun < SILENCE_S + 5
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"malformed_request"' in answer


def test_a_request_whose_ingress_dies_is_answered_by_another(tmp_path: Path) -> None:
    request = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 8000\r\n\r\n"
    body = bytes(8000)
    with running(is_lost=True) as lost, running() as other:
        ports = [each.server_address[1] for each in (lost, other)]
        with running_haproxy(tmp_path, *ports) as port:
            answers = [send(port, request + body) for _ in range(8)]
    assert {answer.splitlines()[0] for answer in answers} == {b"HTTP/1.1 200 OK"}
    assert lost.bodies
    assert other.bodies == [body] * 8


def test_a_large_upload_whose_ingress_dies_may_be_sent_again(tmp_path: Path) -> None:
    with running(is_lost=True) as lost, running_haproxy(tmp_path, lost.server_address[1]) as port:
        response = ask(port, bytes(2**20))
    assert read_error(response) == (503, "unavailable")
    assert response.headers["Retry-After"] == "1"


def test_without_an_ingress_clients_are_told_to_come_back(tmp_path: Path) -> None:
    with running_haproxy(tmp_path, find_free_port()) as port:
        response = ask(port)
    assert read_error(response) == (503, "unavailable")
    assert response.headers["Retry-After"] == "1"


def test_before_anything_is_deployed_clients_are_told_to_come_back(tmp_path: Path) -> None:
    with running_haproxy(tmp_path) as port:
        assert read_error(ask(port)) == (503, "unavailable")


def test_an_ingress_that_hangs_is_answered_for(tmp_path: Path) -> None:
    with (
        running(is_stuck=True) as stuck,
        running_haproxy(tmp_path, stuck.server_address[1]) as port,
    ):
        assert read_error(ask(port)) == (504, "deadline_exceeded")


def test_one_whose_manager_died_hands_its_port_to_the_next(
    tmp_path: Path, ingress: Ingress
) -> None:
    port = find_free_port()
    config = write_config(tmp_path, [ingress.server_address[1]], port)
    first = start_haproxy(config)
    with requests.Session() as session:
        assert session.post(f"http://127.0.0.1:{port}/", b"x", timeout=10).ok
    second = start_haproxy(write_config(tmp_path, [], port))  # its manager knows nothing yet
    try:
        assert ask(port).ok
        assert first.wait(30) == 0
    finally:
        second.kill()
        second.wait()


def test_it_starts_when_it_may_open_few_files(tmp_path: Path) -> None:
    port = find_free_port()
    process = start_haproxy(write_config(tmp_path, [], port), max_files=1024)
    try:
        assert read_error(ask(port)) == (503, "unavailable")
    finally:
        process.kill()
        process.wait()


def test_it_ends_with_the_raylet_it_belongs_to(tmp_path: Path) -> None:
    """Its manager is our child, so that the raylet in this play is this manager's parent."""
    config = write_config(tmp_path, [], find_free_port())
    play = (
        "import sys, subprocess, time; from pathlib import Path;"
        "from testing.haproxy import start_haproxy;"
        "print(start_haproxy(Path(sys.argv[1])).pid, flush=True); time.sleep(600)"
    )
    manager = [sys.executable, "-c", play, str(config)]
    raylet = subprocess.Popen(
        [sys.executable, "-c", f"import subprocess; subprocess.run({manager!r})"],
        stdout=subprocess.PIPE,
    )
    assert raylet.stdout is not None
    haproxy = psutil.Process(int(raylet.stdout.readline()))
    (lone,) = psutil.Process(raylet.pid).children()
    lone.kill()
    time.sleep(2)
    assert haproxy.is_running()
    raylet.kill()
    raylet.wait()
    raylet.stdout.close()
    haproxy.wait(10)
