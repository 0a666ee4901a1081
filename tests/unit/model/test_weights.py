"""Which weights are served: found, downloaded or stood in for, against a local server."""

import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from deployments.common.errors import StartupError
from deployments.ingress.images.preprocess import preprocess
from deployments.model import cache, download
from deployments.model.base import load_model
from deployments.model.spec import OfficialFile
from deployments.model.weights import explain_stand_in, fetch_checkpoint, resolve
from testing.pictures import encode, make_picture
from testing.reference import classify, load_reference, make_checkpoint

GOOD = b"good weights " * 100_000
UNREACHABLE = "http://127.0.0.1:9/weights.pth"


class _Server(ThreadingHTTPServer):
    """Counts what it is asked; its path says what comes back."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []
        self.stopped = threading.Event()

    def official(self, path: str) -> OfficialFile:
        """A file on this server, with the hash of GOOD in place of the official one."""
        return official_at(f"http://127.0.0.1:{self.server_port}{path}")


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.path == "/missing":
            self.send_error(404)
            return
        body = GOOD if self.path != "/wrong" else b"another file"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.path == "/drip":
            self._drip()
        else:
            self.wfile.write(body[: len(body) // 2] if self.path == "/cut" else body)

    def _drip(self) -> None:
        """A byte now and then: no single read ever waits for long."""
        while not self.server.stopped.wait(0.05):
            try:
                self.wfile.write(b"x")
            except OSError:
                return

    def log_message(self, *_: object) -> None:
        """Stay silent."""


def official_at(url: str) -> OfficialFile:
    return OfficialFile(url, "weights.pth", hashlib.sha256(GOOD).hexdigest()[:8], "official-1")


@pytest.fixture
def server() -> Iterator[_Server]:
    with _Server() as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield http
        http.stopped.set()
        http.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def torch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Private caches, empty at first."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch"


def files_under(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("choice", ["auto", "imagenet"])
def test_the_official_weights_are_downloaded_once(
    server: _Server, choice: str, torch_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="ray.serve")
    official = server.official("/good")
    path = cache.checkpoint_path("weights.pth")
    assert (found := resolve(choice, official)).version == "official-1"
    assert fetch_checkpoint(found) == path
    assert files_under(torch_home) == [path]
    assert path.read_bytes() == GOOD
    assert "downloading weights: 100 %" in caplog.text
    assert resolve(choice, official).version == "official-1"
    assert server.asked == ["/good"]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/wrong", "SHA-256"),
        ("/cut", "cut off"),
        ("/missing", "HTTP status 404"),
    ],
)
def test_a_bad_download_is_never_kept(
    server: _Server, path: str, reason: str, torch_home: Path
) -> None:
    with pytest.raises(StartupError, match=reason):
        resolve("imagenet", server.official(path))
    assert files_under(torch_home) == []


def test_without_a_server_the_stand_in_answers_with_the_reason() -> None:
    found = resolve("auto", official_at(UNREACHABLE))
    assert (found.source, found.version) == ("stand_in", "stand-in-efficientnet-lite0")
    assert found.reason == f"{UNREACHABLE}: no connection"


def test_the_advice_for_auto_is_one_command_and_where_to_put_the_file(torch_home: Path) -> None:
    advice = explain_stand_in("no connection", official_at(UNREACHABLE))
    assert "EfficientNet-Lite0 stands in for DenseNet-121" in advice
    assert f"curl -O {UNREACHABLE}\n" in advice
    assert f"into {torch_home}/hub/checkpoints," in advice


def test_the_advice_for_strict_weights_names_the_other_settings() -> None:
    with pytest.raises(StartupError, match=r"weights_url.*'auto'.*EfficientNet-Lite0 stands in"):
        resolve("imagenet", official_at(UNREACHABLE))


def test_a_failed_download_is_not_tried_again_for_minutes(
    server: _Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (resolve("auto", server.official("/missing")) for _ in range(2))
    assert server.asked == ["/missing"]
    assert first == second
    started = time.time()
    monkeypatch.setattr(time, "time", lambda: started + cache.RETRY_AFTER_S + 1)
    resolve("auto", server.official("/missing"))
    assert server.asked == ["/missing", "/missing"]


def test_a_failure_says_nothing_of_another_address(server: _Server) -> None:
    assert resolve("auto", server.official("/missing")).source == "stand_in"
    assert resolve("auto", server.official("/good")).source == "official"


def test_strict_weights_are_tried_for_at_every_start(server: _Server) -> None:
    resolve("auto", server.official("/missing"))
    with pytest.raises(StartupError):
        resolve("imagenet", server.official("/missing"))
    assert server.asked == ["/missing", "/missing"]


@pytest.mark.parametrize("stamp", ["", "[]", '{"url": 1}', '{"url": "", "time": "x"}'])
def test_a_broken_note_of_a_failure_is_ignored(server: _Server, stamp: str) -> None:
    cache.own_folder().mkdir(parents=True)
    (cache.own_folder() / "download-failed.json").write_text(stamp)
    assert resolve("auto", server.official("/good")).source == "official"


def test_a_cache_that_cannot_be_written_still_gives_the_stand_in(
    torch_home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    torch_home.write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(torch_home))
    assert resolve("auto", official_at(UNREACHABLE)).source == "stand_in"
    assert "the next start will try the download again" in caplog.text


def test_a_connection_that_hangs_counts_as_not_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        found = resolve("auto", official_at(f"http://127.0.0.1:{silent.getsockname()[1]}/"))
    assert time.monotonic() - started < 3
    assert "no response within 0.3 s" in found.reason


def test_a_body_that_drips_counts_as_not_reached(
    server: _Server, monkeypatch: pytest.MonkeyPatch, torch_home: Path
) -> None:
    monkeypatch.setattr(download, "TIMEOUT_S", 0.3)
    started = time.monotonic()
    found = resolve("auto", server.official("/drip"))
    assert time.monotonic() - started < 3
    assert "no response within 0.3 s" in found.reason
    assert files_under(torch_home) == []


def test_a_name_server_that_hangs_counts_as_not_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def hang(*_: object) -> list[object]:
        released.wait(30)
        raise socket.gaierror("no such name")

    monkeypatch.setattr(download, "TIMEOUT_S", 0.3)
    monkeypatch.setattr(socket, "getaddrinfo", hang)
    started = time.monotonic()
    found = resolve("auto", official_at("http://weights.invalid/weights.pth"))
    assert time.monotonic() - started < 3
    released.set()
    assert "no response within 0.3 s" in found.reason


def test_a_bad_file_in_the_cache_is_removed_and_fetched_anew(server: _Server) -> None:
    path = cache.checkpoint_path("weights.pth")
    path.parent.mkdir(parents=True)
    path.write_bytes(GOOD[:100])
    resolve("imagenet", server.official("/good"))
    assert path.read_bytes() == GOOD


def test_a_start_serves_the_official_file_as_soon_as_it_is_in_torchs_cache() -> None:
    """Also while the failure of the download is remembered."""
    official = official_at(UNREACHABLE)
    assert resolve("auto", official).source == "stand_in"
    pictures = [make_picture(seed) for seed in range(3)]
    path = cache.checkpoint_path("weights.pth")
    path.parent.mkdir(parents=True, exist_ok=True)
    make_checkpoint(pictures, path)  # in the official file's format
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    found = resolve("auto", replace(official, sha256_prefix=digest[:8]))
    assert (found.source, found.version) == ("official", "official-1")
    images = np.stack([preprocess(encode(picture), 10**6) for picture in pictures])
    expected = classify(load_reference(path), pictures).numpy()
    assert np.abs(load_model(found, "cpu").predict(images) - expected).max() < 0.02


def test_a_path_is_told_by_its_hash(tmp_path: Path) -> None:
    (tmp_path / "mine.pth").write_bytes(b"mine")
    found = resolve(str(tmp_path / "mine.pth"))
    assert found.version == f"sha256:{hashlib.sha256(b'mine').hexdigest()[:12]}"
    assert fetch_checkpoint(found) == tmp_path / "mine.pth"


def test_the_official_file_at_a_path_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "copy.pth").write_bytes(GOOD)
    found = resolve(str(tmp_path / "copy.pth"), official_at(UNREACHABLE))
    assert found.version == "official-1"


def test_a_path_without_a_file_is_refused() -> None:
    with pytest.raises(StartupError, match=r"no file '/nowhere/w\.pth'"):
        resolve("/nowhere/w.pth")
