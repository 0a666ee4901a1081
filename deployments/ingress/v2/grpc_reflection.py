"""Server reflection v1: what clients such as grpcurl call first.

Ray registers `v1alpha` alone. gRPC renamed the package when it declared the protocol stable,
and left the messages as they were. So v1 is answered by the handler that Ray registers, and is
there if that one is: `grpc_options.enable_reflection: false` turns both off.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, text_format
from grpc_reflection.v1alpha import reflection_pb2

V1ALPHA = "grpc.reflection.v1alpha.ServerReflection"
V1 = "grpc.reflection.v1.ServerReflection"
METHOD = "ServerReflectionInfo"


@dataclass(frozen=True)
class _Call(grpc.HandlerCallDetails):  # type: ignore[misc] # gRPC has no types
    method: str
    invocation_metadata: tuple[tuple[str, str], ...] = ()


def add_reflection_v1(server: Any) -> None:
    """Register v1 with Ray's gRPC server, which calls it directly and not through the Ingress.

    server: `ray.serve._private.grpc_util.gRPCGenericServer`. Ray registers v1alpha after this.
    """

    async def answer(requests: Any, context: Any) -> AsyncIterator[Any]:
        handler = _find_v1alpha(server)
        if handler is None:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "server reflection is off")
        async for response in handler.stream_stream(requests, context):
            yield response

    _describe_v1()
    method = grpc.stream_stream_rpc_method_handler(
        answer,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    server.add_passthrough_service(V1)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(V1, {METHOD: method}),))


def _find_v1alpha(server: Any) -> Any:
    call = _Call(f"/{V1ALPHA}/{METHOD}")
    handlers = (each.service(call) for (each,) in server.generic_rpc_handlers)
    return next((handler for handler in handlers if handler is not None), None)


def _describe_v1() -> None:
    """Add v1's description, so that a client that asks what v1 is gets it as well.

    Raises TypeError if the same names are described otherwise already.
    """
    v1alpha = descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(v1alpha)
    text = text_format.MessageToString(v1alpha).replace("v1alpha", "v1")
    v1 = text_format.Parse(text, descriptor_pb2.FileDescriptorProto())
    descriptor_pool.Default().AddSerializedFile(v1.SerializeToString())
