"""Middleware for Ray's HTTP proxy, which stands before the application.

Ray takes it from RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH, which the launcher sets. It
gives requests a good X-Request-ID, takes Ray's control headers off them, puts the few
answers that Ray gives by itself into our form, and refuses by itself, for moments, what the
application would refuse: before the body is read, and at a fraction of the cost.

Ray's proxy reads a body as fast as it comes, keeps it in memory until a replica is found,
and hands it on without being asked. Here a body waits at the client until the application
has let the request in and wants to read (`intake`), and what has come of all bodies is
bounded.
"""

import asyncio
import http
import logging
import math
import time

import uvicorn.config
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.common.errors import (
    DeadlineExceeded,
    InternalError,
    Overloaded,
    QueueFull,
    ServiceError,
    Unavailable,
)
from deployments.ingress import metrics
from deployments.ingress.http.body_budget import Budget, Share
from deployments.ingress.http.body_limit import BODY_WANTED
from deployments.ingress.http.middleware import REFUSE_FOR, choose_request_id, render_error

OPEN_AFTER_PERIODS = 10
"""Without a refusal, until a path that was full counts no more: it would let in 512 at once."""
_RAY_PATHS = ("/-/healthz", "/-/routes")
_CONTROL_HEADERS = {
    b"x-request-timeout-seconds",
    b"x-request-disconnect-disabled",
    b"serve_multiplexed_model_id",
    b"serve-multiplexed-model-id",
}

logger = logging.getLogger("ray.serve")


def middlewares() -> list[Middleware]:
    """What Ray asks for when its proxy starts, before it starts uvicorn."""
    uvicorn.config.HTTP_PROTOCOLS["auto"] = "deployments.ingress.http.connection:BoundedProtocol"
    return [Middleware(ProxyEnvelope)]


class ProxyEnvelope:
    """ASGI middleware around Ray's own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._full = FullPaths()
        self._budget = Budget()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})  # the application has none
            return
        if scope["path"] in _RAY_PATHS:
            await self._app(scope, receive, send)
            return
        request_id = _clean_headers(scope)
        body = _Body(scope, receive)
        answer = _Answer(send, request_id, body)
        response = self._full.refuse(scope["path"])
        if response is None:
            with self._budget.share(body.give_up) as body.share:
                response = await self._ask(scope, body, answer)
        if response is not None:
            await response(scope, receive, answer.send_ours)

    async def _ask(self, scope: Scope, body: "_Body", answer: "_Answer") -> Response | None:
        """Hand a request on. Returns what to say where the application said nothing."""
        try:
            await self._app(scope, body.receive, answer.send)
        except Exception:
            logger.exception("the proxy failed on request %s", answer.request_id)
        self._full.learn(scope["path"], answer.headers)
        error = answer.missing()
        if error is None:
            return None
        metrics.count_refusal("proxy", error.code)
        return render_error(error, scope["path"])


class FullPaths:
    """The paths whose queue was found full.

    All that come in the period after a refusal are refused like it, then one is let in, in the
    next period two, then four: until one is refused again, or so many that all may come. So
    the application is not asked by all that come while it finds out whether there is room.
    """

    def __init__(self) -> None:
        self._known: dict[str, _FullPath] = {}

    def learn(self, path: str, headers: Headers) -> None:
        if (refuse_for_s := headers.get(REFUSE_FOR)) is not None:
            self._known[path] = _FullPath(headers, float(refuse_for_s))

    def refuse(self, path: str) -> Response | None:
        """What the application would answer, where that is known."""
        full = self._known.get(path)
        if full is None or full.lets_in():
            return None
        metrics.count_refusal("proxy", QueueFull.code)
        refusal = QueueFull("too many images are waiting", int(full.headers["Retry-After"]))
        return render_error(refusal, path, {"X-Model-Version": full.headers["X-Model-Version"]})


class _FullPath:
    """The refusal that one path gave, and how many were let in after it."""

    def __init__(self, headers: Headers, period_s: float) -> None:
        self.headers = headers
        self._period_s = period_s
        self._since = time.monotonic()
        self._let_in = 0

    def lets_in(self) -> bool:
        """Counts the one who asks, where it does."""
        periods = int((time.monotonic() - self._since) / self._period_s)
        if periods > OPEN_AFTER_PERIODS:
            return True
        if self._let_in >= 2**periods - 1:
            return False
        self._let_in += 1
        return True


def _clean_headers(scope: Scope) -> str:
    request_id = choose_request_id(Headers(scope=scope))
    kept = [
        (name, value)
        for name, value in scope["headers"]
        if name not in _CONTROL_HEADERS and name != b"x-request-id"
    ]
    scope["headers"] = [*kept, (b"x-request-id", request_id.encode())]
    return request_id


class _Body:
    """A body on its way in: not read before it is wanted, nor beyond what is."""

    share: Share
    """Of what the bodies of all requests may hold."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.refusal: Overloaded | None = None
        self._receive = receive
        self._received_bytes = 0
        self._reading: asyncio.Task[None] | None = None
        self._max_bytes = self._max_buffered_bytes = 0
        self._timeout_s = math.inf
        self._wanted = asyncio.Event()
        self._started = time.monotonic()
        headers = Headers(scope=scope)
        if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
            scope["extensions"] = scope.get("extensions", {}) | {BODY_WANTED: {}}
        else:
            self._wanted.set()

    def want(self, message: Message) -> None:
        """The application asks for it, on its terms."""
        self._max_bytes = message["max_bytes"]
        self._max_buffered_bytes = message["max_buffered_bytes"]
        self._timeout_s = message["timeout_s"]
        self._wanted.set()

    @property
    def is_late(self) -> bool:
        """Whether the application should have answered by now."""
        return time.monotonic() - self._started > self._timeout_s

    def give_up(self, refusal: Overloaded) -> None:
        """Stop reading; Ray then takes the request from its replica, as if the client had gone."""
        self.refusal = refusal
        if self._reading is not None:
            self._reading.cancel()

    async def receive(self) -> Message:
        self._reading = asyncio.current_task()
        await self._wanted.wait()
        message = await self._receive()
        if (num_bytes := len(message.get("body", b""))) == 0:
            return message
        try:
            self.share.take(num_bytes, self._max_buffered_bytes)
        except Overloaded as error:
            self.refusal = error
            return {"type": "http.disconnect"}
        self._received_bytes += num_bytes
        if self._received_bytes > self._max_bytes:
            self._wanted.clear()  # the application sees it, too: this is its last chunk
        return message


class _Answer:
    """The application's answer goes through; one of Ray's own is held back."""

    def __init__(self, send: Send, request_id: str, body: _Body) -> None:
        self._send = send
        self.request_id = request_id
        self._body = body
        self._ray_status: int | None = None
        self._started = False
        self.headers = Headers()

    async def send(self, message: Message) -> None:
        if message["type"] == BODY_WANTED:
            self._body.want(message)
        elif message["type"] == "http.response.start":
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
            headers["X-Request-ID"] = self.request_id
            headers.setdefault("X-Model-Version", "unknown")
            del headers[REFUSE_FOR]
        await self._send(message)

    def missing(self) -> ServiceError | None:
        """What to say where the application said nothing."""
        if self._started:
            return None
        if self._body.refusal is not None:
            return self._body.refusal
        match self._ray_status:
            case http.HTTPStatus.REQUEST_TIMEOUT:
                return DeadlineExceeded("the request's time is up")
            case http.HTTPStatus.NOT_FOUND:
                return Unavailable("nothing is deployed here at the moment")
            case http.HTTPStatus.SERVICE_UNAVAILABLE:
                return Unavailable("no ingress is available at the moment")
            case http.HTTPStatus.TOO_MANY_REQUESTS:
                return Overloaded("too many requests are waiting")  # `backpressure_config`
            case None if self._body.is_late:
                return DeadlineExceeded("the request's time is up")
            case None | http.HTTPStatus.INTERNAL_SERVER_ERROR:
                # What the application itself cannot do, its envelope has answered.
                return Unavailable("the ingress was lost while it worked on the request")
            case _:
                return InternalError("something went wrong on our side")
