"""Where the model's weights come from: found, downloaded, checked; never half-written.

Knows files and HTTP; knows nothing of torch, so that deciding costs no import of it.
"""

import hashlib
import logging
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import requests

from deployments.common.errors import StartupError

OFFICIAL_NAME = "densenet121-a639ec97.pth"
OFFICIAL_SHA256_PREFIX = "a639ec97"
"""torchvision puts the first eight digits of a checkpoint's SHA-256 into its name."""
OFFICIAL_VERSION = "imagenet1k-v1"
CONNECT_AND_READ_TIMEOUT_S = 5.0
_CHUNK_BYTES = 2**20

logger = logging.getLogger("ray.serve")


@dataclass(frozen=True)
class Weights:
    """Which weights an application serves; decided once, so that all replicas answer alike.

    source: `official` (torch's cache, else the download), `file`, or `untrained`.
    version: what `X-Model-Version` says.
    reason: why the weights are untrained; empty otherwise.
    """

    source: Literal["official", "file", "untrained"]
    version: str
    path: str = ""
    url: str = ""
    reason: str = ""


def resolve(choice: str, url: str) -> Weights:
    """Turn the setting `weights` into a decision.

    `auto` falls back to untrained weights where the official ones cannot be had;
    `imagenet` and a path raise StartupError instead, with the ways out.
    """
    if choice == "auto":
        return _official_or_untrained(url)
    if choice == "imagenet":
        return _official(url)
    return _file(Path(choice).expanduser())


def fetch(weights: Weights) -> Path | None:
    """The checkpoint on this machine; None for untrained weights. Raises StartupError."""
    match weights.source:
        case "official":
            return fetch_official(weights.url)
        case "file":
            return Path(weights.path)
        case "untrained":
            return None


def _official_or_untrained(url: str) -> Weights:
    try:
        return _official(url)
    except StartupError as error:
        return Weights("untrained", version="untrained", reason=str(error))


def _official(url: str) -> Weights:
    fetch_official(url)
    return Weights("official", version=OFFICIAL_VERSION, url=url)


def _file(path: Path) -> Weights:
    if not path.is_file():
        raise StartupError(
            f"weights: there is no file {str(path)!r}. Give the path of a DenseNet-121 "
            "checkpoint, or 'imagenet' for the official one, or 'auto'."
        )
    digest = _sha256(path)
    if digest.startswith(OFFICIAL_SHA256_PREFIX):
        return Weights("file", version=OFFICIAL_VERSION, path=str(path))
    return Weights("file", version=f"sha256:{digest[:12]}", path=str(path))


def cache_path() -> Path:
    """Where torch.hub keeps the official checkpoint ($TORCH_HOME, else ~/.cache/torch)."""
    cache_home = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    torch_home = os.environ.get("TORCH_HOME", f"{cache_home}/torch")
    return Path(torch_home).expanduser() / "hub" / "checkpoints" / OFFICIAL_NAME


def fetch_official(url: str) -> Path:
    """The official checkpoint in torch's cache, downloaded if need be.

    Raises StartupError, with the reason and the ways out, where it cannot be had.
    """
    path = cache_path()
    if _is_official(path):
        return path
    try:
        _download(url, path)
    except (requests.RequestException, OSError, _WrongHash) as error:
        raise StartupError(
            f"the official weights could not be had from {url} ({_summary(error)}). Put "
            f"{OFFICIAL_NAME} into {path.parent}, or set 'weights' to the path of a "
            "checkpoint, or 'weights_url' to a mirror, or use 'weights: auto', which "
            "serves untrained weights when it must."
        ) from error
    return path


class _WrongHash(Exception):
    """The file that came is not the official one."""


def _is_official(path: Path) -> bool:
    """Whether the whole official file is there. A bad one is removed, lest torch load it."""
    if not path.is_file():
        return False
    if _sha256(path).startswith(OFFICIAL_SHA256_PREFIX):
        return True
    logger.warning("removing %s: its SHA-256 is not that of the official weights", path)
    path.unlink(missing_ok=True)
    return False


def _download(url: str, path: Path) -> None:
    """Write `path` whole or not at all: several replicas may do so at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".download-") as folder:
        partial = Path(folder) / path.name
        with requests.get(url, stream=True, timeout=CONNECT_AND_READ_TIMEOUT_S) as response:
            response.raise_for_status()
            with partial.open("wb") as file:
                for chunk in _with_progress(response):
                    file.write(chunk)
        if not _sha256(partial).startswith(OFFICIAL_SHA256_PREFIX):
            raise _WrongHash(f"its SHA-256 does not begin with {OFFICIAL_SHA256_PREFIX}")
        partial.replace(path)


def _with_progress(response: requests.Response) -> Iterator[bytes]:
    """The body in chunks, a log line for each tenth. Raises if it ends early."""
    expected_bytes = int(response.headers.get("Content-Length", 0))
    received_bytes = tenths = 0
    for chunk in response.iter_content(_CHUNK_BYTES):
        received_bytes += len(chunk)
        if expected_bytes and received_bytes * 10 // expected_bytes > tenths:
            tenths = received_bytes * 10 // expected_bytes
            logger.info("downloading weights: %d %% of %d bytes", tenths * 10, expected_bytes)
        yield chunk
    if received_bytes < expected_bytes:
        raise requests.ConnectionError(f"cut off after {received_bytes} bytes")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _summary(error: Exception) -> str:
    """One line in our words: library messages are long and name objects of theirs."""
    if isinstance(error, requests.Timeout):
        return f"no answer within {CONNECT_AND_READ_TIMEOUT_S:g} s"
    if isinstance(error, requests.HTTPError):
        return f"HTTP status {error.response.status_code}"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection was cut off"
    if isinstance(error, requests.ConnectionError):
        return str(error) if str(error).startswith("cut off") else "no connection"
    return str(error)
