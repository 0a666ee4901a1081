"""Finding and downloading weights, against a real server on this machine."""

import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deployments.common.errors import StartupError
from deployments.model import weights

GOOD = b"good weights " * 100_000


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/missing":
            self.send_error(404)
            return
        body = GOOD if self.path != "/wrong" else b"another file"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if self.path == "/cut" else body)

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def torch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of our own, and the hash of our own file in place of the official one."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    digest = hashlib.sha256(GOOD).hexdigest()
    monkeypatch.setattr(weights, "OFFICIAL_SHA256_PREFIX", digest[:8])
    return tmp_path


def files_under(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("choice", ["auto", "imagenet"])
def test_the_official_weights_are_downloaded_once(
    server: str, choice: str, torch_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="ray.serve")
    found = weights.resolve(choice, f"{server}/good")
    assert found.version == "imagenet1k-v1"
    assert files_under(torch_home) == [weights.cache_path()]
    assert weights.cache_path().read_bytes() == GOOD
    assert "downloading weights: 100 %" in caplog.text
    assert weights.resolve(choice, "http://127.0.0.1:9/").version == "imagenet1k-v1"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/wrong", "SHA-256"),
        ("/cut", "cut off"),
        ("/missing", "HTTP status 404"),
    ],
)
def test_a_bad_download_is_never_kept(
    server: str, path: str, reason: str, torch_home: Path
) -> None:
    with pytest.raises(StartupError, match=reason):
        weights.resolve("imagenet", server + path)
    assert files_under(torch_home) == []


def test_no_server_falls_back_to_untrained_weights_with_the_reason() -> None:
    found = weights.resolve("auto", "http://127.0.0.1:9/weights")
    assert (found.source, found.version) == ("untrained", "untrained")
    assert "no connection" in found.reason


def test_strict_weights_name_the_ways_out() -> None:
    with pytest.raises(StartupError, match=r"weights_url.*weights: auto"):
        weights.resolve("imagenet", "http://127.0.0.1:9/weights")


def test_a_connection_that_hangs_counts_as_not_reached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(weights, "CONNECT_AND_READ_TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        found = weights.resolve("auto", f"http://127.0.0.1:{silent.getsockname()[1]}/")
    assert time.monotonic() - started < 3
    assert "no answer within 0.3 s" in found.reason


def test_a_bad_file_in_the_cache_is_removed_and_fetched_anew(server: str) -> None:
    weights.cache_path().parent.mkdir(parents=True)
    weights.cache_path().write_bytes(GOOD[:100])
    weights.resolve("imagenet", f"{server}/good")
    assert weights.cache_path().read_bytes() == GOOD


def test_a_path_is_told_by_its_hash(tmp_path: Path) -> None:
    (tmp_path / "mine.pth").write_bytes(b"mine")
    found = weights.resolve(str(tmp_path / "mine.pth"), "http://127.0.0.1:9/")
    assert found.version == f"sha256:{hashlib.sha256(b'mine').hexdigest()[:12]}"
    assert weights.fetch(found) == tmp_path / "mine.pth"


def test_the_official_file_at_a_path_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "copy.pth").write_bytes(GOOD)
    assert weights.resolve(str(tmp_path / "copy.pth"), "").version == "imagenet1k-v1"


def test_a_path_without_a_file_is_refused() -> None:
    with pytest.raises(StartupError, match=r"no file '/nowhere/w\.pth'"):
        weights.resolve("/nowhere/w.pth", "http://127.0.0.1:9/")
