"""The Open Inference Protocol in the OpenAPI document; the protocol itself has the details."""

from collections.abc import Sequence

from deployments.ingress.http.api_parts import ERROR_EXAMPLES, Json, response
from deployments.ingress.request import DEADLINE_HEADER
from deployments.model.spec import SPEC

_PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGPoKE8DAALwAWa8iq68AAAAAElFTkSuQmCC"
)
"""A picture of one pixel."""
_OBJECT: Json = {"type": "object"}
_ERROR: Json = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"type": "string"}},
}
_MODEL = f"/v2/models/{SPEC.name}"
_INFER: Json = {
    "inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [_PNG]}],
    "outputs": [{"name": "class_id"}, {"name": "class_name"}],
}
_INFERRED: Json = {
    "model_name": SPEC.name,
    "outputs": [
        {"name": "class_id", "datatype": "BYTES", "shape": [1], "data": ["n02124075"]},
        {"name": "class_name", "datatype": "BYTES", "shape": [1], "data": ["Egyptian_cat"]},
    ],
}
_METADATA: Json = {"name": SPEC.name, "platform": "pytorch_state_dict", "versions": ["1"]}


def describe_v2(security: list[Json]) -> Json:
    """The paths. security: what a request needs; empty without API keys."""
    with_key = [401] if security else []
    probes: Json = {
        "/v2/health/live": _operation("Is the process alive?", {"live": True}, []),
        "/v2/health/ready": _operation("Does a Classifier respond?", {"ready": True}, [503]),
    }
    others: Json = {
        "/v2": _operation("Name and extensions", {"name": "densenet-serve"}, with_key),
        _MODEL: _operation("Inputs and outputs of the model", _METADATA, with_key),
        f"{_MODEL}/ready": _operation(
            "Is the model ready?", {"name": SPEC.name, "ready": True}, [*with_key, 503]
        ),
        f"{_MODEL}/config": _operation(
            "The model's configuration, as Triton has it", {"name": SPEC.name}, with_key
        ),
    }
    infer = _describe_infer([*with_key, 400, 413, 415, 422, 500, 503, 504])
    paths = {path: {"get": each} for path, each in (probes | others).items()}
    paths[f"{_MODEL}/infer"] = {"post": infer}
    for operation in (*others.values(), infer):
        operation.update({"security": security} if security else {})
    return paths


def _operation(summary: str, example: Json, failures: Sequence[int]) -> Json:
    return {
        "tags": ["Open Inference Protocol"],
        "summary": summary,
        "responses": {"200": response(200, _OBJECT, example), **_errors(failures)},
    }


def _describe_infer(failures: Sequence[int]) -> Json:
    operation = _operation("Classify images", _INFERRED, failures)
    operation["responses"]["200"] = response(200, _OBJECT, _INFERRED, classified=True)
    operation["parameters"] = [
        {"name": DEADLINE_HEADER, "in": "header", "schema": {"type": "integer", "minimum": 1}}
    ]
    content = {"application/json": {"schema": _OBJECT, "example": _INFER}}
    operation["requestBody"] = {"required": True, "content": content}
    return operation


def _errors(statuses: Sequence[int]) -> Json:
    return {
        str(status): response(status, _ERROR, {"error": ERROR_EXAMPLES[status][1]})
        for status in statuses
    }
