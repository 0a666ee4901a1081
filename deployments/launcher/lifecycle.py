"""The life of the service: start, wait until ready, keep it until a signal, drain, end."""

import psutil
import ray
from ray import serve
from ray.dashboard.modules.serve.sdk import ServeSubmissionClient

from deployments.launcher.announcement import announce
from deployments.launcher.config import Config
from deployments.launcher.drain import drain
from deployments.launcher.guard import take_signals
from deployments.launcher.haproxy import is_private
from deployments.launcher.ray_cluster import (
    RayOptions,
    StartedRay,
    check_ray,
    find_ray_core,
    replica_host,
    start_ray,
)
from deployments.launcher.readiness import wait_until_ready
from deployments.launcher.stop_signal import StopSignal
from deployments.launcher.supervision import Supervision

POLL_PERIOD_S = 0.25


def launch(config: Config, options: RayOptions) -> None:
    """Bring the service up, keep it until SIGINT or SIGTERM, take it down.

    A private Ray ends with the launcher; one that was joined is left without the applications.
    Raises StartupError if the service cannot come up, RayDied if Ray ends under it.
    """
    stop = StopSignal()
    started = start_ray(config, options)
    core = find_ray_core()
    try:
        run(config, started, core, stop)
    finally:
        if not is_private():
            drain(config, stop)
            ray.shutdown()
    print("Stopped.", flush=True)


def run(config: Config, started: StartedRay, core: list[psutil.Process], stop: StopSignal) -> None:
    stop.catch()
    if not is_private():
        take_signals()  # what is deployed there does not end with the launcher
    print("Loading the model (longer the first time) ...", flush=True)
    with Supervision():
        deploy(config, started.dashboard)
        if not wait_until_ready(config, stop):
            return
        take_signals()
        announce(config, started)
        while not stop.wait(POLL_PERIOD_S):
            check_ray(core)
    if is_private():
        drain(config, stop)


def deploy(config: Config, dashboard: str) -> None:
    serve.start(
        proxy_location=config.schema.proxy_location,
        http_options={**config.schema.http_options.model_dump(), "host": replica_host(config)},
        grpc_options=config.schema.grpc_options.model_dump(),
        logging_config=config.schema.logging_config,
        tracing_config=config.schema.tracing_config,
    )
    ServeSubmissionClient(f"http://{dashboard}").deploy_applications(config.document)
