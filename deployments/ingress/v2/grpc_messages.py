"""The messages of the Open Inference Protocol over gRPC, to and from tensors."""

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message
from tritonclient.grpc import service_pb2

from deployments.common.errors import MalformedRequest
from deployments.ingress.v2 import tensors
from deployments.ingress.v2.model import MODEL_NAME, MODEL_VERSION, InferenceModel
from deployments.ingress.v2.tensors import Tensor

_CONTENTS = {"BYTES": "bytes_contents", "UINT8": "uint_contents", "FP32": "fp32_contents"}


def message(form: Any, fields: Mapping[str, Any]) -> Message:
    """A message of some fields; `properties` of the metadata are for JSON only."""
    parsed: Message = ParseDict(fields, form(), ignore_unknown_fields=True)
    return parsed


def read_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: getattr(value, choice)
        for name, value in parameters.items()
        if (choice := value.WhichOneof("parameter_choice"))
    }


def read_inputs(request: Any, model: InferenceModel) -> list[Tensor]:
    """Translate the inputs. Raises MalformedRequest, NoImage or TooManyImages."""
    raw: Sequence[bytes] = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise MalformedRequest(f"{len(raw)} raw_input_contents for {len(request.inputs)} inputs")
    read: list[Tensor] = []
    for index, each in enumerate(request.inputs):
        tensors.reject_shared_memory(read_parameters(each.parameters))
        spec = model.input_spec(each.name, each.datatype, each.shape)
        if raw:
            read.append(tensors.from_raw(spec, each.shape, raw[index]))
        else:
            contents = getattr(each.contents, _CONTENTS[spec.datatype])
            read.append(tensors.from_list(spec, each.shape, contents))
    return read


def encode_response(request_id: str, outputs: Sequence[Tensor], weights: str) -> Message:
    response = service_pb2.ModelInferResponse(
        id=request_id, model_name=MODEL_NAME, model_version=MODEL_VERSION
    )
    response.parameters["weights"].string_param = weights
    for tensor in outputs:
        response.outputs.add(
            name=tensor.spec.name, datatype=tensor.spec.datatype, shape=tensor.shape
        )
        response.raw_output_contents.append(tensors.to_raw(tensor))
    encoded: Message = response
    return encoded
