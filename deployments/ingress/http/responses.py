"""The bodies of responses, and the one table from exceptions to HTTP."""

import re
from collections.abc import Mapping
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from starlette._utils import get_route_path
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import Scope
from typing_extensions import NotRequired, TypedDict

from deployments.common.errors import (
    ClientClosedRequest,
    InternalError,
    MethodNotAllowed,
    NotFound,
    ServiceError,
    Unauthorized,
)
from deployments.common.labels import load_classes, top_k_indices

_V2_PATH = re.compile(r"/v2(/|$)")


class Prediction(TypedDict):
    class_id: Annotated[str, Field(description="WordNet id", examples=["n02124075"])]
    class_name: Annotated[str, Field(examples=["Egyptian_cat"])]
    probability: Annotated[float, Field(ge=0, le=1)]


class ImageResult(TypedDict):
    class_id: Annotated[str, Field(description="WordNet id", examples=["n02124075"])]
    class_name: Annotated[str, Field(examples=["Egyptian_cat"])]
    predictions: NotRequired[
        Annotated[list[Prediction], Field(description="best first; with `top_k` only")]
    ]


class ErrorDetail(TypedDict):
    code: Annotated[str, Field(examples=["undecodable_image"])]
    message: str


class ErrorBody(TypedDict):
    error: ErrorDetail


class Status(TypedDict):
    status: Annotated[str, Field(examples=["ready"])]


def describe_error(error: ServiceError) -> ErrorBody:
    return {"error": {"code": error.code, "message": error.message}}


def describe_image(probabilities: NDArray[np.float32], top_k: int | None) -> ImageResult:
    """Describe one image: float32 (1000,) probabilities, and the `top_k` asked for."""
    classes = load_classes()
    best = top_k_indices(probabilities, top_k or 1)
    top = classes[best[0]]
    result: ImageResult = {"class_id": top.class_id, "class_name": top.class_name}
    if top_k is not None:
        result["predictions"] = [
            {
                "class_id": classes[index].class_id,
                "class_name": classes[index].class_name,
                "probability": float(probabilities[index]),
            }
            for index in best
        ]
    return result


def to_service_error(error: Exception) -> ServiceError:
    """The table of errors: every exception's way to HTTP; the rest is `internal`."""
    match error:
        case ServiceError():
            return error
        case HTTPException(status_code=404):
            return NotFound("there is nothing at this path; /docs lists the paths of the API")
        case HTTPException(status_code=405, headers=headers):
            methods = ", ".join(sorted((headers or {}).get("Allow", "").split(", ")))
            message = f"this path has no such method; it has {methods}" if methods else ""
            return MethodNotAllowed(message or "this path has no such method")
        case ClientDisconnect():
            return ClientClosedRequest("the connection ended before the response began")
        case _:
            return InternalError("something went wrong on our side")


def error_response(error: Exception, scope: Scope) -> JSONResponse:
    """Render an error in the form that clients of the path expect; note it in the context."""
    service_error = to_service_error(error)
    scope["state"]["context"].error_code = service_error.code
    sent_headers = error.headers if isinstance(error, HTTPException) else None
    return render_error(service_error, get_route_path(scope), sent_headers)


def render_error(
    error: ServiceError, path: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Render an error as JSON: for `/v2` as the Open Inference Protocol has it."""
    body = {"error": error.message} if _V2_PATH.match(path) else describe_error(error)
    response = JSONResponse(body, error.status, {**error.headers, **(headers or {})})
    if error.retry_after_s is not None:
        response.headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, Unauthorized):
        response.headers["WWW-Authenticate"] = "Bearer"
    return response
