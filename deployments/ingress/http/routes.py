"""The routes of photos and of health: what a request asks for, and what it gets."""

import asyncio
import difflib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from deployments.common import tracing
from deployments.common.errors import (
    MalformedRequest,
    OneImageExpected,
    ServiceError,
    Unavailable,
)
from deployments.common.settings import Limits
from deployments.ingress.context import RequestContext
from deployments.ingress.http.responses import describe_error, describe_image
from deployments.ingress.images.multipart import read_uploads
from deployments.ingress.images.pipeline import Pipeline, Result, deadline_scope

MAX_TOP_K = 1000
DEADLINE_HEADER = "X-Deadline-Ms"
_QUERY_PARAMETERS = ("top_k",)


def photo_routes() -> list[Route]:
    return [
        Route("/predict", predict, methods=["GET", "POST"]),
        Route("/run_inference", run_inference, methods=["POST"]),
        Route("/healthz", healthz),
        Route("/readyz", readyz),
    ]


async def healthz(_: Request) -> Response:
    return JSONResponse({"status": "alive"})


async def readyz(request: Request) -> Response:
    if not _pipeline(request).is_ready:
        raise Unavailable("no classifier is ready")
    return JSONResponse({"status": "ready"})


async def predict(request: Request) -> Response:
    """Key results by file name. A lone failure is the response; if all failed, so is the first."""
    top_k = read_top_k(request)
    results = await _classify(request, max_images=_pipeline(request).limits.max_images)
    failures = [result for result in results.values() if isinstance(result, ServiceError)]
    if len(results) == len(failures) == 1:
        raise failures[0]
    body = {
        name: describe_error(result)
        if isinstance(result, ServiceError)
        else describe_image(result, top_k)
        for name, result in results.items()
    }
    status = failures[0].status if len(failures) == len(results) else 200
    return JSONResponse(body, status, context_of(request).timings.headers())


async def run_inference(request: Request) -> Response:
    top_k = read_top_k(request)
    (result,) = (await _classify(request, max_images=1)).values()
    if isinstance(result, ServiceError):
        raise result
    body = describe_image(result, top_k)
    return JSONResponse(body, headers=context_of(request).timings.headers())


async def _classify(request: Request, max_images: int) -> dict[str, Result]:
    pipeline, context = _pipeline(request), context_of(request)
    deadline = context.started + read_timeout_s(request, pipeline.limits)
    with pipeline.admit():
        async with deadline_scope(deadline):
            with tracing.span("parse"):
                uploads = await read_uploads(request.headers, request.stream(), pipeline.limits)
            context.timings.parse_ms = 1000 * context.duration_s
            context.images = len(uploads)
            if len(uploads) > max_images:
                raise OneImageExpected(f"send one image, not {len(uploads)}")
            async with cancel_on_disconnect(request):
                return await pipeline.run(uploads, deadline, context)


def _pipeline(request: Request) -> Pipeline:
    pipeline: Pipeline = request.app.state.pipeline
    return pipeline


def context_of(request: Request) -> RequestContext:
    context: RequestContext = request.scope["state"]["context"]
    return context


def read_top_k(request: Request) -> int | None:
    """Raises MalformedRequest for a bad value, or for a parameter that does not exist."""
    if not request.scope["query_string"]:
        return None
    parameters = request.query_params
    for name in parameters:
        if name not in _QUERY_PARAMETERS:
            near = difflib.get_close_matches(name, _QUERY_PARAMETERS, 1, 0.5)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise MalformedRequest(f"there is no query parameter {name!r:.80}.{hint}")
    return read_whole_number("top_k", parameters.get("top_k"), MAX_TOP_K)


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
    """Cancel what is inside when the client leaves. Raises ClientDisconnect then.

    To be entered when the body has been read: the next message is the disconnect. Raises
    Overloaded if the request is evicted from the memory for bodies.
    """
    task = asyncio.current_task()
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

    watching = asyncio.create_task(watch())
    try:
        yield
    except asyncio.CancelledError:
        if reason is not None and task is not None and task.uncancel() == 0:
            raise reason from None
        raise
    finally:
        watching.cancel()
