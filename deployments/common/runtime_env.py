"""The environment that this service wants of Ray's processes, on every node it runs on.

Proxies, controllers and replicas are started by Ray, and inherit it from their node.
`export $(python -m deployments.common.runtime_env)` sets it for `ray start`.
"""

import os
from collections.abc import Mapping
from pathlib import Path

_SOURCE = str(Path(__file__).parents[2])
VARIABLES: Mapping[str, str] = {
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "deployments.ingress.http.edge:middlewares",
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
    # Messages go straight from replica to replica; pixels would go by way of the object store,
    # which was seen to cost more CPU. Ray's limit of 4 MiB a message is six images.
    "RAY_SERVE_USE_GRPC_BY_DEFAULT": "1",
    "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": str(2**31 - 1),
    # glibc gives each thread that decodes an arena of its own, and what is freed in them stays
    # there: over 10,000 requests an ingress was seen to grow by 6 %, with two arenas by 1.5 %.
    "MALLOC_ARENA_MAX": "2",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def prepare_environment() -> None:
    """Set them for what this process starts; what is set already is somebody's choice."""
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)
    path = filter(None, [_SOURCE, os.environ.get("PYTHONPATH")])
    os.environ["PYTHONPATH"] = os.pathsep.join(path)


if __name__ == "__main__":
    for name, value in VARIABLES.items():
        print(f"{name}={value}")
