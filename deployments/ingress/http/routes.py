"""The routes of photos and of health: what a request asks for, and what it gets."""

import difflib

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from deployments.common import tracing
from deployments.common.errors import (
    MalformedRequest,
    OneImageExpected,
    ServiceError,
    Unavailable,
)
from deployments.ingress.http.responses import describe_error, describe_image
from deployments.ingress.images.multipart import read_uploads
from deployments.ingress.images.pipeline import Pipeline, Result, deadline_scope
from deployments.ingress.request import (
    cancel_on_disconnect,
    context_of,
    read_timeout_s,
    read_whole_number,
)

MAX_TOP_K = 1000
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
                uploads = await read_uploads(
                    request.headers,
                    request.stream(),
                    pipeline.limits,
                    request.scope["state"]["reservation"].add,
                )
            context.timings.parse_ms = 1000 * context.duration_s
            context.images = len(uploads)
            if len(uploads) > max_images:
                raise OneImageExpected(f"send one image, not {len(uploads)}")
            async with cancel_on_disconnect(request):
                return await pipeline.run(uploads, deadline, context)


def _pipeline(request: Request) -> Pipeline:
    pipeline: Pipeline = request.app.state.pipeline
    return pipeline


def read_top_k(request: Request) -> int | None:
    """Raises MalformedRequest for a bad value, or for a parameter that does not exist."""
    if not request.scope["query_string"]:
        return None
    parameters = request.query_params
    for name in parameters:
        if name not in _QUERY_PARAMETERS:
            near = difflib.get_close_matches(name, _QUERY_PARAMETERS, 1, 0.5)
            known = " and ".join(_QUERY_PARAMETERS)
            hint = f" Did you mean {near[0]!r}?" if near else f" There is {known}."
            raise MalformedRequest(f"there is no query parameter {name!r:.80}.{hint}")
    return read_whole_number("top_k", parameters.get("top_k"), MAX_TOP_K)
