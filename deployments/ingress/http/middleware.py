"""What surrounds every request: its context, access log, key, and unexpected errors."""

import logging
import re
import uuid
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.common import tracing
from deployments.common.errors import ServiceError
from deployments.ingress.access_log import AccessLog, describe_request
from deployments.ingress.auth import ApiKeys, authorize
from deployments.ingress.context import (
    MAX_USER_AGENT_CHARS,
    OnRequestEnd,
    RequestContext,
    describe_address,
)
from deployments.ingress.http.path_rules import PathRule, rule_of
from deployments.ingress.http.responses import error_response

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

logger = logging.getLogger("ray.serve")


def choose_request_id(sent: str) -> str:
    """The client's X-Request-ID if it is a good one, else a new one."""
    return sent if _REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex


class RequestContextMiddleware:
    """Gives each request its context; logs and reports it when it ends.

    It does not send X-Request-ID: Ray's own middleware adds that header to every response,
    and `edge` has replaced a bad one.
    """

    def __init__(
        self,
        app: ASGIApp,
        model_version: Callable[[], str],
        access_log: AccessLog,
        on_request_end: OnRequestEnd | None,
    ) -> None:
        self._app = app
        self._access_log = access_log
        self._model_version = model_version
        self._on_request_end = on_request_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})  # the service has none
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        context = _open_context(scope)
        rule = rule_of(scope)  # before the router: a mount changes the scope
        response = _Response(send, context, self._model_version)
        try:
            await self._app(scope, receive, response.send)
        except Exception as error:
            logger.exception("unexpected error")
            if not response.has_begun:
                await error_response(error, scope)(scope, receive, response.send)
        finally:
            self._end(scope, rule, context)

    def _end(self, scope: Scope, rule: PathRule, context: RequestContext) -> None:
        entry = describe_request(scope["method"], scope["path"], context, rule.probe)
        self._access_log.write(entry)
        if self._on_request_end is not None and rule.is_counted:
            self._on_request_end(context)


def _open_context(scope: Scope) -> RequestContext:
    headers = Headers(scope=scope)
    client = scope.get("client") or ("",)
    context = RequestContext(
        request_id=headers.get("x-request-id", ""),
        client_address=describe_address(headers.getlist("x-forwarded-for"), client[0]),
        user_agent=headers.get("user-agent", "")[:MAX_USER_AGENT_CHARS],
        trace_id=tracing.current_trace_id(),
    )
    scope.setdefault("state", {})["context"] = context
    return context


class _Response:
    """One response on its way out."""

    def __init__(
        self, send: Send, context: RequestContext, model_version: Callable[[], str]
    ) -> None:
        self.has_begun = False
        self._send = send
        self._context = context
        self._model_version = model_version

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.has_begun = True
            self._context.status = str(message["status"])
            MutableHeaders(scope=message)["X-Model-Version"] = self._model_version()
        await self._send(message)


class AuthMiddleware:
    """Rejects who may not send, before a byte of the body is read; notes whose key came."""

    def __init__(self, app: ASGIApp, keys: ApiKeys) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                public = rule_of(scope).public
                client = authorize(self._keys, Headers(scope=scope), public)
            except ServiceError as error:
                await error_response(error, scope)(scope, receive, send)
                return
            scope["state"]["context"].client = client
        await self._app(scope, receive, send)
