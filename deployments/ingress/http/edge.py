"""Middleware that Ray puts around its own handler of HTTP requests.

Runs in: Ingress replicas, and in Ray's HTTP proxy when one stands in front. Ray takes it from
RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH. It gives requests a good X-Request-ID, replaces the
control headers that a client sent to Ray, and gives the few responses that Ray makes by itself
our form.
"""

import asyncio
import contextlib
import http
import logging

import uvicorn.config
from ray import serve
from ray.serve.exceptions import RayServeException
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.common.errors import (
    DeadlineExceeded,
    InternalError,
    Overloaded,
    ServiceError,
    Unavailable,
)
from deployments.ingress import metrics
from deployments.ingress.http.middleware import choose_request_id
from deployments.ingress.http.responses import render_error

_RAY_PATHS = ("/-/healthz", "/-/routes")
_CONTROL_HEADERS = {
    b"x-request-id",
    b"x-request-timeout-seconds",
    b"x-request-disconnect-disabled",
    b"serve_multiplexed_model_id",
    b"serve-multiplexed-model-id",
}
_IN_REPLICA = [
    (b"x-request-timeout-seconds", b"0"),
    (b"x-request-disconnect-disabled", b"?1"),
]
"""The application itself ends a request in its time and when its client leaves. So Ray needs no
tasks of its own for that, and does not read a body before the application asks for it."""

DRAIN_BYTES = 64 * 2**10
DRAIN_TIMEOUT_S = 5.0

logger = logging.getLogger("ray.serve")


def middlewares() -> list[Middleware]:
    """Called by Ray before it starts uvicorn."""
    uvicorn.config.HTTP_PROTOCOLS["auto"] = "deployments.ingress.http.http_protocol:HttpProtocol"
    return [Middleware(EdgeMiddleware, control_headers=_IN_REPLICA if _in_replica() else [])]


def _in_replica() -> bool:
    try:
        serve.get_replica_context()
    except RayServeException:
        return False
    return True


class EdgeMiddleware:
    """ASGI middleware around Ray's own."""

    def __init__(self, app: ASGIApp, control_headers: list[tuple[bytes, bytes]]) -> None:
        self._app = app
        self._control_headers = control_headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})  # the application has none
            return
        if scope["path"] in _RAY_PATHS:
            await self._app(scope, receive, send)
            return
        request_id = choose_request_id(Headers(scope=scope).get("x-request-id", ""))
        kept = [each for each in scope["headers"] if each[0] not in _CONTROL_HEADERS]
        scope["headers"] = [*kept, (b"x-request-id", request_id.encode()), *self._control_headers]
        body = _Body(scope, receive)
        response = _ResponseInterceptor(send, request_id, body)
        try:
            await self._app(scope, body.receive, response.send)
        except Exception:
            logger.exception("Ray failed on request %s", request_id)
        if not response.has_begun:
            error = error_for_ray_status(response.ray_status)
            metrics.count_rejection("ray", error.code)
            await body.drain()
            await render_error(error, scope["path"])(scope, receive, response.send_ours)


class _Body:
    """A body on its way in; the rest of a small one is read before the response begins.

    HAProxy forgets that a client's connection is busy if the response ends before the request
    does: the next request on it then waited for 30 s, seen through Caddy.
    """

    def __init__(self, scope: Scope, receive: Receive) -> None:
        headers = Headers(scope=scope)
        declared = headers.get("content-length", "0")
        is_small = declared.isdecimal() and int(declared) <= DRAIN_BYTES
        has_body = declared != "0" or "transfer-encoding" in headers
        self._is_owed = has_body and is_small and "expect" not in headers
        self._receive = receive
        self._received_bytes = 0

    async def receive(self) -> Message:
        message = await self._receive()
        self._received_bytes += len(message.get("body", b""))
        if not message.get("more_body", False) or self._received_bytes > DRAIN_BYTES:
            self._is_owed = False
        return message

    async def drain(self) -> None:
        """Read the rest, for a while."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_TIMEOUT_S):
                while self._is_owed:
                    await self.receive()


class _ResponseInterceptor:
    """The application's response goes through; one of Ray's own is held back."""

    def __init__(self, send: Send, request_id: str, body: _Body) -> None:
        self._body = body
        self.has_begun = False
        self.ray_status: int | None = None
        self._send = send
        self._request_id = request_id

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if not any(name == b"x-model-version" for name, _ in message["headers"]):
                self.ray_status = message["status"]
                return
            await self._body.drain()
            self.has_begun = True
        if self.has_begun:
            await self._send(message)

    async def send_ours(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["X-Request-ID"] = self._request_id
            headers["X-Model-Version"] = "unknown"
        await self._send(message)


def error_for_ray_status(status: int | None) -> ServiceError:
    """What a status that Ray sent by itself means to a client; None if it sent nothing."""
    match status:
        case http.HTTPStatus.REQUEST_TIMEOUT:
            return DeadlineExceeded("the request's time is up")
        case http.HTTPStatus.NOT_FOUND:
            return Unavailable("no application is deployed here at the moment")
        case http.HTTPStatus.SERVICE_UNAVAILABLE:
            return Unavailable("no ingress is available at the moment")
        case http.HTTPStatus.TOO_MANY_REQUESTS:
            return Overloaded("too many requests are waiting")  # `backpressure_config`
        case None | http.HTTPStatus.INTERNAL_SERVER_ERROR:
            # The application has a response for whatever goes wrong inside it.
            return Unavailable("the ingress was lost while it worked on the request")
        case _:
            return InternalError("something went wrong on our side")
