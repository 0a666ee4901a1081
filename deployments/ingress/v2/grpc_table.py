"""What is served over gRPC, and the one table from exceptions to its status codes."""

import logging
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2
from tritonclient.grpc import service_pb2

from deployments.common.errors import InternalError, MalformedRequest, ServiceError

SERVICE = "inference.GRPCInferenceService"
HEALTH_SERVICE = "grpc.health.v1.Health"
"""The standard health service: Kubernetes, Envoy and grpc_health_probe call it."""
CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    415: grpc.StatusCode.INVALID_ARGUMENT,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
"""By the status the same error has over HTTP; INTERNAL for any other."""

logger = logging.getLogger("ray.serve")


@dataclass(frozen=True)
class Rpc:
    """public: needs no key, as `/v2/health/...` needs none over HTTP. probe: not logged."""

    request: Any
    response: Any
    public: bool = False
    probe: bool = False
    service: str = SERVICE


RPCS = {
    "ServerLive": Rpc(
        service_pb2.ServerLiveRequest, service_pb2.ServerLiveResponse, public=True, probe=True
    ),
    "ServerReady": Rpc(
        service_pb2.ServerReadyRequest, service_pb2.ServerReadyResponse, public=True, probe=True
    ),
    "ModelReady": Rpc(service_pb2.ModelReadyRequest, service_pb2.ModelReadyResponse, probe=True),
    "ServerMetadata": Rpc(service_pb2.ServerMetadataRequest, service_pb2.ServerMetadataResponse),
    "ModelMetadata": Rpc(service_pb2.ModelMetadataRequest, service_pb2.ModelMetadataResponse),
    "ModelConfig": Rpc(service_pb2.ModelConfigRequest, service_pb2.ModelConfigResponse),
    "RepositoryIndex": Rpc(service_pb2.RepositoryIndexRequest, service_pb2.RepositoryIndexResponse),
    "ModelInfer": Rpc(service_pb2.ModelInferRequest, service_pb2.ModelInferResponse),
    "Check": Rpc(
        health_pb2.HealthCheckRequest,
        health_pb2.HealthCheckResponse,
        public=True,
        probe=True,
        service=HEALTH_SERVICE,
    ),
}


def to_service_error(error: Exception) -> ServiceError:
    match error:
        case ServiceError():
            return error
        case DecodeError():
            return MalformedRequest("the message is broken")
        case _:
            logger.error("unexpected error", exc_info=error)
            return InternalError("something went wrong on our side")
