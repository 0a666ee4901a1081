"""The HTTP requests to the service, and what its responses mean. Does no I/O."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from typing import Any

from urllib3 import encode_multipart_formdata
from urllib3.fields import RequestField

from densenet_client.errors import InvalidResponse, Unauthorized
from densenet_client.results import Classification, Failure, Prediction, Result

CONNECT_TIMEOUT_S = 5.0

# The reasons of a NoResponse, in words: the HTTP libraries' own messages name their objects.
NOT_CONNECTED = f"no connection within {CONNECT_TIMEOUT_S:g} s"
REFUSED = "connection refused"
UNKNOWN_HOST = "there is no host of that name"
BAD_TLS = "TLS failed; is the certificate one that this machine trusts?"
TIMED_OUT = "no response in time"
LOST = "the connection was lost"
CUT_SHORT = "the response was cut short"


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request. `path` follows the service's URL; `timeout_s` bounds the response."""

    method: str
    path: str
    timeout_s: float
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


@dataclass(frozen=True)
class HttpResponse:
    """One response, read to its end. `headers` are case-insensitive."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @cached_property
    def json(self) -> dict[str, Any]:
        """The JSON object in the body; empty if there is none."""
        try:
            value = json.loads(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    @property
    def error(self) -> tuple[str, str] | None:
        """The service's own error, as its code and message."""
        return _parse_error(self.json)


@dataclass(frozen=True, slots=True)
class NoResponse:
    """No response came, or not all of it."""

    reason: str


Reply = HttpResponse | NoResponse


def encode_images(images: Sequence[bytes]) -> tuple[bytes, str]:
    """A form of files, and its content type.

    The files are named by their position, so that responses can be told apart whatever the
    images are called.
    """
    parts = [RequestField("file", data, str(i)) for i, data in enumerate(images)]
    for part in parts:
        part.make_multipart()
    return encode_multipart_formdata(parts)


def check_is_service(response: HttpResponse, url: str) -> None:
    """Raises Unauthorized or InvalidResponse."""
    if response.status == HTTPStatus.UNAUTHORIZED:
        raise Unauthorized(
            response.error[1] if response.error else "the service requires an API key"
        )
    if 300 <= response.status < 400 and "Location" in response.headers:
        target = response.headers["Location"]
        raise InvalidResponse(f"{url} redirects to {target}: give that address")
    if "X-Model-Version" not in response.headers or response.status == HTTPStatus.NOT_FOUND:
        raise InvalidResponse(f"what answers at {url} is not densenet-serve ({response.status})")


def parse_results(response: HttpResponse, names: Sequence[str], url: str) -> list[Result]:
    """A result for each name. Raises InvalidResponse."""
    try:
        return [_parse_result(name, response.json[str(i)]) for i, name in enumerate(names)]
    except (KeyError, TypeError) as error:
        raise InvalidResponse(f"the response of {url} lacks an image") from error


def _parse_result(name: str, entry: dict[str, Any]) -> Result:
    error = _parse_error(entry)
    if error is not None:
        return Failure(name, *error)
    return Classification(name, tuple(Prediction(**item) for item in entry["predictions"]))


def _parse_error(body: dict[str, Any]) -> tuple[str, str] | None:
    match body:
        case {"error": {"code": str(code), "message": str(message)}}:
            return code, message
    return None
