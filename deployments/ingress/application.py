"""The HTTP application: routes and the table of errors. Knows nothing of Ray."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, Header, Query, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import APIKeyHeader, HTTPBearer
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match, Route

from deployments.common import tracing
from deployments.common.errors import (
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    OneImageExpected,
    ServiceError,
    Unavailable,
)
from deployments.common.settings import Limits
from deployments.ingress.auth import ApiKeys
from deployments.ingress.context import OnRequestEnd, RequestContext
from deployments.ingress.http.body_limit import Intake
from deployments.ingress.http.middleware import Envelope, refuse
from deployments.ingress.http.responses import (
    ErrorBody,
    ImageResult,
    Status,
    describe_error,
    describe_image,
)
from deployments.ingress.http.web_ui import mount_page
from deployments.ingress.images.multipart import read_uploads
from deployments.ingress.images.pipeline import ClassifierPort, Pipeline, Result, deadline_scope
from deployments.ingress.v2.model import InferenceModel
from deployments.ingress.v2.rest import create_router

TopK = Annotated[
    int | None,
    Query(ge=1, le=1000, description="Also answer the K best classes with their probabilities."),
]
DeadlineMs = Annotated[
    int | None,
    Header(alias="X-Deadline-Ms", ge=1, description="Give up after so many milliseconds."),
]


def create_api(
    classifier: ClassifierPort,
    limits: Limits,
    keys: ApiKeys | None = None,
    observe: OnRequestEnd | None = None,
) -> FastAPI:
    """Build the HTTP application around a classifier; with `keys`, for those who have one."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await classifier.meet()
        watching = asyncio.create_task(classifier.watch())
        yield
        watching.cancel()

    api = FastAPIOffline(
        title="densenet-serve",
        description="Photos classified by DenseNet-121 into the 1000 classes of ImageNet.",
        version="1",
        docs_url="/docs",
        redoc_url=None,
        lifespan=lifespan,
    )
    api.add_middleware(Intake, limits=limits, keys=keys)
    api.add_middleware(Envelope, model_version=lambda: classifier.model_version, observe=observe)
    _add_error_table(api)
    _add_health(api, classifier)
    _add_classification(api, classifier, limits, wants_key=keys is not None)
    api.include_router(create_router(InferenceModel(classifier, limits)))
    mount_page(api)
    return api


def _add_health(api: FastAPI, classifier: ClassifierPort) -> None:
    @api.get("/healthz", summary="Is the process alive?")
    async def healthz() -> Status:
        return {"status": "alive"}

    @api.get(
        "/readyz",
        summary="Does a warmed-up Classifier answer?",
        responses=_error_responses(503),
    )
    async def readyz() -> Status:
        if not classifier.is_ready:
            raise Unavailable("no classifier is ready")
        return {"status": "ready"}


def _add_classification(
    api: FastAPI, classifier: ClassifierPort, limits: Limits, wants_key: bool
) -> None:
    pipeline = Pipeline(classifier, limits)
    described = _describe_keys() if wants_key else []
    refusals = (401, 503, 504) if wants_key else (503, 504)

    async def predict(
        request: Request, top_k: TopK = None, deadline_ms: DeadlineMs = None
    ) -> Response:
        results = await _classify(request, deadline_ms, at_most=limits.max_images)
        return _render_all(results, top_k, request)

    async def run_inference(
        request: Request, top_k: TopK = None, deadline_ms: DeadlineMs = None
    ) -> Response:
        results = await _classify(request, deadline_ms, at_most=1)
        (result,) = results.values()
        return _render_one(result, top_k, request)

    async def _classify(
        request: Request, deadline_ms: int | None, at_most: int
    ) -> dict[str, Result]:
        record = _record_of(request)
        deadline = record.started + min(limits.timeout_s, (deadline_ms or float("inf")) / 1000)
        with classifier.admit():
            return await _answer(request, record, deadline, at_most)

    async def _answer(
        request: Request, record: RequestContext, deadline: float, at_most: int
    ) -> dict[str, Result]:
        async with deadline_scope(deadline):
            with tracing.span("parse"):
                uploads = await read_uploads(request.headers, request.stream(), limits)
            record.timings.parse_ms = 1000 * record.duration_s
            record.images = len(uploads)
            if len(uploads) > at_most:
                raise OneImageExpected(f"send one image, not {len(uploads)}")
            return await pipeline.run(uploads, deadline, record)

    for method in ("POST", "GET"):
        api.add_api_route(
            "/predict",
            predict,
            methods=[method],
            operation_id=f"predict_{method.lower()}",
            summary="Classify any number of images",
            response_model=dict[str, ImageResult | ErrorBody],
            responses={
                **_error_responses(400, 404, *refusals),
                **_error_responses(413, 415, 422, 500, model=ErrorBody | dict[str, ErrorBody]),
            },
            openapi_extra=_REQUEST_BODY,
            dependencies=described,
        )
    api.add_api_route(
        "/run_inference",
        run_inference,
        methods=["POST"],
        summary="Classify one image",
        response_model=ImageResult,
        responses=_error_responses(400, 413, 415, 422, 500, *refusals),
        openapi_extra=_REQUEST_BODY,
        dependencies=described,
    )


def _describe_keys() -> list[Any]:
    """The two ways to send a key, for `/openapi.json` alone: `Intake` has checked it."""
    schemes = (HTTPBearer(auto_error=False), APIKeyHeader(name="X-API-Key", auto_error=False))
    return [Security(scheme) for scheme in schemes]


def _render_all(results: dict[str, Result], top_k: int | None, request: Request) -> Response:
    """One object by name. A lone failure is the answer; when all failed, the first's status."""
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
    return JSONResponse(body, status, headers=_record_of(request).timings.headers())


def _render_one(result: Result, top_k: int | None, request: Request) -> Response:
    if isinstance(result, ServiceError):
        raise result
    headers = _record_of(request).timings.headers()
    return JSONResponse(describe_image(result, top_k), headers=headers)


def _record_of(request: Request) -> RequestContext:
    record: RequestContext = request.state.record
    return record


def _add_error_table(api: FastAPI) -> None:
    """Every exception's way to HTTP; what is not here is `internal` (see `Envelope`)."""

    @api.exception_handler(ServiceError)
    async def service_error(request: Request, error: ServiceError) -> Response:
        return refuse(error, request.scope)

    @api.exception_handler(404)
    async def not_found(request: Request, _: HTTPException) -> Response:
        return refuse(NotFound("there is nothing at this path"), request.scope)

    @api.exception_handler(405)
    async def method_not_allowed(request: Request, error: HTTPException) -> Response:
        refusal = MethodNotAllowed("this path has no such method")
        return refuse(refusal, request.scope, _list_methods(api, request) or error.headers)

    @api.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        refusal = MalformedRequest(f"{first['loc'][-1]}: {first['msg']}")
        return refuse(refusal, request.scope)

    @api.exception_handler(ClientDisconnect)
    async def client_gone(request: Request, _: ClientDisconnect) -> Response:
        refusal = MalformedRequest("the connection ended before the body did")
        return refuse(refusal, request.scope)


def _list_methods(api: FastAPI, request: Request) -> dict[str, str]:
    """`Allow` of a path of the API itself; Starlette names the methods of one route alone."""
    routes = [route for route in api.routes if isinstance(route, Route)]
    found = [route for route in routes if route.matches(request.scope)[0] is Match.PARTIAL]
    methods = {method for route in found for method in route.methods or ()}
    return {"Allow": ", ".join(sorted(methods))} if found else {}


def _error_responses(*statuses: int, model: Any = ErrorBody) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": model} for status in statuses}


_BINARY = {"type": "string", "format": "binary"}
_REQUEST_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"file": {"type": "array", "items": _BINARY}},
                }
            },
            "image/*": {"schema": _BINARY},
            "application/octet-stream": {"schema": _BINARY},
        },
    }
}
