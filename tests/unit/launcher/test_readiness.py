"""How the launcher asks the service whether it is ready."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from deployments.launcher.readiness import ask_ready


class Ready(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_it_asks_the_service_and_no_proxy_for_other_machines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with HTTPServer(("127.0.0.1", 0), Ready) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        assert ask_ready(f"http://127.0.0.1:{server.server_port}").ok
        thread.join()
