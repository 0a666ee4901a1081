"""What surrounds every answer: its headers, its line in the access log, its last resort."""

import logging
import re
import time
import uuid
from collections.abc import Callable, Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.errors import Internal, QueueFull, RetryLater, ServiceError
from deployments.schemas import describe_error, describe_v2_error

REFUSE_FOR = "X-Refuse-For-S"
"""Tells `deployments.proxy` to refuse by itself for so long; it goes no further."""
_PROBES = {"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"}
_V2_PATH = re.compile(r"/v2(/|$)")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

Count = Callable[[str, str], None]
"""Told of every request that is no probe: who asked (empty where nobody said), and the status."""

logger = logging.getLogger("ray.serve")


def choose_request_id(headers: Headers) -> str:
    """The client's X-Request-ID where it is a good one, else a new one."""
    sent = headers.get("x-request-id", "")
    return sent if _REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex


def render_error(
    error: ServiceError, path: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """An error as an answer, in the form that clients of that path expect."""
    body = describe_v2_error(error) if _V2_PATH.match(path) else describe_error(error)
    response = JSONResponse(body, error.status, headers)
    if isinstance(error, RetryLater):
        response.headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, QueueFull):
        response.headers[REFUSE_FOR] = str(error.refuse_for_s)
    return response


class Envelope:
    """ASGI middleware of the application.

    It does not send X-Request-ID: Ray's proxy adds that header to every answer, and
    `deployments.proxy` sees to it that the id is a good one.
    """

    def __init__(
        self, app: ASGIApp, model_version: Callable[[], str], count: Count | None = None
    ) -> None:
        self._app = app
        self._model_version = model_version
        self._count = count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})
        answer = _Answer(scope, send, self._model_version)
        try:
            await self._app(scope, receive, answer.send)
        except Exception:
            logger.exception("unexpected error")
            if answer.status is None:
                error = render_error(Internal("something went wrong on our side"), scope["path"])
                await error(scope, receive, answer.send)
        finally:
            answer.log()
            if self._count is not None and not answer.is_of_probe:
                self._count(answer.caller, str(answer.status or "cancelled"))


class _Answer:
    """One answer on its way out."""

    def __init__(self, scope: Scope, send: Send, model_version: Callable[[], str]) -> None:
        self.status: int | None = None
        self._scope = scope
        self._send = send
        self._model_version = model_version
        self._started = time.monotonic()

    @property
    def caller(self) -> str:
        """Whose key came; empty without access keys, and where none was let in."""
        caller: str = self._scope["state"].get("caller", "")
        return caller

    @property
    def is_of_probe(self) -> bool:
        return self._scope["path"] in _PROBES

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message)["X-Model-Version"] = self._model_version()
        await self._send(message)

    def log(self) -> None:
        """The access log. Ray's formatter adds the request id; images are not logged."""
        logger.log(
            logging.DEBUG if self.is_of_probe else logging.INFO,
            "%s %s %s",
            self._scope["method"],
            self._scope["path"],
            self.status or "cancelled",
            extra={
                "status": self.status,
                "caller": self.caller,
                "images": self._scope["state"].get("images", 0),
                "duration_ms": round(1000 * (time.monotonic() - self._started), 1),
            },
        )
