"""The life of the service: start, wait until ready, keep it until a signal, drain, end."""

from collections.abc import Set
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.serve._private.api import _create_controller_and_proxy_refs
from ray.serve._private.constants import HTTP_PROXY_TIMEOUT
from ray.serve.config import ControllerOptions
from ray.serve.context import _get_global_client

from deployments.common.errors import RayDied, StartupError
from deployments.launcher.announcement import announce
from deployments.launcher.config import Config
from deployments.launcher.dashboard import open_dashboard
from deployments.launcher.drain import drain, find_running
from deployments.launcher.guard import take_signals
from deployments.launcher.haproxy import is_private
from deployments.launcher.ray_cluster import (
    RayOptions,
    StartedRay,
    replica_host,
    start_ray,
)
from deployments.launcher.ray_watch import RayWatch
from deployments.launcher.readiness import wait_until_ready
from deployments.launcher.stop_signal import StopSignal
from deployments.launcher.supervision import Supervision, read_deployments

POLL_PERIOD_S = 1.0
LOGS = "Ray's logs are in /tmp/ray/session_latest/logs/serve."


def launch(config: Config, options: RayOptions) -> None:
    """Bring the service up, keep it until SIGINT or SIGTERM, take it down.

    A private Ray ends with the launcher; one that was joined is left without the applications.
    Raises StartupError if the service cannot come up, RayDied if Ray ends under it.
    """
    stop = StopSignal()
    started = start_ray(config, options)
    watch = RayWatch()
    replaced = find_running()
    kept: Set[str] = frozenset()
    has_died = False
    try:
        run(config, started, watch, stop, replaced)
    except StartupError:
        kept = replaced  # Ray keeps the former version if the new one fails
        raise
    except RayDied:
        has_died = True
        raise
    finally:
        if not is_private() and not has_died:
            drain(config, stop, kept)
            ray.shutdown()
    print("Stopped.", flush=True)


def run(
    config: Config,
    started: StartedRay,
    watch: RayWatch,
    stop: StopSignal,
    replaced: Set[str],
) -> None:
    """replaced: names of applications that serve already."""
    stop.catch()
    if not is_private():
        take_signals()  # what is deployed there does not end with the launcher
    print("Loading the model (longer the first time) ...", flush=True)
    with Supervision() as supervision:
        deploy(config)
        if not wait_until_ready(config, stop, replaced):
            return
        take_signals()
        supervision.begin(read_deployments(), config.proxy_url)
        announce(config, started, open_dashboard())
        while not stop.wait(POLL_PERIOD_S):
            watch.check()
    if is_private():
        drain(config, stop)


def deploy(config: Config) -> None:
    """As `serve deploy` does; HAProxy and the application start side by side."""
    client = _get_global_client(raise_if_no_controller_running=False)
    controller, proxies_ready = (client._controller, []) if client else start_serve(config)
    ray.get(controller.apply_config.remote(config.schema))
    try:
        ray.get(proxies_ready, timeout=HTTP_PROXY_TIMEOUT)
    except GetTimeoutError as error:
        raise StartupError(
            f"HAProxy did not start within {HTTP_PROXY_TIMEOUT} s. Try again; {LOGS}"
        ) from error
    except RayError as error:  # its text is a trace of the process that failed
        *_, reason = str(error).strip().splitlines()
        raise StartupError(
            f"Ray's proxies did not start ({reason}). If another program took a port, try again; "
            f"{LOGS}"
        ) from error


def start_serve(config: Config) -> tuple[Any, list[Any]]:
    """Returns Serve's controller, and what is there once its proxies are ready."""
    schema = config.schema
    return _create_controller_and_proxy_refs(
        http_options={**schema.http_options.model_dump(), "host": replica_host(config)},
        grpc_options=schema.grpc_options.model_dump(),
        global_logging_config=schema.logging_config,
        global_tracing_config=schema.tracing_config,
        controller_options=ControllerOptions(),
        proxy_location=schema.proxy_location,
    )
