"""What each method of the Open Inference Protocol does over gRPC.

Knows messages and the request context; nothing of Ray, keys, codes or logs.
"""

from typing import Any

from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from tritonclient.grpc import model_config_pb2, service_pb2

from deployments.common.errors import NotFound
from deployments.ingress.context import RequestContext
from deployments.ingress.images.pipeline import deadline_scope
from deployments.ingress.v2 import tensors
from deployments.ingress.v2.grpc_messages import (
    encode_response,
    message,
    read_inputs,
    read_parameters,
)
from deployments.ingress.v2.grpc_table import SERVICE
from deployments.ingress.v2.model import (
    EXTENSIONS,
    SERVER_NAME,
    SERVER_VERSION,
    InferenceModel,
    require_model,
    run_in_parser_thread,
)


class GrpcMethods:
    """One method for each RPC; raises ServiceError or DecodeError for what it cannot answer."""

    def __init__(self, model: InferenceModel) -> None:
        self._model = model

    async def server_live(self, _: Any, __: RequestContext) -> Message:
        return message(service_pb2.ServerLiveResponse, {"live": True})

    async def server_ready(self, _: Any, __: RequestContext) -> Message:
        return message(service_pb2.ServerReadyResponse, {"ready": self._model.is_ready})

    async def check_health(self, request: Any, _: RequestContext) -> Message:
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
