"""The HTTP application: routes, middleware from the outside in, and errors. Knows no Ray."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from deployments.common.errors import ServiceError
from deployments.ingress.access_log import AccessLog
from deployments.ingress.auth import ApiKeys
from deployments.ingress.context import OnRequestEnd
from deployments.ingress.http.body_limit import BodyLimitMiddleware
from deployments.ingress.http.middleware import AuthMiddleware, RequestContextMiddleware
from deployments.ingress.http.openapi import openapi_routes
from deployments.ingress.http.responses import error_response
from deployments.ingress.http.routes import photo_routes
from deployments.ingress.http.web_ui import web_ui_routes
from deployments.ingress.images.pipeline import ClassifierClient, Pipeline
from deployments.ingress.v2.model import InferenceModel
from deployments.ingress.v2.rest import v2_routes


def create_application(
    pipeline: Pipeline,
    keys: ApiKeys | None = None,
    access_log: AccessLog | None = None,
    on_request_end: OnRequestEnd | None = None,
    cors_origins: Sequence[str] = (),
) -> Starlette:
    """Build the HTTP application around a pipeline; with `keys`, for clients that have one."""
    application = Starlette(
        routes=[
            *photo_routes(),
            *v2_routes(InferenceModel(pipeline)),
            *openapi_routes(wants_key=keys is not None),
            *web_ui_routes(),
        ],
        middleware=[
            Middleware(
                RequestContextMiddleware,
                model_version=lambda: pipeline.model_version,
                access_log=access_log or AccessLog(),
                on_request_end=on_request_end,
            ),
            # Before the key: a browser's preflight brings none.
            *([_cors(cors_origins)] if cors_origins else []),
            *([Middleware(AuthMiddleware, keys=keys)] if keys is not None else []),
            Middleware(BodyLimitMiddleware, limits=pipeline.limits),
        ],
        exception_handlers=dict.fromkeys((ServiceError, HTTPException, ClientDisconnect), _handle),
        lifespan=_lifespan(pipeline.classifier),
    )
    application.router.redirect_slashes = False
    application.state.pipeline = pipeline
    return application


def _cors(origins: Sequence[str]) -> Middleware:
    return Middleware(
        CORSMiddleware,
        allow_origins=list(origins),
        allow_methods=["GET", "HEAD", "POST"],
        allow_headers=["Authorization", "X-API-Key", "X-Deadline-Ms", "X-Request-ID"],
        expose_headers=["Retry-After", "Server-Timing", "X-Model-Version", "X-Request-ID"],
    )


async def _handle(request: Request, error: Exception) -> Response:
    return error_response(error, request.scope)


def _lifespan(
    classifier: ClassifierClient,
) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await classifier.wait_ready()
        health_checks = asyncio.create_task(classifier.run_health_checks())
        yield
        health_checks.cancel()

    return lifespan
