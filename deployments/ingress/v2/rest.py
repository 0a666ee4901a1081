"""The HTTP face of the Open Inference Protocol, as KServe and Triton have it."""

import time
import zlib
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from deployments.common.errors import MalformedRequest, RequestTooLarge, UnsupportedBody
from deployments.common.settings import Limits
from deployments.ingress.body_budget import Reservation
from deployments.ingress.images.multipart import Chunks
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
    """The routes under `/v2`; the protocol describes them, and not our `/openapi.json`."""
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
    """The whole body, decompressed, within `max_request_bytes` before and after."""
    chunks: Chunks = request.stream()
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        chunks = _decompressed(chunks, encoding, limits, request.scope["state"]["reservation"])
    return b"".join([chunk async for chunk in chunks])


async def _decompressed(
    chunks: Chunks, encoding: str, limits: Limits, reservation: Reservation
) -> Chunks:
    """The content of a body in `gzip` or `deflate`, never more than a piece at a time.

    Raises RequestTooLarge where it is larger than a body that is sent as it is may be, and
    Overloaded where those of all requests are together.
    """
    max_bytes = limits.max_request_bytes
    plain_bytes = 0
    if encoding not in ("gzip", "deflate"):
        raise UnsupportedBody("the Content-Encoding can be gzip or deflate")
    # 32: a header of zlib (which HTTP calls deflate) or gzip, whichever it is.
    decompressor = zlib.decompressobj(32 + zlib.MAX_WBITS)
    try:
        async for chunk in chunks:
            # One byte more than is allowed is enough to see that it is too much.
            plain = decompressor.decompress(chunk, max_bytes + 1)
            plain_bytes += len(plain)
            if plain_bytes > max_bytes:
                raise RequestTooLarge(f"the request is larger than {max_bytes} bytes")
            reservation.add(len(plain))
            yield plain
    except zlib.error as error:
        raise MalformedRequest(f"the body is not {encoding}") from error
    if not decompressor.eof or decompressor.unused_data:
        raise MalformedRequest(f"the body's {encoding} ends too early or too late")
