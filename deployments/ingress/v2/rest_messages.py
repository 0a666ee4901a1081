"""The messages of the Open Inference Protocol over HTTP, to and from tensors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import pydantic
from pydantic import BaseModel, Field
from pydantic_core import from_json, to_json
from starlette.datastructures import Headers
from starlette.responses import Response

from deployments.common.errors import MalformedRequest
from deployments.ingress.v2 import tensors
from deployments.ingress.v2.model import MODEL_NAME, MODEL_VERSION, InferenceModel
from deployments.ingress.v2.tensors import RequestedOutput, Tensor, TensorSpec

HEADER_LENGTH = "Inference-Header-Content-Length"
"""How many bytes of a body are JSON; the tensors' binary form follows them."""

Body = TypeVar("Body", bound=BaseModel)


class InputBody(BaseModel):
    """One input: with `data`, or with the parameter `binary_data_size`."""

    name: str
    datatype: str
    shape: list[Annotated[int, Field(ge=0)]]
    parameters: dict[str, Any] = {}
    data: list[Any] | None = None


class OutputBody(BaseModel):
    """One output asked for; parameters: `classification`, `binary_data`."""

    name: str
    parameters: dict[str, Any] = {}


class InferBody(BaseModel):
    """The JSON of a request; parameters: `timeout` (microseconds), `binary_data_output`."""

    id: str = ""
    parameters: dict[str, Any] = {}
    inputs: list[InputBody]
    outputs: list[OutputBody] = []


class IndexBody(BaseModel):
    ready: bool = False


@dataclass(frozen=True)
class InferRequest:
    """A request translated; `binary` names the outputs to be sent in their binary form."""

    id: str
    inputs: Sequence[Tensor]
    outputs: Sequence[RequestedOutput]
    binary: Mapping[str, bool]
    binary_by_default: bool
    timeout_s: float


def read_request(headers: Headers, body: bytes, model: InferenceModel) -> InferRequest:
    """Translate a request. Raises MalformedRequest, NoImage or TooManyImages."""
    json_bytes = _read_header_length(headers, len(body))
    view = memoryview(body)
    asked = validate(InferBody, body[:json_bytes])
    tensors.reject_shared_memory(asked.parameters)
    outputs = [tensors.read_output(output.name, output.parameters) for output in asked.outputs]
    return InferRequest(
        asked.id,
        _read_inputs(asked.inputs, view[json_bytes:], model),
        outputs,
        {
            output.name: _read_flag(output.parameters, "binary_data")
            for output in asked.outputs
            if "binary_data" in output.parameters
        },
        _read_flag(asked.parameters, "binary_data_output"),
        tensors.read_timeout_s(asked.parameters),
    )


def _read_header_length(headers: Headers, body_bytes: int) -> int:
    text = headers.get(HEADER_LENGTH, str(body_bytes))
    if not (text.isascii() and text.isdigit()) or len(text) > 12 or int(text) > body_bytes:
        raise MalformedRequest(
            f"{HEADER_LENGTH} is {text!r:.40}, and the body has {body_bytes} bytes"
        )
    return int(text)


def validate(form: type[Body], text: bytes) -> Body:
    try:
        return form.model_validate(from_json(text, allow_inf_nan=False), strict=True)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise MalformedRequest(f"{place}: {first['msg']}") from error
    except ValueError as error:
        raise MalformedRequest("the request's JSON cannot be read") from error


def _read_inputs(
    inputs: Sequence[InputBody], binary: memoryview, model: InferenceModel
) -> list[Tensor]:
    read: list[Tensor] = []
    for each in inputs:
        tensors.reject_shared_memory(each.parameters)
        spec = model.input_spec(each.name, each.datatype, each.shape)
        size_bytes = each.parameters.get("binary_data_size")
        if size_bytes is None:
            read.append(_read_data(spec, each))
            continue
        if not isinstance(size_bytes, int) or not 0 <= size_bytes <= len(binary):
            raise MalformedRequest(f"the body does not hold the binary data of {each.name!r}")
        read.append(tensors.from_raw(spec, each.shape, binary[:size_bytes]))
        binary = binary[size_bytes:]
    if len(binary):
        raise MalformedRequest(f"{len(binary)} bytes of binary data belong to no input")
    return read


def _read_data(spec: TensorSpec, each: InputBody) -> Tensor:
    if each.data is None:
        raise MalformedRequest(f"{each.name!r} has neither data nor a binary_data_size")
    data = tensors.decode_base64(spec, each.data) if spec.datatype == "BYTES" else each.data
    return tensors.from_list(spec, each.shape, data)


def _read_flag(parameters: Mapping[str, Any], name: str) -> bool:
    value = parameters.get(name, False)
    if not isinstance(value, bool):
        raise MalformedRequest(f"the parameter {name!r} is true or false")
    return value


def encode_response(asked: InferRequest, tensors_out: Sequence[Tensor], weights: str) -> Response:
    """Encode as JSON, or as JSON with the binary form of some outputs behind it."""
    binary: list[bytes] = []
    outputs: list[dict[str, Any]] = []
    for tensor in tensors_out:
        output: dict[str, Any] = {
            "name": tensor.spec.name,
            "datatype": tensor.spec.datatype,
            "shape": tensor.shape,
        }
        if asked.binary.get(tensor.spec.name, asked.binary_by_default):
            binary.append(tensors.to_raw(tensor))
            output["parameters"] = {"binary_data_size": len(binary[-1])}
        else:
            output["data"] = tensors.to_list(tensor)
        outputs.append(output)
    header = to_json(
        {
            **({"id": asked.id} if asked.id else {}),
            "model_name": MODEL_NAME,
            "model_version": MODEL_VERSION,
            "parameters": {"weights": weights},
            "outputs": outputs,
        }
    )
    if not binary:
        return Response(header, media_type="application/json")
    return Response(
        b"".join([header, *binary]),
        media_type="application/octet-stream",
        headers={HEADER_LENGTH: str(len(header))},
    )
