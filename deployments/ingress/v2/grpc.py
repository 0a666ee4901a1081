"""The gRPC face of the Open Inference Protocol, behind Ray Serve's own gRPC proxy.

The proxy hands each call to the Ingress method of the call's name. Requests cross it as
bytes: so they are counted before they are parsed, and broken ones are refused here.
"""

import ipaddress
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

import grpc
from google.protobuf.json_format import ParseDict
from google.protobuf.message import DecodeError, Message
from ray.serve.grpc_util import RayServegRPCContext
from tritonclient.grpc import model_config_pb2, service_pb2

from deployments.common.errors import (
    Forbidden,
    InternalError,
    MalformedRequest,
    RequestTooLarge,
    ServiceError,
)
from deployments.common.settings import GrpcClients
from deployments.ingress.auth import ApiKeys, extract_api_key
from deployments.ingress.context import OnRequestEnd, RequestContext
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
    translate,
)
from deployments.ingress.v2.tensors import Tensor

SERVICE = "inference.GRPCInferenceService"
_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    415: grpc.StatusCode.INVALID_ARGUMENT,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
"""By the status the same error has over HTTP; INTERNAL for any other."""
_PROBES = {"ServerLive", "ServerReady", "ModelReady"}
_OPEN_METHODS = {"ServerLive", "ServerReady"}
"""What needs no key, as `/v2/health/...` needs none over HTTP."""
_CONTENTS = {"BYTES": "bytes_contents", "UINT8": "uint_contents", "FP32": "fp32_contents"}

Method = Callable[["InferenceServicer", bytes, RayServegRPCContext], Awaitable[Message]]

logger = logging.getLogger("ray.serve")


def method(request_type: Any, response_type: Any) -> Callable[[Callable[..., Any]], Method]:
    """A method of the service: its request parsed, its errors told by the status code.

    Nothing is raised to Ray, which would send the trace to the client.
    """

    def decorate(answer: Callable[..., Awaitable[Message]]) -> Method:
        # Not `functools.wraps`: Ray looks for `grpc_context` in the signature.
        async def call(
            self: "InferenceServicer", request: bytes, grpc_context: RayServegRPCContext
        ) -> Message:
            record = RequestContext(received_bytes=len(request))
            try:
                record.client = self.admit(answer.__name__, request, grpc_context)
                response: Message = await answer(self, request_type.FromString(request), record)
            except DecodeError:
                broken = MalformedRequest("the message is broken")
                response = _refuse(broken, grpc_context, record)
            except ServiceError as error:
                response = _refuse(error, grpc_context, record)
            except Exception:
                logger.exception("unexpected error")
                internal = InternalError("something went wrong on our side")
                response = _refuse(internal, grpc_context, record)
            else:
                record.status = grpc.StatusCode.OK.name
            finally:
                self.note(answer.__name__, record)
            return response

        def _refuse(
            error: ServiceError, grpc_context: RayServegRPCContext, record: RequestContext
        ) -> Message:
            code = _CODES.get(error.status, grpc.StatusCode.INTERNAL)
            record.refusal, record.status = error.code, code.name
            grpc_context.set_code(code)
            grpc_context.set_details(error.message)
            empty: Message = response_type()
            return empty

        call.__name__ = answer.__name__
        return call

    return decorate


class InferenceServicer:
    """The methods of `inference.GRPCInferenceService`, for a deployment to inherit."""

    def __init__(
        self,
        model: InferenceModel,
        clients: GrpcClients,
        keys: ApiKeys | None = None,
        observe: OnRequestEnd | None = None,
    ) -> None:
        self._model = model
        self._clients = clients
        self._keys = keys
        self._observe = observe

    def admit(self, name: str, request: bytes, grpc_context: RayServegRPCContext) -> str:
        """Refuse a call before it is parsed. Returns the client, empty where nobody is asked.

        Raises Forbidden, Unauthorized or RequestTooLarge. Ray's gRPC proxy listens on all
        interfaces whatever the HTTP one does.
        """
        if self._clients == "local" and not is_local(grpc_context.peer()):
            raise Forbidden("gRPC is for clients on the server's own machine ('grpc_clients')")
        client = ""
        if self._keys is not None and name not in _OPEN_METHODS:
            client = self._keys.identify(extract_api_key(dict(grpc_context.invocation_metadata())))
        max_bytes = self._model.limits.max_request_bytes
        if len(request) > max_bytes:
            raise RequestTooLarge(f"the request is larger than {max_bytes} bytes")
        return client

    def note(self, name: str, record: RequestContext) -> None:
        """The access log and the metrics, as `envelope` has them for HTTP."""
        level = logging.DEBUG if name in _PROBES else logging.INFO
        fields = {"method": "gRPC", "path": name, **record.describe()}
        logger.log(level, "gRPC %s %s", name, record.status, extra=fields)
        if self._observe is not None and name not in _PROBES:
            self._observe(record)

    @method(service_pb2.ServerLiveRequest, service_pb2.ServerLiveResponse)
    async def ServerLive(self, _: Any, __: RequestContext) -> Message:
        return _message(service_pb2.ServerLiveResponse, {"live": True})

    @method(service_pb2.ServerReadyRequest, service_pb2.ServerReadyResponse)
    async def ServerReady(self, _: Any, __: RequestContext) -> Message:
        return _message(service_pb2.ServerReadyResponse, {"ready": self._model.is_ready})

    @method(service_pb2.ModelReadyRequest, service_pb2.ModelReadyResponse)
    async def ModelReady(self, request: Any, _: RequestContext) -> Message:
        require_model(request.name, request.version)
        return _message(service_pb2.ModelReadyResponse, {"ready": self._model.is_ready})

    @method(service_pb2.ServerMetadataRequest, service_pb2.ServerMetadataResponse)
    async def ServerMetadata(self, _: Any, __: RequestContext) -> Message:
        return _message(
            service_pb2.ServerMetadataResponse,
            {"name": SERVER_NAME, "version": SERVER_VERSION, "extensions": EXTENSIONS},
        )

    @method(service_pb2.ModelMetadataRequest, service_pb2.ModelMetadataResponse)
    async def ModelMetadata(self, request: Any, _: RequestContext) -> Message:
        require_model(request.name, request.version)
        return _message(service_pb2.ModelMetadataResponse, self._model.describe())

    @method(service_pb2.ModelConfigRequest, service_pb2.ModelConfigResponse)
    async def ModelConfig(self, request: Any, _: RequestContext) -> Message:
        require_model(request.name, request.version)
        config = _message(model_config_pb2.ModelConfig, self._model.describe_config())
        response: Message = service_pb2.ModelConfigResponse(config=config)
        return response

    @method(service_pb2.RepositoryIndexRequest, service_pb2.RepositoryIndexResponse)
    async def RepositoryIndex(self, request: Any, _: RequestContext) -> Message:
        models = self._model.list_repository(request.ready)
        return _message(service_pb2.RepositoryIndexResponse, {"models": models})

    @method(service_pb2.ModelInferRequest, service_pb2.ModelInferResponse)
    async def ModelInfer(self, request: Any, record: RequestContext) -> Message:
        require_model(request.model_name, request.model_version)
        with self._model.admit():
            return await self._infer(request, record)

    async def _infer(self, request: Any, record: RequestContext) -> Message:
        parameters = _read_parameters(request.parameters)
        outputs = [
            tensors.read_output(output.name, _read_parameters(output.parameters))
            for output in request.outputs
        ]
        timeout_s = min(self._model.limits.timeout_s, tensors.read_timeout_s(parameters))
        deadline = record.started + timeout_s
        async with deadline_scope(deadline):
            inputs = await translate(_read_inputs, request, self._model)
        record.timings.parse_ms = 1000 * record.duration_s
        answer = await self._model.infer(inputs, outputs, deadline, record)
        return _render_answer(request.id, answer, self._model.weights)


METHODS = (
    "ServerLive",
    "ServerReady",
    "ModelReady",
    "ServerMetadata",
    "ModelMetadata",
    "ModelConfig",
    "RepositoryIndex",
    "ModelInfer",
)


def add_to_server(servicer: Any, server: grpc.Server) -> None:
    """Register the methods that are served; gRPC itself refuses others as UNIMPLEMENTED.

    Ray's proxy takes this function from `grpc_servicer_functions` and puts its own way to
    the Ingress in the place of `servicer`. Without a deserializer, it is given bytes.
    """
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(getattr(servicer, name)) for name in METHODS
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))


def is_local(peer: str) -> bool:
    """Whether a peer as gRPC names it (`ipv4:127.0.0.1:80`, `ipv6:[::1]:80`) is this machine."""
    family, _, address = unquote(peer).partition(":")
    if family == "unix":
        return True
    try:
        host = ipaddress.ip_address(address.rpartition(":")[0].strip("[]"))
    except ValueError:
        return False
    return (getattr(host, "ipv4_mapped", None) or host).is_loopback


def _message(form: Any, fields: Mapping[str, Any]) -> Message:
    """A message of some fields; `properties` of the metadata are for JSON only."""
    message: Message = ParseDict(fields, form(), ignore_unknown_fields=True)
    return message


def _read_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: getattr(value, choice)
        for name, value in parameters.items()
        if (choice := value.WhichOneof("parameter_choice"))
    }


def _read_inputs(request: Any, model: InferenceModel) -> list[Tensor]:
    """Translate the inputs. Raises MalformedRequest, NoImage or TooManyImages."""
    raw: Sequence[bytes] = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise MalformedRequest(f"{len(raw)} raw_input_contents for {len(request.inputs)} inputs")
    read: list[Tensor] = []
    for index, each in enumerate(request.inputs):
        tensors.refuse_shared_memory(_read_parameters(each.parameters))
        spec = model.expect(each.name, each.datatype, each.shape)
        if raw:
            read.append(tensors.from_raw(spec, each.shape, raw[index]))
        else:
            contents = getattr(each.contents, _CONTENTS[spec.datatype])
            read.append(tensors.from_list(spec, each.shape, contents))
    return read


def _render_answer(request_id: str, answer: Sequence[Tensor], weights: str) -> Message:
    response = service_pb2.ModelInferResponse(
        id=request_id, model_name=MODEL_NAME, model_version=MODEL_VERSION
    )
    response.parameters["weights"].string_param = weights
    for tensor in answer:
        response.outputs.add(
            name=tensor.spec.name, datatype=tensor.spec.datatype, shape=tensor.shape
        )
        response.raw_output_contents.append(tensors.to_raw(tensor))
    message: Message = response
    return message
