"""What is asked of the service, in which order, and what is made of its responses.

Does no I/O: `Client` and `AsyncClient` run the same flows, so that their results and their
retries are the same.
"""

from collections.abc import Sequence
from functools import partial
from urllib.parse import urlsplit

from densenet_client.errors import ClientError, ServerUnreachable
from densenet_client.messages import (
    CONNECT_TIMEOUT_S,
    HttpRequest,
    HttpResponse,
    NoResponse,
    Reply,
    check_is_service,
    encode_images,
    parse_results,
)
from densenet_client.results import Failure, Result, Status
from densenet_client.retry import Flow, RetryableError, Step, parse_retry_after_s, retry

RETRYABLE_STATUSES = (429, 502, 503, 504)
"""Nothing was classified, and the same request may do better. So may any other from 500 up
that does not come from the service but from something before it."""

NamedImage = tuple[str, bytes]


class RequestRejected(Exception):
    """The service rejected a request as a whole."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    @property
    def is_too_much(self) -> bool:
        """Whether fewer images at once may do."""
        return self.code in ("too_many_images", "request_too_large", "deadline_exceeded")


class Protocol:
    """The flows of one service; see `Client` for the parameters."""

    def __init__(
        self, url: str, api_key: str | None, timeout_s: float, max_retry_time_s: float
    ) -> None:
        """Raises ClientError for a bad URL."""
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise ClientError(f"{url!r} is no address such as http://localhost:5000")
        self.url = url.rstrip("/")
        self._headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        self._timeout_s = timeout_s
        self._max_retry_time_s = max_retry_time_s

    def status(self) -> Flow[Status]:
        """Raises ServerUnreachable, Unauthorized or InvalidResponse."""
        reply = yield Step(HttpRequest("GET", "/readyz", CONNECT_TIMEOUT_S, self._headers))
        if isinstance(reply, NoResponse):
            raise ServerUnreachable(f"nothing answers at {self.url}: {reply.reason}")
        if reply.status >= 500 and reply.error is None:
            raise ServerUnreachable(f"{self.url} answers with HTTP status {reply.status}")
        check_is_service(reply, self.url)
        return Status(reply.status < 400, reply.headers["X-Model-Version"])

    def classify(self, read: Sequence[NamedImage | Failure], top_k: int) -> Flow[list[Result]]:
        """A result for each image; one that could not be read is its own result.

        Raises ServerUnreachable, Unauthorized or InvalidResponse.
        """
        images = [each for each in read if not isinstance(each, Failure)]
        results = iter((yield from self._classify(images, top_k)) if images else [])
        return [each if isinstance(each, Failure) else next(results) for each in read]

    def _classify(self, images: Sequence[NamedImage], top_k: int) -> Flow[list[Result]]:
        try:
            return (yield from self._predict(images, top_k))
        except RequestRejected as rejected:
            if len(images) == 1 or not rejected.is_too_much:
                return [Failure(name, rejected.code, str(rejected)) for name, _ in images]
        except RetryableError as error:
            # Is it this request that gets no response, or is the server gone?
            status = yield from self.status()
            if not status.is_ready:
                raise ServerUnreachable(f"the service has not been ready: {error}") from error
            return [Failure(name, error.code, str(error)) for name, _ in images]
        middle = len(images) // 2
        first = yield from self._classify(images[:middle], top_k)
        return first + (yield from self._classify(images[middle:], top_k))

    def _predict(self, images: Sequence[NamedImage], top_k: int) -> Flow[list[Result]]:
        body, content_type = encode_images([data for _, data in images])
        headers = self._headers | {"Content-Type": content_type}
        path = f"/predict?top_k={top_k}"
        request = HttpRequest("POST", path, self._timeout_s, headers, body)
        names = [name for name, _ in images]
        return (yield from retry(request, partial(self._read, names), self._max_retry_time_s))

    def _read(self, names: Sequence[str], reply: Reply) -> list[Result]:
        """Raises RetryableError, RequestRejected, Unauthorized or InvalidResponse."""
        if isinstance(reply, NoResponse):
            raise RetryableError("no_answer", reply.reason)
        self._check_is_final(reply, is_lone=len(names) == 1)
        check_is_service(reply, self.url)
        if reply.error is not None:
            raise RequestRejected(*reply.error)
        return parse_results(reply, names, self.url)

    def _check_is_final(self, response: HttpResponse, is_lone: bool) -> None:
        status, error = response.status, response.error
        if status not in RETRYABLE_STATUSES and (status < 500 or error is not None):
            return
        code, message = error or ("no_answer", f"HTTP status {status}")
        if code == "deadline_exceeded" and not is_lone:
            raise RequestRejected(code, message)  # it would be again: better halved
        retry_after_s = parse_retry_after_s(response.headers.get("Retry-After"))
        raise RetryableError(code, message, retry_after_s)
