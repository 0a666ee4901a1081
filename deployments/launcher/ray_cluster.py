"""Ray itself: ports, start or join, supervise, end."""

import argparse
import math
import os
import socket
import time
from dataclasses import dataclass
from typing import Any, Self

import psutil
import ray
from ray._private import ray_constants

from deployments.common.errors import RayDied, StartupError
from deployments.common.runtime_env import prepare_environment
from deployments.launcher.config import Config

LOCALHOST = "127.0.0.1"
EXIT_WITHIN_S = 1.0
"""How long Ray's processes may take to end when they are told to, before they are killed."""

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

    def as_arguments(self) -> dict[str, Any]:
        """For `ray.init`."""
        return {
            "_node_ip_address": self.node_ip,
            "_metrics_export_port": self.metrics_port,
            "dashboard_host": self.dashboard_host,
        }


def check_ports(config: Config, ray_options: RayOptions) -> None:
    http = config.schema.http_options
    check_port(http.host, http.port, "http_options.port")
    if config.serves_grpc:
        check_port(http.host, config.schema.grpc_options.port, "grpc_options.port")
    if "RAY_ADDRESS" not in os.environ:
        check_port(ray_options.node_ip or "", ray_options.metrics_port, "--metrics-port")


def check_port(host: str, port: int, option: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise StartupError(
                f"port {port} of {host} is not free ({error.strerror}). Stop what uses it, "
                f"or set another '{option}'."
            ) from error


def start_ray(config: Config, ray_options: RayOptions) -> str:
    """Start a local Ray, or join RAY_ADDRESS. Returns the dashboard's host and port."""
    prepare_environment()
    os.environ.setdefault("RAY_SERVE_GRPC_MAX_MESSAGE_SIZE", str(config.max_message_bytes))
    if (timeout_s := config.schema.http_options.request_timeout_s) is not None:
        server_timeout_s = math.ceil(timeout_s) + SERVER_MARGIN_S
        os.environ.setdefault("RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S", str(server_timeout_s))
    address = os.environ.get("RAY_ADDRESS", "local")
    options = ray_options.as_arguments() if address == "local" else {}
    if options.get("_node_ip_address") == LOCALHOST:
        stay_on_localhost()
        bind_haproxy(config.schema.http_options.host)
    try:
        context = ray.init(address=address, namespace="serve", log_to_driver=True, **options)
    except ConnectionError as error:
        raise StartupError(f"there is no Ray to join at RAY_ADDRESS={address}") from error
    return str(context.dashboard_url)


def bind_haproxy(host: str) -> None:
    """Let HAProxy alone listen on `host`; it finds the Ingress replicas on 127.0.0.1."""
    os.environ[BIND_HOST] = host


def replica_host(config: Config) -> str:
    """Where Ingress replicas listen."""
    return LOCALHOST if BIND_HOST in os.environ else config.schema.http_options.host


def find_ray_core() -> list[psutil.Process]:
    """The processes that a local Ray cannot do without; empty if the launcher joined a Ray."""
    children = psutil.Process().children()
    return [child for child in children if child.name() in ("gcs_server", "raylet")]


def check_ray(core: list[psutil.Process]) -> None:
    """Raises RayDied."""
    if not all(map(is_alive, core)):
        raise RayDied("a process that Ray cannot do without has ended; see its logs")


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def stay_on_localhost() -> None:
    """Ray takes 127.0.0.1 for a wish to be told the machine's own address, but for this switch,
    which is for systems whose firewalls ask about every port."""
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"
    ray_constants.ENABLE_RAY_CLUSTER = False


def end_ray() -> None:
    """Leave Ray; a local one ends with every process of it, whatever state they are in."""
    processes = psutil.Process().children(recursive=True)
    ray.shutdown()
    give_up = time.monotonic() + EXIT_WITHIN_S
    while left := list(filter(is_alive, processes)):
        if time.monotonic() > give_up:
            break
        time.sleep(0.05)
    for process in left:
        process.kill()
