"""The gRPC side of the Open Inference Protocol, behind Ray Serve's own gRPC server.

Ray hands each call to the Ingress method of the call's name. Requests cross it as bytes: so
they are counted before they are parsed, and broken ones are rejected here.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import Message
from ray.serve.grpc_util import RayServegRPCContext

from deployments.common.errors import Forbidden, RequestTooLarge, ServiceError
from deployments.ingress.access_log import AccessLog, describe_request
from deployments.ingress.auth import ApiKeys, authorize
from deployments.ingress.context import OnRequestEnd, RequestContext
from deployments.ingress.v2.grpc_methods import GrpcMethods
from deployments.ingress.v2.grpc_reflection import add_reflection_v1
from deployments.ingress.v2.grpc_table import (
    CODES,
    HEALTH_SERVICE,
    RPCS,
    SERVICE,
    Rpc,
    to_service_error,
)
from deployments.ingress.v2.model import InferenceModel
from deployments.ingress.v2.peer import is_local, open_context

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
        self._methods = GrpcMethods(model)
        self._max_bytes = model.limits.max_request_bytes
        self._local_only = local_only
        self._access_log = access_log or AccessLog()
        self._keys = keys
        self._on_request_end = on_request_end

    async def ServerLive(self, request: bytes, grpc_context: RayServegRPCContext) -> Message:
        return await self._handle("ServerLive", self._methods.server_live, request, grpc_context)

    async def ServerReady(self, request: bytes, grpc_context: RayServegRPCContext) -> Message:
        return await self._handle("ServerReady", self._methods.server_ready, request, grpc_context)

    async def ModelReady(self, request: bytes, grpc_context: RayServegRPCContext) -> Message:
        return await self._handle("ModelReady", self._methods.model_ready, request, grpc_context)

    async def ServerMetadata(self, request: bytes, grpc_context: RayServegRPCContext) -> Message:
        return await self._handle(
            "ServerMetadata", self._methods.server_metadata, request, grpc_context
        )

    async def ModelMetadata(self, request: bytes, grpc_context: RayServegRPCContext) -> Message:
        return await self._handle(
            "ModelMetadata", self._methods.model_metadata, request, grpc_context
        )

    async def ModelConfig(self, request: bytes, grpc_context: RayServegRPCContext) -> Message:
        return await self._handle("ModelConfig", self._methods.model_config, request, grpc_context)

    async def RepositoryIndex(self, request: bytes, grpc_context: RayServegRPCContext) -> Message:
        return await self._handle(
            "RepositoryIndex", self._methods.repository_index, request, grpc_context
        )

    async def ModelInfer(self, request: bytes, grpc_context: RayServegRPCContext) -> Message:
        return await self._handle("ModelInfer", self._methods.model_infer, request, grpc_context)

    async def Check(self, request: bytes, grpc_context: RayServegRPCContext) -> Message:
        return await self._handle("Check", self._methods.check_health, request, grpc_context)

    async def _handle(
        self, name: str, handler: Handler, data: bytes, grpc_context: RayServegRPCContext
    ) -> Message:
        """Run one call; its errors become status codes.

        Nothing is raised to Ray, which would send the trace to the client.
        """
        rpc = RPCS[name]
        context = open_context(grpc_context, len(data))
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
        if len(data) > self._max_bytes:
            raise RequestTooLarge(f"the request is larger than {self._max_bytes} bytes")

    def _end(self, name: str, rpc: Rpc, context: RequestContext) -> None:
        self._access_log.write(describe_request("gRPC", name, context, rpc.probe))
        if self._on_request_end is not None and not rpc.probe:
            self._on_request_end(context)


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
    add_reflection_v1(server)
