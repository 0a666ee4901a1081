"""Ray itself: ports, start or join."""

import argparse
import logging
import math
import os
import socket
from dataclasses import dataclass
from typing import Any, Self

import ray
from ray._private import ray_constants, worker
from ray._private.authentication import authentication_token_setup

from deployments.common.errors import StartupError
from deployments.common.runtime_env import prepare_environment
from deployments.launcher.config import Config
from deployments.launcher.haproxy import describe_ports, is_private
from deployments.launcher.local_node import LOCALHOST, PRELOADED, starting_side_by_side
from deployments.launcher.ports import is_free
from deployments.launcher.ray_watch import connect

BIND_HOST = "DENSENET_BIND_HOST"
"""For `deployments.haproxy`: the address of its frontends."""

SERVER_MARGIN_S = 5
"""HAProxy waits for an Ingress so much longer than the Ingress for itself: for one that hangs."""


@dataclass(frozen=True)
class RayOptions:
    """Options of the local Ray; a Ray that the launcher joins has its own.

    node_ip: None for what Ray finds, which opens its ports on all interfaces.
    """

    node_ip: str | None
    metrics_port: int
    dashboard_host: str

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Self:
        node_ip = None if arguments.node_ip == "auto" else arguments.node_ip
        return cls(node_ip, arguments.metrics_port, arguments.dashboard_host)


@dataclass(frozen=True)
class StartedRay:
    """Where a Ray is: its GCS, its metrics (None if it was joined), its logs."""

    address: str
    metrics: str | None
    session_dir: str


def start_ray(config: Config, options: RayOptions) -> StartedRay:
    """Start a local Ray, or join RAY_ADDRESS. Raises StartupError."""
    prepare_environment()
    os.environ.setdefault("RAY_SERVE_GRPC_MAX_MESSAGE_SIZE", str(config.max_message_bytes))
    if (timeout_s := config.schema.http_options.request_timeout_s) is not None:
        server_timeout_s = math.ceil(timeout_s) + SERVER_MARGIN_S
        os.environ.setdefault("RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S", str(server_timeout_s))
    return start_private_ray(config, options) if is_private() else join_ray()


def start_private_ray(config: Config, options: RayOptions) -> StartedRay:
    if options.node_ip == LOCALHOST:
        stay_on_localhost()
        bind_haproxy(config.schema.http_options.host)
    print("Starting Ray (about 5 s) ...", flush=True)
    metrics_port = choose_metrics_port(options)
    os.environ |= describe_ports() | {"RAY_preload_python_modules": PRELOADED}
    try:
        found = start_local_ray(options, metrics_port)
    except Exception as error:  # of no narrower class if the raylet takes more than 30 s
        raise StartupError(
            f"Ray did not start: {error} A machine that is busy may need another try; Ray's logs "
            "are in /tmp/ray/session_latest/logs."
        ) from error
    host = found["node_ip_address"]
    return describe_ray(found, f"{host}:{metrics_port}")


def start_local_ray(options: RayOptions, metrics_port: int) -> dict[str, Any]:
    with starting_side_by_side():
        return init_ray(
            address="local",
            _node_ip_address=options.node_ip,
            _metrics_export_port=metrics_port,
            dashboard_host=options.dashboard_host,
        )


def join_ray() -> StartedRay:
    address = os.environ["RAY_ADDRESS"]
    print(f"Joining the Ray at {address} ...", flush=True)
    try:
        connect(address)  # Ray itself tries for a minute, and prints each try
        return describe_ray(init_ray(address=address), None)
    except (OSError, ValueError) as error:  # ConnectionError is Ray's own
        raise StartupError(
            f"there is no Ray at RAY_ADDRESS={address}. Start one there, or unset RAY_ADDRESS. "
            "If it requires a token, set RAY_AUTH_MODE=token."
        ) from error


def init_ray(**options: Any) -> dict[str, Any]:
    """Ray's own words stay in its logs: of what they say, the launcher says what a user needs."""
    calm_logs()
    context: Any = ray.init(
        namespace="serve", log_to_driver=False, logging_level=logging.WARNING, **options
    )
    return dict(context.address_info)


def describe_ray(found: dict[str, Any], metrics: str | None) -> StartedRay:
    return StartedRay(found["gcs_address"], metrics, found["session_dir"])


def calm_logs() -> None:
    """Warnings of Ray in this process, but for its advice to go without tokens.

    Ray prints errors of its workers whatever `log_to_driver` says: a line of a kilobyte for each
    process that dies. They are in its logs as well, and `Supervision` tells of lost replicas.
    """
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    authentication_token_setup.logger.setLevel(logging.ERROR)
    worker.print_to_stdstream = lambda *_, **__: None


def choose_metrics_port(options: RayOptions) -> int:
    """The one that is wanted, else a free one."""
    host, wanted = options.node_ip or "", options.metrics_port
    if wanted and is_free(host, wanted):
        return wanted
    with socket.socket() as probe:
        probe.bind((host, 0))
        free: int = probe.getsockname()[1]
    if wanted:
        print(f"The metrics port {wanted} is in use: metrics are at port {free}.", flush=True)
    return free


def bind_haproxy(host: str) -> None:
    """Let HAProxy alone listen on `host`; it finds the Ingress replicas on 127.0.0.1."""
    os.environ[BIND_HOST] = host


def replica_host(config: Config) -> str:
    """Where Ingress replicas listen."""
    return LOCALHOST if BIND_HOST in os.environ else config.schema.http_options.host


def stay_on_localhost() -> None:
    """Ray takes 127.0.0.1 for a wish to be told the machine's own address, but for this switch,
    which is for systems whose firewalls ask about every port."""
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"
    ray_constants.ENABLE_RAY_CLUSTER = False
