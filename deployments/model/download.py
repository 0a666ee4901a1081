"""One file over HTTP: whole and with the right hash, or not at all.

Knows files and HTTP; knows nothing of models.
"""

import hashlib
import logging
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, SimpleQueue

import requests

TIMEOUT_S = 5.0
"""For a connection, and for each chunk. Name resolution counts, which `requests` cannot bound."""
CHUNK_BYTES = 2**16

Received = SimpleQueue[bytes | Exception]

logger = logging.getLogger("ray.serve.download")


class DownloadFailed(Exception):
    """The file did not come; the message says why, in one line."""


def download(url: str, path: Path, sha256_prefix: str) -> None:
    """Write `path` whole or not at all: several processes may do so at once.

    Raises DownloadFailed.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".download-") as folder:
            partial = Path(folder) / path.name
            with partial.open("wb") as file:
                file.writelines(_stream(url))
            if not sha256(partial).startswith(sha256_prefix):
                raise DownloadFailed(f"its SHA-256 does not begin with {sha256_prefix}")
            partial.replace(path)
    except (requests.RequestException, OSError, ValueError) as error:
        raise DownloadFailed(_summary(error)) from error


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stream(url: str) -> Iterator[bytes]:
    """The body in chunks. Raises DownloadFailed when nothing comes for TIMEOUT_S.

    A thread receives, so that nothing that hangs (a name server, one of many addresses, a
    body of one byte a second) holds up the start for longer.
    """
    received: Received = SimpleQueue()
    given_up = threading.Event()
    threading.Thread(target=_receive, args=(url, received, given_up), daemon=True).start()
    try:
        while chunk := _next(received):
            yield chunk
    finally:
        given_up.set()


def _next(received: Received) -> bytes:
    try:
        chunk = received.get(timeout=TIMEOUT_S)
    except Empty:
        raise DownloadFailed(f"no response within {TIMEOUT_S:g} s") from None
    if isinstance(chunk, Exception):
        raise chunk
    return chunk


def _receive(url: str, received: Received, given_up: threading.Event) -> None:
    """Put the chunks, then an empty one; or the error that ended them."""
    try:
        with requests.get(url, stream=True, timeout=TIMEOUT_S) as response:
            response.raise_for_status()
            for chunk in _with_progress(response):
                if given_up.is_set():
                    return
                received.put(chunk)
        received.put(b"")
    except (requests.RequestException, OSError, ValueError) as error:
        received.put(error)


def _with_progress(response: requests.Response) -> Iterator[bytes]:
    """The body in chunks, a log line for each tenth. Raises if it ends early."""
    expected_bytes = int(response.headers.get("Content-Length", 0))
    received_bytes = tenths = 0
    for chunk in response.iter_content(CHUNK_BYTES):
        received_bytes += len(chunk)
        if expected_bytes and received_bytes * 10 // expected_bytes > tenths:
            tenths = received_bytes * 10 // expected_bytes
            logger.info("downloading weights: %d %% of %d bytes", tenths * 10, expected_bytes)
        yield chunk
    if received_bytes < expected_bytes:
        raise requests.ConnectionError(f"cut off after {received_bytes} bytes")


def _summary(error: Exception) -> str:
    """One line in our words: library messages are long and name objects of theirs."""
    if isinstance(error, requests.Timeout):
        return f"no response within {TIMEOUT_S:g} s"
    if isinstance(error, requests.HTTPError):
        return f"HTTP status {error.response.status_code}"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection was cut off"
    if isinstance(error, requests.ConnectionError):
        return str(error) if str(error).startswith("cut off") else "no connection"
    return str(error)
