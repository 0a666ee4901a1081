"""The ports of this machine that a configuration names."""

import socket

from deployments.common.errors import StartupError
from deployments.launcher.config import Config


def check_ports(config: Config) -> None:
    """Raises StartupError for a port that something else listens at."""
    http, grpc = config.schema.http_options, config.schema.grpc_options
    check_port(http.host, http.port, "port with 'make serve PORT=...' or 'http_options.port'")
    if config.serves_grpc:
        check_port(http.host, grpc.port, "'grpc_options.port'")


def check_port(host: str, port: int, option: str) -> None:
    error = try_port(host, port)
    if error is not None:
        raise StartupError(
            f"port {port} of {host} is not free ({error.strerror}). Stop what uses it, "
            f"or set another {option}."
        ) from error


def is_free(host: str, port: int) -> bool:
    return try_port(host, port) is None


def try_port(host: str, port: int) -> OSError | None:
    """What keeps a server from listening there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error
    return None
