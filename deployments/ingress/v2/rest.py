"""The HTTP face of the Open Inference Protocol, as KServe and Triton have it."""

import time
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import pydantic
from pydantic import BaseModel, Field
from pydantic_core import from_json, to_json
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from deployments.common.errors import MalformedRequest, RequestTooLarge, UnsupportedBody
from deployments.common.settings import Limits
from deployments.ingress.http.body_budget import Reservation
from deployments.ingress.http.routes import cancel_on_disconnect, context_of, read_timeout_s
from deployments.ingress.images.multipart import Chunks
from deployments.ingress.images.pipeline import deadline_scope
from deployments.ingress.v2 import tensors
from deployments.ingress.v2.model import (
    EXTENSIONS,
    MODEL_NAME,
    MODEL_VERSION,
    SERVER_NAME,
    SERVER_VERSION,
    InferenceModel,
    require_model,
    run_in_parser_thread,
)
from deployments.ingress.v2.tensors import RequestedOutput, Tensor, TensorSpec

HEADER_LENGTH = "Inference-Header-Content-Length"
"""How many bytes of a body are JSON; the tensors' binary form follows them."""

Body = TypeVar("Body", bound=BaseModel)
Handler = Callable[[Request], Awaitable[Response]]


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
        index = _validate(IndexBody, body or b"{}")
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


def read_request(headers: Headers, body: bytes, model: InferenceModel) -> InferRequest:
    """Translate a request. Raises MalformedRequest, NoImage or TooManyImages."""
    json_bytes = _read_header_length(headers, len(body))
    view = memoryview(body)
    asked = _validate(InferBody, body[:json_bytes])
    tensors.refuse_shared_memory(asked.parameters)
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


def _validate(form: type[Body], text: bytes) -> Body:
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
        tensors.refuse_shared_memory(each.parameters)
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
