"""The OpenAPI document: every route, its parameters, bodies and responses."""

from collections.abc import Sequence

from pydantic import TypeAdapter

from deployments.common.settings import Limits
from deployments.ingress.http.api_parts import ERROR, REF_TEMPLATE, Json, errors, response
from deployments.ingress.http.api_v2 import describe_v2
from deployments.ingress.http.responses import ErrorBody, ImageResult, Status
from deployments.ingress.http.routes import MAX_TOP_K
from deployments.ingress.request import DEADLINE_HEADER
from deployments.model.spec import SPEC

_RESULT: Json = {"$ref": REF_TEMPLATE.format(model="ImageResult")}
_STATUS: Json = {"$ref": REF_TEMPLATE.format(model="Status")}
_BINARY: Json = {"type": "string", "format": "binary"}
_SECURITY: list[Json] = [{"HTTPBearer": []}, {"APIKeyHeader": []}]

_CAT: Json = {"class_id": "n02124075", "class_name": "Egyptian_cat"}
_DOG: Json = {"class_id": "n02099712", "class_name": "Labrador_retriever"}
_TAGS = [
    {"name": "Images", "description": "Classify images."},
    {"name": "Health", "description": "For load balancers and monitors."},
    {
        "name": "Open Inference Protocol",
        "description": "For clients of Triton and KServe. Tensors may also be sent in binary.",
    },
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
            "description": f"Photos classified into the {SPEC.num_classes} classes of ImageNet: by "
            f"{SPEC.title}, or by a stand-in where its weights are missing. The response header "
            "`X-Model-Version` says which.",
            "version": "1",
        },
        "tags": _TAGS,
        "paths": {
            "/predict": {
                "post": _describe_predict("predict_post", wants_key),
                "get": _describe_predict("predict_get", wants_key),
            },
            "/run_inference": {"post": _describe_run_inference(wants_key)},
            "/healthz": {"get": _describe_probe("Is the process alive?", "alive", [])},
            "/readyz": {"get": _describe_probe("Does a Classifier respond?", "ready", [503])},
            **describe_v2(_SECURITY if wants_key else []),
        },
        "components": {"schemas": _describe_bodies(), **security},
    }


def _describe_bodies() -> Json:
    bodies = TypeAdapter(dict[str, ErrorBody | ImageResult | Status])
    schemas: Json = bodies.json_schema(ref_template=REF_TEMPLATE)["$defs"]
    return schemas


def _describe_probe(summary: str, status: str, failures: Sequence[int]) -> Json:
    responses = {"200": response(200, _STATUS, {"status": status}), **errors(failures)}
    return {"tags": ["Health"], "summary": summary, "responses": responses}


def _describe_predict(operation_id: str, wants_key: bool) -> Json:
    keyed = {"type": "object", "additionalProperties": {"anyOf": [_RESULT, ERROR]}}
    # One image that failed is an error; several of which none could be classified are keyed.
    failed = {"anyOf": [ERROR, {"type": "object", "additionalProperties": ERROR}]}
    return {
        "tags": ["Images"],
        "summary": "Classify several images",
        "description": "The response has the file names as keys. Send an image, or a form with as "
        f"many files as the service allows, {Limits().max_images} by default.",
        "operationId": operation_id,
        **_describe_request(wants_key),
        "responses": {
            "200": response(200, keyed, {"cat.jpg": _CAT, "dog.jpg": _DOG}, classified=True),
            **errors([400, 404]),
            **errors([413, 415, 422, 500], failed),
            **errors([401, 503, 504] if wants_key else [503, 504]),
        },
    }


def _describe_run_inference(wants_key: bool) -> Json:
    failures = [400, 413, 415, 422, 500, 503, 504]
    return {
        "tags": ["Images"],
        "summary": "Classify one image",
        "operationId": "run_inference",
        **_describe_request(wants_key),
        "responses": {
            "200": response(200, _RESULT, _CAT, classified=True),
            **errors([401, *failures] if wants_key else failures),
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
                "example": 5,
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
        request["security"] = _SECURITY
    return request
