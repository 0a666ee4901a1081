"""The life of the service: start, wait until ready, keep it until a signal, drain, end."""

import os
from contextlib import nullcontext

import psutil
import ray
from ray import serve
from ray.dashboard.modules.serve.sdk import ServeSubmissionClient

from deployments.launcher.announcement import announce
from deployments.launcher.config import Config
from deployments.launcher.drain import drain
from deployments.launcher.guard import end_session
from deployments.launcher.haproxy import is_private, private_haproxy
from deployments.launcher.ray_cluster import (
    RayOptions,
    check_ray,
    find_ray_core,
    replica_host,
    start_ray,
)
from deployments.launcher.readiness import wait_until_ready
from deployments.launcher.stop_signal import StopSignal
from deployments.launcher.supervision import Supervision

POLL_PERIOD_S = 0.25
INTERRUPTED = 130
"""The exit status that a shell expects after Ctrl-C."""


def launch(config: Config, options: RayOptions, stop: StopSignal) -> int:
    """Bring the service up, keep it until `stop`, take it down. Returns the exit status.

    Raises StartupError if it cannot come up, RayDied if Ray ends under it.
    """
    with private_haproxy() if is_private() else nullcontext():
        try:
            return run(config, options, stop)
        finally:
            stop.ignore()
            end_session(os.getpid())


def run(config: Config, options: RayOptions, stop: StopSignal) -> int:
    """A private Ray ends with the caller; one that was joined is left as it was found."""
    is_started = False
    try:
        with Supervision():
            with stop.interrupting():
                core = start(config, options, stop)
            is_started = True
            keep(core, stop)
        drain(config, stop)
    except KeyboardInterrupt:
        print("Stopped before the service was ready.", flush=True)
        return INTERRUPTED
    finally:
        if not is_private() and ray.is_initialized():
            if not is_started:
                drain(config, stop)
            ray.shutdown()
    print("Stopped.", flush=True)
    return 0


def start(config: Config, options: RayOptions, stop: StopSignal) -> list[psutil.Process]:
    """Returns the processes that a private Ray cannot do without. Raises StartupError."""
    started = start_ray(config, options)
    stop.check()
    print("Loading the model (longer the first time) ...", flush=True)
    deploy(config, started.dashboard)
    wait_until_ready(config, stop)
    announce(config, started)
    return find_ray_core()


def deploy(config: Config, dashboard: str) -> None:
    serve.start(
        proxy_location=config.schema.proxy_location,
        http_options={**config.schema.http_options.model_dump(), "host": replica_host(config)},
        grpc_options=config.schema.grpc_options.model_dump(),
        logging_config=config.schema.logging_config,
        tracing_config=config.schema.tracing_config,
    )
    ServeSubmissionClient(f"http://{dashboard}").deploy_applications(config.document)


def keep(core: list[psutil.Process], stop: StopSignal) -> None:
    """Until a signal. Raises RayDied."""
    while not stop.wait(POLL_PERIOD_S):
        check_ray(core)
