"""The HTTP face of the Open Inference Protocol, as KServe and Triton have it."""

import time
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from deployments.common.settings import Limits
from deployments.ingress.content_coding import decode_body
from deployments.ingress.images.pipeline import deadline_scope
from deployments.ingress.request import cancel_on_disconnect, context_of, read_timeout_s
from deployments.ingress.v2.model import (
    EXTENSIONS,
    MODEL_NAME,
    SERVER_NAME,
    SERVER_VERSION,
    InferenceModel,
    require_model,
    run_in_parser_thread,
)
from deployments.ingress.v2.rest_messages import (
    IndexBody,
    encode_response,
    read_request,
    validate,
)

Handler = Callable[[Request], Awaitable[Response]]


def v2_routes(model: InferenceModel) -> list[Route]:
    """The routes under `/v2`; `http.api_v2` describes the most used."""
    handlers = _Handlers(model)
    of_model: list[tuple[str, Handler, str]] = [
        ("", handlers.model_metadata, "GET"),
        ("/ready", handlers.model_ready, "GET"),
        ("/config", handlers.model_config, "GET"),
        ("/infer", handlers.infer, "POST"),
    ]
    return [
        Route("/v2", handlers.server_metadata),
        Route("/v2/health/live", handlers.live),
        Route("/v2/health/ready", handlers.ready),
        Route("/v2/repository/index", handlers.repository_index, methods=["POST"]),
        *(
            Route(f"/v2/models/{{model}}{version}{path}", handler, methods=[method])
            for version in ("", "/versions/{version}")
            for path, handler, method in of_model
        ),
    ]


class _Handlers:
    """The handlers of the routes; each raises what the table of errors knows."""

    def __init__(self, model: InferenceModel) -> None:
        self._model = model

    async def server_metadata(self, _: Request) -> Response:
        metadata = {"name": SERVER_NAME, "version": SERVER_VERSION, "extensions": EXTENSIONS}
        return JSONResponse(metadata)

    async def live(self, _: Request) -> Response:
        return JSONResponse({"live": True})

    async def ready(self, _: Request) -> Response:
        self._model.require_ready()
        return JSONResponse({"ready": True})

    async def repository_index(self, request: Request) -> Response:
        async with deadline_scope(time.monotonic() + self._model.limits.timeout_s):
            body = await _read_body(request, self._model.limits)
        index = validate(IndexBody, body or b"{}")
        return JSONResponse(self._model.list_repository(index.ready))

    async def model_metadata(self, request: Request) -> Response:
        _require_model(request)
        return JSONResponse(self._model.describe())

    async def model_ready(self, request: Request) -> Response:
        _require_model(request)
        self._model.require_ready()
        return JSONResponse({"name": MODEL_NAME, "ready": True})

    async def model_config(self, request: Request) -> Response:
        _require_model(request)
        return JSONResponse(self._model.describe_config())

    async def infer(self, request: Request) -> Response:
        _require_model(request)
        timeout_s = read_timeout_s(request, self._model.limits)
        with self._model.admit():
            return await self._infer(request, timeout_s)

    async def _infer(self, request: Request, timeout_s: float) -> Response:
        context = context_of(request)
        async with deadline_scope(context.started + timeout_s):
            body = await _read_body(request, self._model.limits)
            asked = await run_in_parser_thread(read_request, request.headers, body, self._model)
        context.timings.parse_ms = 1000 * context.duration_s
        deadline = context.started + min(timeout_s, asked.timeout_s)
        async with cancel_on_disconnect(request):
            outputs = await self._model.infer(asked.inputs, asked.outputs, deadline, context)
        response = encode_response(asked, outputs, self._model.weights)
        response.headers.update(context.timings.headers())
        return response


def _require_model(request: Request) -> None:
    require_model(request.path_params["model"], request.path_params.get("version", ""))


async def _read_body(request: Request, limits: Limits) -> bytes:
    """The whole body, decoded, within `max_request_bytes` before and after."""
    reserve = request.scope["state"]["reservation"].add
    chunks = decode_body(request.stream(), request.headers, limits.max_request_bytes, reserve)
    return b"".join([chunk async for chunk in chunks])
