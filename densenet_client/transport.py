"""One HTTP exchange with the service, and what its answers mean. Repeats nothing."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from densenet_client.errors import ClientError, InvalidResponse, ServerUnreachable, Unauthorized
from densenet_client.results import Classification, Failure, Prediction, Result, Status
from densenet_client.retry import RetryableError, parse_retry_after_s

CONNECT_TIMEOUT_S = 5.0
RETRYABLE_STATUSES = (429, 502, 503, 504)
"""Nothing was classified, and the same request may do better. So may any other from 500 up
that does not come from the service but from something before it."""


class RequestRejected(Exception):
    """The service refused a request as a whole."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    @property
    def is_too_much(self) -> bool:
        """Whether fewer images at once may do."""
        return self.code in ("too_many_images", "request_too_large", "deadline_exceeded")


class HttpTransport:
    """The HTTP side of a client; see `Client` for the parameters."""

    def __init__(
        self, url: str, api_key: str | None, max_connections: int, timeout_s: float
    ) -> None:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise ClientError(f"{url!r} is no address such as http://localhost:5000")
        self._url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._session = requests.Session()
        self._session.auth = _Bearer(api_key)
        # Threads that share a client wait for a connection, and none is opened in vain.
        adapter = HTTPAdapter(pool_maxsize=max_connections, pool_block=True)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def close(self) -> None:
        self._session.close()

    def status(self) -> Status:
        """Raises ServerUnreachable, Unauthorized or InvalidResponse."""
        try:
            response = self._request("GET", "/readyz", timeout_s=CONNECT_TIMEOUT_S)
        except requests.RequestException as error:
            raise ServerUnreachable(f"nothing answers at {self._url}: {_reason(error)}") from error
        if response.status_code >= 500 and _parse_error(_parse_body(response)) is None:
            raise ServerUnreachable(f"{self._url} answers with HTTP status {response.status_code}")
        self._check_is_service(response)
        return Status(response.ok, response.headers["X-Model-Version"])

    def classify(self, images: Sequence[tuple[str, bytes]], top_k: int) -> list[Result]:
        """A result for each name and image, in order.

        Raises RetryableError, RequestRejected, Unauthorized or InvalidResponse.
        """
        # Sent under numbers: whatever the names are, the answers can be told apart.
        files = [("file", (str(i), data)) for i, (_, data) in enumerate(images)]
        try:
            response = self._request(
                "POST",
                "/predict",
                params={"top_k": top_k},
                files=files,
                timeout_s=self._timeout_s,
            )
        except requests.RequestException as error:
            raise RetryableError("no_answer", _reason(error)) from error
        body = self._read(response, is_lone=len(images) == 1)
        try:
            return [_parse_result(name, body[str(i)]) for i, (name, _) in enumerate(images)]
        except (KeyError, TypeError) as error:
            raise InvalidResponse(f"{self._url} left an image out of its answer") from error

    def _request(self, method: str, path: str, timeout_s: float, **options: Any) -> Any:
        timeout = (CONNECT_TIMEOUT_S, timeout_s)
        url = self._url + path
        # A redirect would turn POST into GET and lose the images.
        return self._session.request(method, url, timeout=timeout, allow_redirects=False, **options)

    def _read(self, response: requests.Response, is_lone: bool) -> dict[str, Any]:
        """The entries of an answer by image."""
        status = response.status_code
        body = _parse_body(response)
        error = _parse_error(body)
        if status in RETRYABLE_STATUSES or (status >= 500 and error is None):
            code, message = error or ("no_answer", f"HTTP status {status}")
            if code == "deadline_exceeded" and not is_lone:
                raise RequestRejected(code, message)  # it would be again: better halved
            retry_after_s = parse_retry_after_s(response.headers.get("Retry-After"))
            raise RetryableError(code, message, retry_after_s)
        self._check_is_service(response)
        if error is not None:
            raise RequestRejected(*error)
        return body

    def _check_is_service(self, response: requests.Response) -> None:
        status = response.status_code
        error = _parse_error(_parse_body(response))
        if status == requests.codes.unauthorized:
            raise Unauthorized(error[1] if error else "the service wants an access key")
        if response.is_redirect:
            target = response.headers["Location"]
            raise InvalidResponse(f"{self._url} redirects to {target}: give that address")
        if "X-Model-Version" not in response.headers or status == requests.codes.not_found:
            raise InvalidResponse(f"what answers at {self._url} is not densenet-serve ({status})")


class _Bearer(AuthBase):
    """Also without a key: requests would else send what it finds for the host in ~/.netrc."""

    def __init__(self, api_key: str | None) -> None:
        self._api_key = api_key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._api_key is not None:
            request.headers["Authorization"] = f"Bearer {self._api_key}"
        return request


def _parse_body(response: requests.Response) -> dict[str, Any]:
    """The JSON object of an answer; empty where it holds none."""
    try:
        body = response.json()
    except requests.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}


def _parse_error(body: dict[str, Any]) -> tuple[str, str] | None:
    match body:
        case {"error": {"code": str(code), "message": str(message)}}:
            return code, message
    return None


def _parse_result(name: str, entry: dict[str, Any]) -> Result:
    error = _parse_error(entry)
    if error is not None:
        return Failure(name, *error)
    return Classification(name, tuple(Prediction(**item) for item in entry["predictions"]))


def _reason(error: requests.RequestException) -> str:
    """In words: the libraries' own messages name their objects."""
    match error:
        case requests.ConnectTimeout():
            return f"no connection within {CONNECT_TIMEOUT_S:g} s"
        case requests.Timeout():
            return "no answer in time"
        case requests.exceptions.SSLError():
            return "TLS failed; is the certificate one that this machine trusts?"
        case requests.ConnectionError():
            text = str(error)
            for cause in ("Name or service not known", "Connection refused"):
                if cause in text:
                    return cause.lower()
            return "the connection was lost"
        case requests.exceptions.ChunkedEncodingError():
            return "the answer was cut short"
    return str(error)
