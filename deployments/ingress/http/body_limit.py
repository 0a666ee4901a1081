"""What a request must pass before the application reads it: its key, then its length.

ASGI middleware of the application and not of Ray's proxy, so that it stands before every
request however the service was started, and reads the settings of the application that it
guards. Ray's proxy would read a body without being asked; `edge` holds it back until this asks, so
no byte of a request that is refused here is taken in.
"""

from starlette._utils import get_route_path
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.common.errors import RequestTooLarge, ServiceError, Unauthorized
from deployments.common.settings import Limits
from deployments.ingress.auth import ApiKeys, extract_api_key
from deployments.ingress.context import RequestContext
from deployments.ingress.http.body_budget import Budget, Share
from deployments.ingress.http.middleware import refuse

BODY_WANTED = "densenet.body.wanted"
"""An ASGI extension: the message with which an application asks for a body.

A server that names it in `scope["extensions"]` reads nothing of the body before that.
"""

_OPEN_PATHS = {"/", "/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"}
_OPEN_PATHS |= {"/docs", "/openapi.json"}
_OPEN_FOLDERS = ("/static/", "/static-offline-docs/")


class Intake:
    """ASGI middleware: refuses, and counts what is not refused."""

    def __init__(self, app: ASGIApp, limits: Limits, keys: ApiKeys | None) -> None:
        self._app = app
        self._limits = limits
        self._keys = keys
        self._budget = Budget()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http":
                await self._take(scope, receive, send)
            case "websocket":
                await send({"type": "websocket.close"})  # there are none here
            case _:
                await self._app(scope, receive, send)

    async def _take(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        try:
            if self._keys is not None and not _is_open(scope):
                scope["state"]["record"].client = self._keys.identify(extract_api_key(headers))
            check_length(headers, self._limits.max_request_bytes)
        except ServiceError as error:
            challenge = {"WWW-Authenticate": "Bearer"} if isinstance(error, Unauthorized) else None
            await refuse(error, scope, challenge)(scope, receive, send)
        else:
            with self._budget.share() as share:
                scope["state"]["share"] = share
                body = _Body(scope, receive, send, self._limits, share)
                await self._app(scope, body.receive, send)


def _is_open(scope: Scope) -> bool:
    """Whether a path needs no key: the path that the router will see, character by character.

    Never `request.url`: a client's Host header is part of it. What is not listed is closed,
    be it there or not.
    """
    path = get_route_path(scope)
    return path in _OPEN_PATHS or path.startswith(_OPEN_FOLDERS)


def check_length(headers: Headers, max_bytes: int) -> None:
    """Raises RequestTooLarge when a body is declared to be."""
    declared = headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise RequestTooLarge(f"the request is larger than {max_bytes} bytes")


class _Body:
    """A body on its way in: asked for when it is wanted, counted as it comes."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, limits: Limits, share: Share
    ) -> None:
        self._receive = receive
        self._send = send
        self._limits = limits
        self._share = share
        self._must_ask = BODY_WANTED in scope.get("extensions", {})
        self._record: RequestContext = scope["state"]["record"]

    async def receive(self) -> Message:
        """The next message. Raises RequestTooLarge, or Overloaded where all are together."""
        if self._must_ask:
            self._must_ask = False
            await self._send(
                {
                    "type": BODY_WANTED,
                    "max_bytes": self._limits.max_request_bytes,
                    "max_buffered_bytes": self._limits.max_buffered_bytes,
                    "timeout_s": self._limits.timeout_s,
                }
            )
        message = await self._receive()
        num_bytes = len(message.get("body", b""))
        self._share.take(num_bytes, self._limits.max_buffered_bytes)
        self._record.received_bytes += num_bytes
        if self._record.received_bytes > self._limits.max_request_bytes:
            max_bytes = self._limits.max_request_bytes
            raise RequestTooLarge(f"the request is larger than {max_bytes} bytes")
        return message
