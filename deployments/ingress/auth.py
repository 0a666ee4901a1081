"""API keys: who may ask. `python -m deployments.ingress.auth NAME` makes one.

A file names the clients, a line each: `name: sha256 of the key`. The keys themselves are
nowhere on the server. Knows nothing of HTTP, of gRPC or of Ray.
"""

import argparse
import hashlib
import hmac
import logging
import re
import secrets
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from deployments.common.errors import StartupError, Unauthorized

CHECK_PERIOD_S = 1.0
"""How often at most the file is asked whether it has changed."""

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")

logger = logging.getLogger("ray.serve")

Version = tuple[int, int, int]
"""What of a file changes with it: its inode, its size and when it was written (ns)."""


class ApiKeys:
    """The keys of a file, read again when it changes; bad changes leave the last good keys."""

    def __init__(self, path: Path) -> None:
        """Raises StartupError where the file cannot be read or a line of it is bad."""
        self._path = path
        self._version = self._stat()
        self._names = read_keys(path)
        self._looked = time.monotonic()

    def authenticate(self, key: str) -> str:
        """The name of the client who has this key. Raises Unauthorized."""
        self._refresh()
        if not key:
            raise Unauthorized("this service requires an API key")
        sent = hashlib.sha256(key.encode()).digest()
        client = None
        # All of them are compared, each in constant time: how long it takes tells nothing.
        for digest, name in self._names.items():
            if hmac.compare_digest(digest, sent):
                client = name
        if client is None:
            raise Unauthorized("the service does not know this API key; check it")
        return client

    def _refresh(self) -> None:
        if time.monotonic() - self._looked < CHECK_PERIOD_S:
            return
        self._looked = time.monotonic()
        version = self._stat()
        if version == self._version:
            return
        self._version = version
        try:
            self._names = read_keys(self._path)
        except StartupError as error:
            logger.error("the API keys stay as they were: %s", error)
        else:
            logger.warning("%d API keys read again from %s", len(self._names), self._path)

    def _stat(self) -> Version | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns


def authorize(keys: ApiKeys | None, headers: Mapping[str, str], public: bool) -> str:
    """Name the client, for HTTP and gRPC alike; empty if nobody is asked.

    headers: as `extract_api_key` takes them. public: what is asked for needs no key. Raises
    Unauthorized. A quota for each client would be checked here, too.
    """
    if keys is None or public:
        return ""
    return keys.authenticate(extract_api_key(headers))


def extract_api_key(headers: Mapping[str, str]) -> str:
    """The key that a request brings; empty where it brings none.

    headers: those of HTTP, or the metadata of gRPC, by their names in lower case.
    """
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    return headers.get("x-api-key", "").strip()


def read_keys(path: Path) -> dict[bytes, str]:
    """The clients of a file by the SHA-256 of their keys. Raises StartupError.

    A client may stand there more than once, with an old key and a new one.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise StartupError(f"api_keys_file: {path} cannot be read ({error})") from error
    names: dict[bytes, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, _, digest = (part.strip() for part in line.partition(":"))
        if not _NAME.fullmatch(name) or not _SHA256.fullmatch(digest):
            raise StartupError(
                f"api_keys_file: line {number} of {path} is not 'name: sha256'. Make lines with "
                "'python -m deployments.ingress.auth NAME'."
            )
        if bytes.fromhex(digest) in names:
            raise StartupError(f"api_keys_file: line {number} of {path} repeats a key. Remove it.")
        names[bytes.fromhex(digest)] = name
    return names


def generate_api_key(name: str) -> tuple[str, str]:
    """A new key, and the line of the file that lets it in."""
    key = secrets.token_urlsafe(32)
    return key, f"{name}: {hashlib.sha256(key.encode()).hexdigest()}"


def main() -> int:
    """Print a new key for people, and its line for the file. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m deployments.ingress.auth",
        description="Make an API key: the key goes to the terminal (standard error), once; "
        "the line that lets it in to standard output, to be added to 'api_keys_file'.",
    )
    parser.add_argument("name", help="whose key it is: letters, digits, '.', '_' and '-'")
    name: str = parser.parse_args().name
    if not _NAME.fullmatch(name):
        parser.error(f"{name!r} is no name: 1 to 64 letters, digits, '.', '_' and '-'")
    key, line = generate_api_key(name)
    print(f"The key of {name}, shown this once: {key}", file=sys.stderr)
    print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
