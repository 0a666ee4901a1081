"""HAProxy as this service runs it, before Ingresses that are not there: no Ray."""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ray.serve._private.common import RequestProtocol
from ray.serve._private.haproxy import BackendConfig, HAProxyApi, HAProxyConfig, ServerConfig
from ray.serve.config import HTTPOptions, gRPCOptions

from deployments.haproxy.__main__ import ask_pid
from testing.ports import find_free_port
from testing.service import ROOT

PROGRAM = ROOT / "deployments/haproxy/haproxy.sh"
READY_WITHIN_S = 30.0
APP = "densenet"


def write_config(folder: Path, servers: list[int], port: int, *, grpc_port: int = 0) -> Path:
    """What Ray's own code writes; with no servers, as before anything is deployed."""

    async def write() -> None:
        options: dict[str, Any] = {}
        if grpc_port:
            function = "deployments.ingress.v2.grpc:add_to_server"
            grpc_options = gRPCOptions(port=grpc_port, grpc_servicer_functions=[function])
            options["grpc_options"] = grpc_options
        config = HAProxyConfig(
            http_options=HTTPOptions(host="127.0.0.1", port=port),
            socket_path=str(folder / "admin.sock"),
            server_state_base=str(folder),
            server_state_file=str(folder / "server-state"),
            metrics_enabled=False,
            timeout_server_s=5,
            is_head=True,
            **options,
        )
        api = HAProxyApi(config, config_file_path=str(path))
        if servers:
            api.set_backend_configs(describe_backends(servers, has_grpc=bool(grpc_port)))
        api._generate_config_file_internal()

    path = folder / "haproxy.cfg"
    asyncio.run(write())
    return path


def describe_backends(servers: list[int], *, has_grpc: bool) -> dict[str, BackendConfig]:
    protocols = [RequestProtocol.HTTP, *([RequestProtocol.GRPC] if has_grpc else [])]
    return {
        f"{protocol.value}-{APP}": BackendConfig(
            name=f"{protocol.value}-{APP}",
            path_prefix="/",
            app_name=APP,
            protocol=protocol,
            servers=[ServerConfig(f"ingress-{port}", "127.0.0.1", port) for port in servers],
        )
        for protocol in protocols
    }


@contextlib.contextmanager
def running_haproxy(folder: Path, *servers: int) -> Iterator[int]:
    """HAProxy before those ports; gives its own."""
    port = find_free_port()
    config = write_config(folder, list(servers), port)
    process = start_haproxy(config)
    try:
        yield port
    finally:
        process.kill()
        process.wait()


def start_haproxy(config: Path, max_files: int | None = None) -> subprocess.Popen[bytes]:
    """As Ray's manager does; returns when it answers. It may open `max_files`."""
    environment = os.environ | {"DENSENET_PYTHON": sys.executable}
    with (config.parent / "stderr.log").open("wb") as log:
        arguments = [str(PROGRAM), "-db", "-f", str(config), "-dR"]
        if max_files is not None:
            arguments = ["prlimit", f"--nofile={max_files}:{max_files}", *arguments]
        process = subprocess.Popen(arguments, env=environment, stderr=log)
    give_up = time.monotonic() + READY_WITHIN_S
    while ask_pid(str(config.parent / "admin.sock")) != str(process.pid):
        assert process.poll() is None, (config.parent / "stderr.log").read_text()
        assert time.monotonic() < give_up
        time.sleep(0.05)
    return process
