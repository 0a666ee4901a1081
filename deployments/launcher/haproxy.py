"""HAProxy of the local Ray: its files, and its end."""

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil


@contextmanager
def private_haproxy() -> Iterator[None]:
    """Give HAProxy a folder that no other user reads; at the end, end it and remove the folder.

    By default all services of a machine share one. Below it Ray makes a folder named by the
    node's id of 56 characters, and the path of a socket has at most 107: so it is in /tmp, as
    Ray's own is.
    """
    with tempfile.TemporaryDirectory(prefix="dn-", dir="/tmp", ignore_cleanup_errors=True) as name:
        os.environ |= {**describe_paths(Path(name)), **describe_ports()}
        try:
            yield
        finally:
            for process in find_haproxy(name):
                process.kill()


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
    """Of Ray's own proxy, to which HAProxy turns while there is no Ingress. For Ray."""
    with socket.socket() as http, socket.socket() as grpc:
        http.bind(("", 0))
        grpc.bind(("", 0))
        return {
            "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(http.getsockname()[1]),
            "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(grpc.getsockname()[1]),
        }


def find_haproxy(folder: str) -> list[psutil.Process]:
    """The processes that read their configuration there: one whose manager was killed, too."""
    found = psutil.process_iter(["cmdline"])
    return [
        process
        for process in found
        if any(each.startswith(f"{folder}/") for each in process.info["cmdline"] or ())
    ]
