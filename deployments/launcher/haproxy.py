"""HAProxy of the local Ray: its files and its ports."""

import os
import random
import socket
from pathlib import Path

PORTS_OF_REPLICAS = 100
"""More Ingress replicas than a machine has cores."""


def is_private() -> bool:
    """Whether the launcher starts a Ray of its own, and does not join one."""
    return os.environ.get("RAY_ADDRESS", "local") == "local"


def describe_paths(folder: Path) -> dict[str, str]:
    """For Ray."""
    return {
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "admin.sock"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "metrics.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
    }


def describe_ports() -> dict[str, str]:
    """Ports behind HAProxy, for Ray: of Ray's own proxy, and of the Ingress replicas.

    By default the replicas of two services take the same gRPC port: gRPC shares it between them,
    and a client of one service gets responses of the other.
    """
    ports = find_free_range(2 * PORTS_OF_REPLICAS + 2)
    proxy, http, grpc = ports[:2], ports[2 : 2 + PORTS_OF_REPLICAS], ports[-PORTS_OF_REPLICAS:]
    return {
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(proxy[0]),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(proxy[1]),
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(http[0]),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(http[-1]),
        "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": str(grpc[0]),
        "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": str(grpc[-1]),
    }


def find_free_range(count: int) -> range:
    """Ports below those that the system gives out by itself, at random, all free.

    Those it would give to other programs before Ray has taken them.
    """
    while True:
        start = random.randrange(10_240, 32_768 - count)  # noqa: S311, no secret
        ports = range(start, start + count)
        if all(map(_is_free, ports)):
            return ports


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET) as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
        return True
