"""Who calls over gRPC."""

import ipaddress
from urllib.parse import unquote

from ray.serve.grpc_util import RayServegRPCContext

from deployments.common import tracing
from deployments.ingress.context import MAX_USER_AGENT_CHARS, RequestContext, describe_address


def open_context(grpc_context: RayServegRPCContext, received_bytes: int) -> RequestContext:
    """What is known of a call before its message is parsed."""
    metadata = grpc_context.invocation_metadata()
    forwarded_for = [value for key, value in metadata if key == "x-forwarded-for"]
    return RequestContext(
        # Ray puts the id there: the client's own, or a new one.
        request_id=dict(grpc_context.trailing_metadata()).get("request_id", ""),
        client_address=describe_address(forwarded_for, grpc_context.peer()),
        user_agent=dict(metadata).get("user-agent", "")[:MAX_USER_AGENT_CHARS],
        trace_id=tracing.current_trace_id(),
        received_bytes=received_bytes,
    )


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
