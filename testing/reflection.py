"""A client of gRPC's server reflection, in both versions; their messages are the same."""

import grpc
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha.reflection_pb2 import (
    ServerReflectionRequest,
    ServerReflectionResponse,
)

VERSIONS = ("v1", "v1alpha")


def list_services(port: int, version: str) -> set[str]:
    """The services that a server on this machine names. Raises grpc.RpcError."""
    response = _reflect(port, version, ServerReflectionRequest(list_services=""))
    return {each.name for each in response.list_services_response.service}


def list_methods(port: int, version: str, service: str) -> set[str]:
    """The methods of a service by its description. Raises grpc.RpcError."""
    request = ServerReflectionRequest(file_containing_symbol=service)
    response = _reflect(port, version, request)
    files = map(
        FileDescriptorProto.FromString, response.file_descriptor_response.file_descriptor_proto
    )
    return {
        method.name
        for file in files
        for each in file.service
        if f"{file.package}.{each.name}" == service
        for method in each.method
    }


def _reflect(port: int, version: str, request: ServerReflectionRequest) -> ServerReflectionResponse:
    with grpc.insecure_channel(f"localhost:{port}") as channel:
        call = channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            ServerReflectionRequest.SerializeToString,
            ServerReflectionResponse.FromString,
        )
        (response,) = call(iter([request]), timeout=10)
    return response
