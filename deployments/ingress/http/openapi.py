"""`/openapi.json` and `/docs`: the description of the routes, and a page that shows it."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from pydantic import TypeAdapter
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from deployments.ingress.http.responses import ErrorBody, ImageResult, Status
from deployments.ingress.http.routes import MAX_TOP_K
from deployments.ingress.request import DEADLINE_HEADER
from deployments.model.spec import SPEC

Json = dict[str, Any]

_REF_TEMPLATE = "#/components/schemas/{model}"
_ERROR: Json = {"$ref": _REF_TEMPLATE.format(model="ErrorBody")}
_RESULT: Json = {"$ref": _REF_TEMPLATE.format(model="ImageResult")}
_STATUS: Json = {"$ref": _REF_TEMPLATE.format(model="Status")}
_BINARY: Json = {"type": "string", "format": "binary"}

# Relative addresses, so that the page works behind a prefix, too. A browser cannot send the
# body of a GET, so the page leaves that one out.
_DOCS_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>densenet-serve: API</title>
<link rel="stylesheet" href="docs/assets/swagger-ui.css">
<link rel="icon" href="docs/assets/favicon.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/assets/swagger-ui-bundle.js"></script>
<script>
fetch("openapi.json").then((response) => response.json()).then((spec) => {
  delete spec.paths["/predict"].get;
  spec.servers = [{url: new URL(".", location.href).pathname.replace(/\\/$/, "") || "/"}];
  SwaggerUIBundle({spec, dom_id: "#swagger-ui", deepLinking: true});
});
</script>
</body>
</html>
"""


def openapi_routes(wants_key: bool) -> list[BaseRoute]:
    document = describe_api(wants_key)

    async def openapi(_: Request) -> Response:
        return JSONResponse(document)

    async def docs(_: Request) -> Response:
        return HTMLResponse(_DOCS_PAGE)

    # The package has Swagger UI's files; importing it would bring FastAPI.
    assets = StaticFiles(packages=[("fastapi_offline", "static")])
    return [
        Route("/openapi.json", openapi),
        Mount("/docs/assets", assets),
        Route("/docs", docs),
    ]


def describe_api(wants_key: bool) -> Json:
    """The OpenAPI document; the bodies' schemas come from their types."""
    security: Json = {}
    if wants_key:
        security["securitySchemes"] = {
            "HTTPBearer": {"type": "http", "scheme": "bearer"},
            "APIKeyHeader": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "densenet-serve",
            "description": f"Photos classified by {SPEC.title} into the {SPEC.num_classes} classes "
            "of ImageNet.",
            "version": "1",
        },
        "paths": {
            "/healthz": {"get": _describe_probe("Is the process alive?", [])},
            "/readyz": {"get": _describe_probe("Does a warmed-up Classifier respond?", [503])},
            "/predict": {
                "get": _describe_predict("predict_get", wants_key),
                "post": _describe_predict("predict_post", wants_key),
            },
            "/run_inference": {"post": _describe_run_inference(wants_key)},
        },
        "components": {"schemas": _describe_bodies(), **security},
    }


def _describe_bodies() -> Json:
    bodies = TypeAdapter(dict[str, ErrorBody | ImageResult | Status])
    schemas: Json = bodies.json_schema(ref_template=_REF_TEMPLATE)["$defs"]
    return schemas


def _describe_probe(summary: str, errors: Sequence[int]) -> Json:
    responses = {"200": _response(200, _STATUS), **_errors(errors)}
    return {"summary": summary, "responses": responses}


def _describe_predict(operation_id: str, wants_key: bool) -> Json:
    keyed = {"type": "object", "additionalProperties": {"anyOf": [_RESULT, _ERROR]}}
    # One image that failed is an error; several of which none could be classified are keyed.
    failed = {"anyOf": [_ERROR, {"type": "object", "additionalProperties": _ERROR}]}
    return {
        "summary": "Classify any number of images",
        "description": "The response has the file names as keys. Send an image, or a form.",
        "operationId": operation_id,
        **_describe_request(wants_key),
        "responses": {
            "200": _response(200, keyed, classified=True),
            **_errors([400, 404]),
            **_errors([413, 415, 422, 500], failed),
            **_errors([401, 503, 504] if wants_key else [503, 504]),
        },
    }


def _describe_run_inference(wants_key: bool) -> Json:
    errors = [400, 413, 415, 422, 500, 503, 504]
    return {
        "summary": "Classify one image",
        "operationId": "run_inference",
        **_describe_request(wants_key),
        "responses": {
            "200": _response(200, _RESULT, classified=True),
            **_errors([401, *errors] if wants_key else errors),
        },
    }


def _describe_request(wants_key: bool) -> Json:
    form = {"type": "object", "properties": {"file": {"type": "array", "items": _BINARY}}}
    top_k = {"type": "integer", "minimum": 1, "maximum": MAX_TOP_K}
    request: Json = {
        "parameters": [
            {
                "name": "top_k",
                "in": "query",
                "schema": top_k,
                "description": "Also send the K best classes with their probabilities.",
            },
            {
                "name": DEADLINE_HEADER,
                "in": "header",
                "schema": {"type": "integer", "minimum": 1},
                "description": "Give up after so many milliseconds.",
            },
        ],
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": form},
                "image/*": {"schema": _BINARY},
                "application/octet-stream": {"schema": _BINARY},
            },
        },
    }
    if wants_key:
        request["security"] = [{"HTTPBearer": []}, {"APIKeyHeader": []}]
    return request


def _errors(statuses: Sequence[int], schema: Json = _ERROR) -> Json:
    return {str(status): _response(status, schema) for status in statuses}


def _response(status: int, schema: Json, classified: bool = False) -> Json:
    headers: Json = {
        "X-Request-ID": _header("The client's, if it is a good one, else a new one."),
        "X-Model-Version": _header("Which weights are served."),
    }
    if classified:
        headers["Server-Timing"] = _header("Milliseconds of parse, decode, queue and infer.")
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = {"schema": {"type": "integer"}, "description": "Seconds."}
    return {
        "description": HTTPStatus(status).phrase,
        "headers": headers,
        "content": {"application/json": {"schema": schema}},
    }


def _header(description: str) -> Json:
    return {"schema": {"type": "string"}, "description": description}
