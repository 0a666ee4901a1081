"""How large a body may be: by its declared length before it is read, else as it comes."""

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.common.errors import RequestTooLarge
from deployments.common.settings import Limits
from deployments.ingress.body_budget import BodyBudget, Reservation
from deployments.ingress.context import RequestContext
from deployments.ingress.http.responses import error_response


class BodyLimitMiddleware:
    """Rejects a body that is too large; counts and bounds what bodies hold in memory.

    The reservation is in `scope["state"]`, for what a body grows to when it is decompressed.
    """

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._max_request_bytes = limits.max_request_bytes
        self._budget = BodyBudget(limits.max_buffered_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            check_declared_length(Headers(scope=scope), self._max_request_bytes)
        except RequestTooLarge as error:
            await error_response(error, scope)(scope, receive, send)
            return
        with self._budget.reservation() as reservation:
            scope["state"]["reservation"] = reservation
            context = scope["state"]["context"]
            body = _Body(receive, context, reservation, self._max_request_bytes)
            await self._app(scope, body.receive, send)


def check_declared_length(headers: Headers, max_bytes: int) -> None:
    """Raises RequestTooLarge if a body is declared to be."""
    declared = headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise request_too_large(max_bytes)


def request_too_large(max_bytes: int) -> RequestTooLarge:
    return RequestTooLarge(f"the request is larger than {max_bytes} bytes")


class _Body:
    """A body on its way in, counted as it comes."""

    def __init__(
        self, receive: Receive, context: RequestContext, reservation: Reservation, max_bytes: int
    ) -> None:
        self._receive = receive
        self._context = context
        self._reservation = reservation
        self._max_bytes = max_bytes

    async def receive(self) -> Message:
        """The next message. Raises RequestTooLarge, or Overloaded if all hold too much."""
        self._reservation.raise_if_evicted()
        message = await self._receive_or_evicted()
        num_bytes = len(message.get("body", b""))
        self._reservation.add(num_bytes)
        self._context.received_bytes += num_bytes
        if self._context.received_bytes > self._max_bytes:
            raise request_too_large(self._max_bytes)
        return message

    async def _receive_or_evicted(self) -> Message:
        self._reservation.reader = reader = asyncio.current_task()
        try:
            return await self._receive()
        except asyncio.CancelledError:
            if self._reservation.is_evicted and reader is not None and reader.uncancel() == 0:
                # The budget interrupted this read; it is no cancellation of the request.
                self._reservation.raise_if_evicted()
            raise
        finally:
            self._reservation.reader = None
