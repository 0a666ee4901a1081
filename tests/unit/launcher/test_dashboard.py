"""The dashboard's address is held by the launcher; the first request starts what is behind it."""

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests

from deployments.common.errors import StartupError
from deployments.launcher import dashboard
from deployments.launcher.local_node import LocalNode


class Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Not on the terminal."""


class FakeNode(LocalNode):
    """A node whose dashboard is a page that repeats what it is sent."""

    node_ip_address = "127.0.0.1"

    def __init__(self, dashboard_host: str = "127.0.0.1") -> None:
        self.host = dashboard_host
        self.error: Exception | None = None
        self.starts = 0
        self.published: list[str] = []
        self.monitor_started = threading.Event()

    @property
    def dashboard_host(self) -> str:
        return self.host

    def start_postponed_monitor(self) -> None:
        self.monitor_started.set()

    def start_dashboard(self) -> int:
        self.starts += 1
        if self.error:
            raise self.error
        server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server.server_port

    def publish_dashboard(self, address: str) -> None:
        self.published.append(address)


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> FakeNode:
    node = FakeNode()
    monkeypatch.setattr(dashboard, "global_node", lambda: node)
    return node


def test_the_dashboard_starts_with_the_first_request_and_once(node: FakeNode) -> None:
    address = dashboard.open_dashboard()
    assert node.monitor_started.wait(10)
    assert node.starts == 0
    sent = [bytes([number]) * 300_000 for number in range(8)]
    got = dict.fromkeys(range(8), b"")

    def ask(number: int) -> None:
        with requests.Session() as session:  # two requests over one connection
            for _ in range(2):
                got[number] = session.post(f"http://{address}", sent[number], timeout=30).content

    threads = [threading.Thread(target=ask, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [got[number] for number in range(8)] == sent
    assert node.starts == 1
    assert node.published == [address, address]


def test_a_connection_without_a_request_starts_nothing(node: FakeNode) -> None:
    host, port = dashboard.open_dashboard().split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""
    assert node.starts == 0


@pytest.mark.usefixtures("node")
def test_the_next_port_is_taken_if_one_is_in_use() -> None:
    ports = [int(dashboard.open_dashboard().split(":")[1]) for _ in range(2)]
    assert ports[0] < ports[1]
    assert set(ports) <= set(dashboard.PORTS)


def test_all_interfaces_are_printed_as_the_node_s_address(node: FakeNode) -> None:
    node.host = "0.0.0.0"  # noqa: S104, a test of it
    node.node_ip_address = "192.0.2.7"
    assert dashboard.open_dashboard().startswith("192.0.2.7:")


def test_an_address_of_another_machine_is_told(node: FakeNode) -> None:
    node.host = "192.0.2.7"
    with pytest.raises(StartupError, match=r"cannot listen on --dashboard-host 192\.0\.2\.7"):
        dashboard.open_dashboard()


def test_a_dashboard_that_does_not_start_is_told_and_tried_again(
    node: FakeNode, capfd: pytest.CaptureFixture[str]
) -> None:
    address = dashboard.open_dashboard()
    node.error = RuntimeError("no memory")
    with pytest.raises(requests.ConnectionError):
        requests.post(f"http://{address}", b"a", timeout=30)
    assert "WARNING: Ray's dashboard did not start: no memory" in capfd.readouterr().out
    node.error = None
    assert requests.post(f"http://{address}", b"a", timeout=30).content == b"a"


def test_a_joined_ray_has_its_own_dashboard(monkeypatch: pytest.MonkeyPatch) -> None:
    joined: Any = type("Joined", (), {"webui_url": "192.0.2.1:8265"})()
    monkeypatch.setattr(dashboard, "global_node", lambda: joined)
    assert dashboard.open_dashboard() == "192.0.2.1:8265"
