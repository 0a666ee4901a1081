"""Middleware for Ray's HTTP proxy, which stands before the application.

Ray takes it from RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH, which the launcher sets. It
gives requests a good X-Request-ID, takes Ray's control headers off them, puts the few
answers that Ray gives by itself into our form, and refuses by itself, for moments, what the
application would refuse: before the body is read, and at a fraction of the cost.
"""

import http
import logging
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments import metrics
from deployments.envelope import REFUSE_FOR, choose_request_id, render_error
from deployments.errors import (
    DeadlineExceeded,
    Internal,
    Overloaded,
    QueueFull,
    ServiceError,
    Unavailable,
)

CALLBACK = "deployments.proxy:middlewares"
HEALTH_CHECK_PERIOD_S = 1
"""For RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S: a proxy that died fails three checks before Ray
starts another, which at Ray's own ten seconds is half a minute without one."""
_RAY_PATHS = ("/-/healthz", "/-/routes")
_CONTROL_HEADERS = {
    b"x-request-timeout-seconds",
    b"x-request-disconnect-disabled",
    b"serve_multiplexed_model_id",
    b"serve-multiplexed-model-id",
}

logger = logging.getLogger("ray.serve")


def middlewares() -> list[Middleware]:
    """What Ray asks for when its proxy starts."""
    return [Middleware(ProxyEnvelope)]


class ProxyEnvelope:
    """ASGI middleware around Ray's own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._full = FullPaths()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _RAY_PATHS:
            await self._app(scope, receive, send)
            return
        request_id = _clean_headers(scope)
        answer = _Answer(send, request_id)
        response = self._full.refuse(scope["path"])
        if response is None:
            try:
                await self._app(scope, receive, answer.send)
            except Exception:
                logger.exception("the proxy failed on request %s", request_id)
            self._full.learn(scope["path"], answer.headers)
            if (error := answer.missing()) is not None:
                response = render_error(error, scope["path"])
        if response is not None:
            await response(scope, receive, answer.send_ours)


class FullPaths:
    """The paths whose queue was found full, each for the moment that the application said."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, Headers]] = {}

    def learn(self, path: str, headers: Headers) -> None:
        if (refuse_for_s := headers.get(REFUSE_FOR)) is not None:
            self._known[path] = (time.monotonic() + float(refuse_for_s), headers)

    def refuse(self, path: str) -> Response | None:
        """What the application would answer, where that is known."""
        until, headers = self._known.get(path, (0.0, Headers()))
        if time.monotonic() >= until:
            self._known.pop(path, None)
            return None
        metrics.refusals.inc(tags={"tier": "proxy"})
        refusal = QueueFull("too many images are waiting", int(headers["Retry-After"]))
        return render_error(refusal, path, {"X-Model-Version": headers["X-Model-Version"]})


def _clean_headers(scope: Scope) -> str:
    request_id = choose_request_id(Headers(scope=scope))
    kept = [
        (name, value)
        for name, value in scope["headers"]
        if name not in _CONTROL_HEADERS and name != b"x-request-id"
    ]
    scope["headers"] = [*kept, (b"x-request-id", request_id.encode())]
    return request_id


class _Answer:
    """The application's answer goes through; one of Ray's own is held back."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id
        self._ray_status: int | None = None
        self._started = False
        self.headers = Headers()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if "x-model-version" not in Headers(scope=message):
                self._ray_status = message["status"]
                return
            self._started = True
            self.headers = Headers(raw=list(message["headers"]))
            await self.send_ours(message)
        elif self._ray_status is None:
            await self._send(message)

    async def send_ours(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["X-Request-ID"] = self._request_id
            headers.setdefault("X-Model-Version", "unknown")
            del headers[REFUSE_FOR]
        await self._send(message)

    def missing(self) -> ServiceError | None:
        """What to say where the application said nothing."""
        if self._started:
            return None
        match self._ray_status:
            case http.HTTPStatus.REQUEST_TIMEOUT:
                return DeadlineExceeded("the request's time is up")
            case http.HTTPStatus.NOT_FOUND:
                return Unavailable("nothing is deployed here at the moment")
            case http.HTTPStatus.SERVICE_UNAVAILABLE:
                return Unavailable("no ingress is available at the moment")
            case http.HTTPStatus.TOO_MANY_REQUESTS:
                return Overloaded("too many requests are waiting")  # `backpressure_config`
            case None | http.HTTPStatus.INTERNAL_SERVER_ERROR:
                # What the application itself cannot do, its envelope has answered.
                return Unavailable("the ingress was lost while it worked on the request")
            case _:
                return Internal("something went wrong on our side")
