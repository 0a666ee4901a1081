"""What the operations of the OpenAPI document have in common: responses, headers, examples."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

Json = dict[str, Any]

REF_TEMPLATE = "#/components/schemas/{model}"
ERROR: Json = {"$ref": REF_TEMPLATE.format(model="ErrorBody")}

ERROR_EXAMPLES = {
    400: ("no_image", "the request holds no image; curl sends a file with -F file=@photo.jpg"),
    401: ("unauthorized", "this service requires an API key"),
    404: ("not_found", "there is nothing at this path; /docs lists the paths of the API"),
    413: ("image_too_large", "9000 x 6000 pixels are more than the 50000000 allowed"),
    415: ("unsupported_media_type", "the file is not a JPEG, PNG, WebP, GIF or BMP image"),
    422: ("undecodable_image", "the JPEG file is broken or incomplete"),
    500: ("internal", "something went wrong on our side"),
    503: ("overloaded", "too many requests are waiting"),
    504: ("deadline_exceeded", "the request's time is up"),
}
"""By status: the code and the message of an error with it."""


def example_of_error(status: int) -> Json:
    code, message = ERROR_EXAMPLES[status]
    return {"error": {"code": code, "message": message}}


def errors(statuses: Sequence[int], schema: Json = ERROR) -> Json:
    return {str(status): response(status, schema, example_of_error(status)) for status in statuses}


def response(status: int, schema: Json, example: Json, classified: bool = False) -> Json:
    """classified: whether images were, so that the response has their timings."""
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
        "content": {"application/json": {"schema": schema, "example": example}},
    }


def _header(description: str) -> Json:
    return {"schema": {"type": "string"}, "description": description}
