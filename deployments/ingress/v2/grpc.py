"""The gRPC side of the Open Inference Protocol, behind Ray Serve's own gRPC server.

Ray hands each call to the Ingress method of the call's name. Requests cross it as bytes: so
they are counted before they are parsed, and broken ones are rejected here.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from ray.serve.grpc_util import RayServegRPCContext
from tritonclient.grpc import model_config_pb2, service_pb2

from deployments.common.errors import Forbidden, NotFound, RequestTooLarge, ServiceError
from deployments.ingress.access_log import AccessLog, describe_request
from deployments.ingress.auth import ApiKeys, authorize
from deployments.ingress.context import OnRequestEnd, RequestContext
from deployments.ingress.images.pipeline import deadline_scope
from deployments.ingress.v2 import tensors
from deployments.ingress.v2.grpc_messages import (
    encode_response,
    message,
    read_inputs,
    read_parameters,
)
from deployments.ingress.v2.grpc_table import (
    CODES,
    HEALTH_SERVICE,
    RPCS,
    SERVICE,
    Rpc,
    to_service_error,
)
from deployments.ingress.v2.model import (
    EXTENSIONS,
    SERVER_NAME,
    SERVER_VERSION,
    InferenceModel,
    require_model,
    run_in_parser_thread,
)
from deployments.ingress.v2.peer import is_local

Handler = Callable[[Any, RequestContext], Awaitable[Message]]


class InferenceServicer:
    """The methods of `inference.GRPCInferenceService`, for a deployment to inherit.

    Ray finds a method by its name, and `grpc_context` by the name of the parameter.
    local_only: Ray opens the replica's own gRPC port on all interfaces, whatever the host of
        `http_options` is. So a service without keys has to look at the peer.
    """

    def __init__(
        self,
        model: InferenceModel,
        keys: ApiKeys | None = None,
        access_log: AccessLog | None = None,
        on_request_end: OnRequestEnd | None = None,
        local_only: bool = False,
    ) -> None:
        self._model = model
        self._local_only = local_only
        self._access_log = access_log or AccessLog()
        self._keys = keys
        self._on_request_end = on_request_end

    async def ServerLive(self, request: bytes, grpc_context: RayServegRPCContext) -> Message:
        return await self._handle("ServerLive", self.server_live, request, grpc_context)

    async def ServerReady(self, request: bytes, grpc_context: RayServegRPCContext) -> Message:
        return await self._handle("ServerReady", self.server_ready, request, grpc_context)

    async def ModelReady(self, request: bytes, grpc_context: RayServegRPCContext) -> Message:
        return await self._handle("ModelReady", self.model_ready, request, grpc_context)

    async def ServerMetadata(self, request: bytes, grpc_context: RayServegRPCContext) -> Message:
        return await self._handle("ServerMetadata", self.server_metadata, request, grpc_context)

    async def ModelMetadata(self, request: bytes, grpc_context: RayServegRPCContext) -> Message:
        return await self._handle("ModelMetadata", self.model_metadata, request, grpc_context)

    async def ModelConfig(self, request: bytes, grpc_context: RayServegRPCContext) -> Message:
        return await self._handle("ModelConfig", self.model_config, request, grpc_context)

    async def RepositoryIndex(self, request: bytes, grpc_context: RayServegRPCContext) -> Message:
        return await self._handle("RepositoryIndex", self.repository_index, request, grpc_context)

    async def ModelInfer(self, request: bytes, grpc_context: RayServegRPCContext) -> Message:
        return await self._handle("ModelInfer", self.model_infer, request, grpc_context)

    async def Check(self, request: bytes, grpc_context: RayServegRPCContext) -> Message:
        return await self._handle("Check", self.check_health_service, request, grpc_context)

    async def _handle(
        self, name: str, handler: Handler, data: bytes, grpc_context: RayServegRPCContext
    ) -> Message:
        """Run one call; its errors become status codes.

        Nothing is raised to Ray, which would send the trace to the client.
        """
        rpc = RPCS[name]
        context = RequestContext(
            # Ray puts the id there: the client's own, or a new one.
            request_id=dict(grpc_context.trailing_metadata()).get("request_id", ""),
            client_address=grpc_context.peer(),
            received_bytes=len(data),
        )
        try:
            self._authorize(rpc, data, context, grpc_context)
            response = await handler(rpc.request.FromString(data), context)
        except Exception as error:  # noqa: BLE001, the table of errors has every one
            response = rpc.response()
            _set_error(to_service_error(error), context, grpc_context)
        else:
            context.status = grpc.StatusCode.OK.name
        finally:
            self._end(name, rpc, context)
        return response

    def _authorize(
        self, rpc: Rpc, data: bytes, context: RequestContext, grpc_context: RayServegRPCContext
    ) -> None:
        """Raises Forbidden, Unauthorized or RequestTooLarge, before the message is parsed."""
        if self._local_only and not is_local(grpc_context.peer()):
            raise Forbidden("without API keys, gRPC is for clients on the server's own machine")
        metadata = dict(grpc_context.invocation_metadata()) if self._keys is not None else {}
        context.client = authorize(self._keys, metadata, rpc.public)
        max_bytes = self._model.limits.max_request_bytes
        if len(data) > max_bytes:
            raise RequestTooLarge(f"the request is larger than {max_bytes} bytes")

    def _end(self, name: str, rpc: Rpc, context: RequestContext) -> None:
        self._access_log.write(describe_request("gRPC", name, context, rpc.probe))
        if self._on_request_end is not None and not rpc.probe:
            self._on_request_end(context)

    async def server_live(self, _: Any, __: RequestContext) -> Message:
        return message(service_pb2.ServerLiveResponse, {"live": True})

    async def server_ready(self, _: Any, __: RequestContext) -> Message:
        return message(service_pb2.ServerReadyResponse, {"ready": self._model.is_ready})

    async def check_health_service(self, request: Any, _: RequestContext) -> Message:
        """The whole server (an empty name) and the inference service are ready together."""
        if request.service not in ("", SERVICE):
            raise NotFound(f"there is no service {request.service!r:.80}")
        status = health_pb2.HealthCheckResponse
        is_ready = self._model.is_ready
        response: Message = status(status=status.SERVING if is_ready else status.NOT_SERVING)
        return response

    async def model_ready(self, request: Any, _: RequestContext) -> Message:
        require_model(request.name, request.version)
        return message(service_pb2.ModelReadyResponse, {"ready": self._model.is_ready})

    async def server_metadata(self, _: Any, __: RequestContext) -> Message:
        return message(
            service_pb2.ServerMetadataResponse,
            {"name": SERVER_NAME, "version": SERVER_VERSION, "extensions": EXTENSIONS},
        )

    async def model_metadata(self, request: Any, _: RequestContext) -> Message:
        require_model(request.name, request.version)
        return message(service_pb2.ModelMetadataResponse, self._model.describe())

    async def model_config(self, request: Any, _: RequestContext) -> Message:
        require_model(request.name, request.version)
        config = message(model_config_pb2.ModelConfig, self._model.describe_config())
        response: Message = service_pb2.ModelConfigResponse(config=config)
        return response

    async def repository_index(self, request: Any, _: RequestContext) -> Message:
        models = self._model.list_repository(request.ready)
        return message(service_pb2.RepositoryIndexResponse, {"models": models})

    async def model_infer(self, request: Any, context: RequestContext) -> Message:
        require_model(request.model_name, request.model_version)
        with self._model.admit():
            return await self._infer(request, context)

    async def _infer(self, request: Any, context: RequestContext) -> Message:
        parameters = read_parameters(request.parameters)
        outputs = [
            tensors.read_output(output.name, read_parameters(output.parameters))
            for output in request.outputs
        ]
        timeout_s = min(self._model.limits.timeout_s, tensors.read_timeout_s(parameters))
        deadline = context.started + timeout_s
        async with deadline_scope(deadline):
            inputs = await run_in_parser_thread(read_inputs, request, self._model)
        context.timings.parse_ms = 1000 * context.duration_s
        outputs_sent = await self._model.infer(inputs, outputs, deadline, context)
        return encode_response(request.id, outputs_sent, self._model.weights)


def _set_error(
    error: ServiceError, context: RequestContext, grpc_context: RayServegRPCContext
) -> None:
    code = CODES.get(error.status, grpc.StatusCode.INTERNAL)
    context.error_code, context.status = error.code, code.name
    grpc_context.set_code(code)
    grpc_context.set_details(error.message)


def add_to_server(servicer: Any, server: grpc.Server) -> None:
    """Register the methods that are served; gRPC itself answers others as UNIMPLEMENTED.

    Ray takes this function from `grpc_servicer_functions` and puts its own way to the Ingress
    in the place of `servicer`. Without a deserializer, it is given bytes.
    """
    for service in (SERVICE, HEALTH_SERVICE):
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(getattr(servicer, name))
            for name, rpc in RPCS.items()
            if rpc.service == service
        }
        generic = grpc.method_handlers_generic_handler(service, handlers)
        server.add_generic_rpc_handlers((generic,))
