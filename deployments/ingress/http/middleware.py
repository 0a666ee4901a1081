"""What surrounds every answer: its headers, its line in the access log, its last resort."""

import logging
import re
import uuid
from collections.abc import Callable, Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.common.errors import InternalError, QueueFull, ServiceError, ServiceUnavailable
from deployments.ingress.context import OnRequestEnd, RequestContext
from deployments.ingress.http.responses import describe_error, describe_v2_error

REFUSE_FOR = "X-Refuse-For-S"
"""Tells `deployments.ingress.http.edge` to refuse by itself for so long; it goes no further."""
_PROBES = {"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"}
_V2_PATH = re.compile(r"/v2(/|$)")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

logger = logging.getLogger("ray.serve")


def choose_request_id(headers: Headers) -> str:
    """The client's X-Request-ID where it is a good one, else a new one."""
    sent = headers.get("x-request-id", "")
    return sent if _REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex


def refuse(
    error: ServiceError, scope: Scope, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """The answer to a request that is refused as a whole, noted in its record."""
    scope["state"]["record"].refusal = error.code
    return render_error(error, scope["path"], headers)


def render_error(
    error: ServiceError, path: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """An error as an answer, in the form that clients of that path expect."""
    body = describe_v2_error(error) if _V2_PATH.match(path) else describe_error(error)
    response = JSONResponse(body, error.status, headers)
    if isinstance(error, ServiceUnavailable):
        response.headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, QueueFull):
        response.headers[REFUSE_FOR] = str(error.refuse_for_s)
    return response


class Envelope:
    """ASGI middleware of the application.

    It does not send X-Request-ID: Ray's proxy adds that header to every answer, and
    `deployments.ingress.http.edge` sees to it that the id is a good one.
    """

    def __init__(
        self, app: ASGIApp, model_version: Callable[[], str], observe: OnRequestEnd | None = None
    ) -> None:
        self._app = app
        self._model_version = model_version
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        record = scope.setdefault("state", {})["record"] = RequestContext()
        answer = _Answer(send, record, self._model_version)
        try:
            await self._app(scope, receive, answer.send)
        except Exception:
            logger.exception("unexpected error")
            if not answer.has_begun:
                error = InternalError("something went wrong on our side")
                await refuse(error, scope)(scope, receive, answer.send)
        finally:
            _log(scope, record)
            if self._observe is not None and scope["path"] not in _PROBES:
                self._observe(record)


class _Answer:
    """One answer on its way out."""

    def __init__(
        self, send: Send, record: RequestContext, model_version: Callable[[], str]
    ) -> None:
        self.has_begun = False
        self._send = send
        self._record = record
        self._model_version = model_version

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.has_begun = True
            self._record.status = str(message["status"])
            MutableHeaders(scope=message)["X-Model-Version"] = self._model_version()
        await self._send(message)


def _log(scope: Scope, record: RequestContext) -> None:
    """The access log. Ray's formatter adds the request id; images are not logged."""
    level = logging.DEBUG if scope["path"] in _PROBES else logging.INFO
    fields = {"method": scope["method"], "path": scope["path"], **record.describe()}
    logger.log(level, "%s %s %s", scope["method"], scope["path"], record.status, extra=fields)
