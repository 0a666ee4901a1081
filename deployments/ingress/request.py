"""What the handlers of every HTTP route want of a request: its context, its time, its end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect, Request

from deployments.common.errors import MalformedRequest, ServiceError
from deployments.common.settings import Limits
from deployments.ingress.context import RequestContext

DEADLINE_HEADER = "X-Deadline-Ms"
WATCH_AFTER_S = 0.2
"""When a request has taken so long, its client may have left: most end before, and save a task."""


def context_of(request: Request) -> RequestContext:
    context: RequestContext = request.scope["state"]["context"]
    return context


def read_timeout_s(request: Request, limits: Limits) -> float:
    """The server's own limit, or less if the client sent less. Raises MalformedRequest."""
    deadline_ms = read_whole_number(DEADLINE_HEADER, request.headers.get(DEADLINE_HEADER))
    return limits.timeout_s if deadline_ms is None else min(limits.timeout_s, deadline_ms / 1000)


def read_whole_number(name: str, text: str | None, maximum: int | None = None) -> int | None:
    """A number from 1 to `maximum`; None if nothing was sent. Raises MalformedRequest."""
    if text is None:
        return None
    if text.isascii() and text.isdigit() and len(text) <= 18:
        number = int(text)
        if number >= 1 and (maximum is None or number <= maximum):
            return number
    bound = "at least 1" if maximum is None else f"from 1 to {maximum}"
    raise MalformedRequest(f"{name}: send a whole number {bound}")


@asynccontextmanager
async def cancel_on_disconnect(request: Request) -> AsyncIterator[None]:
    """Cancel what is inside if the client has left. Raises ClientDisconnect then.

    To be entered when the body has been read: the next message is the disconnect. Raises
    Overloaded if the request is evicted from the memory for bodies.
    """
    task = asyncio.current_task()
    watching: asyncio.Task[None] | None = None
    reason: Exception | None = None

    async def watch() -> None:
        nonlocal reason
        try:
            while (await request.receive())["type"] != "http.disconnect":
                continue
            reason = ClientDisconnect()
        except ServiceError as error:
            reason = error
        if task is not None:
            task.cancel()

    def start_watching() -> None:
        nonlocal watching
        watching = asyncio.create_task(watch())

    timer = asyncio.get_running_loop().call_later(WATCH_AFTER_S, start_watching)
    try:
        yield
    except asyncio.CancelledError:
        if reason is not None and task is not None and task.uncancel() == 0:
            raise reason from None
        raise
    finally:
        timer.cancel()
        if watching is not None:
            watching.cancel()
