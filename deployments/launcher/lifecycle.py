"""Deploy, wait until ready, keep it until a signal, drain."""

import signal
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import requests
from ray import serve
from ray.dashboard.modules.serve.sdk import ServeSubmissionClient
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.schema import ApplicationStatus, ApplicationStatusOverview

from deployments.common.errors import StartupError
from deployments.launcher.config import Config
from deployments.launcher.haproxy import private_haproxy
from deployments.launcher.ray_cluster import (
    RayOptions,
    check_ports,
    check_ray,
    end_ray,
    find_ray_core,
    is_alive,
    replica_host,
    start_ray,
)
from deployments.model.cache import recall_failure
from deployments.model.spec import SPEC
from deployments.model.weights import explain_stand_in

POLL_PERIOD_S = 0.25
STOP_MARGIN_S = 10.0
"""What Ray may take to stop the replicas, over the time in which they drain."""
ANSWER_WITHIN_S = 5.0


class StopSignal:
    """Set by SIGINT and SIGTERM."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.catch()

    def catch(self) -> None:
        """Take the signals over; again after `ray.init`, which puts its own handlers there."""
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGTERM, self._on_signal)

    def _on_signal(self, _: int, __: FrameType | None) -> None:
        self._event.set()

    def wait(self, timeout_s: float) -> bool:
        return self._event.wait(timeout_s)

    @contextmanager
    def interrupting(self, timeout_s: float) -> Iterator[None]:
        """Break off what is inside when another signal comes, and after `timeout_s`.

        Raises KeyboardInterrupt, the only exception that Ray lets out of a wait of its own.
        """
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
            signal.signal(number, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, timeout_s)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self.catch()


def launch(config: Config, ray_options: RayOptions, stop: StopSignal) -> None:
    """Bring the service up, keep it until `stop`, take it down.

    Raises StartupError where it cannot come up, RayDied where Ray ends under it.
    """
    check_ports(config, ray_options)
    with private_haproxy():
        run(config, ray_options, stop)


def run(config: Config, ray_options: RayOptions, stop: StopSignal) -> None:
    print("Starting Ray ...", flush=True)
    dashboard = start_ray(config, ray_options)
    core = find_ray_core()
    stop.catch()
    try:
        print("Loading the model ...", flush=True)
        deploy(config, dashboard)
        if wait_until_ready(config, stop):
            announce(config, dashboard)
            while not stop.wait(POLL_PERIOD_S):
                check_ray(core)
        print("Stopping: requests in flight are finished first.", flush=True)
    finally:
        if all(map(is_alive, core)):
            drain(config, stop)
        end_ray()


def deploy(config: Config, dashboard: str) -> None:
    serve.start(
        proxy_location=config.schema.proxy_location,
        http_options={**config.schema.http_options.model_dump(), "host": replica_host(config)},
        grpc_options=config.schema.grpc_options.model_dump(),
        logging_config=config.schema.logging_config,
        tracing_config=config.schema.tracing_config,
    )
    ServeSubmissionClient(f"http://{dashboard}").deploy_applications(config.document)


def wait_until_ready(config: Config, stop: StopSignal) -> bool:
    """True once each application is ready, False when stopped before. Raises StartupError."""
    while not stop.wait(POLL_PERIOD_S):
        for name, application in serve.status().applications.items():
            check_application(name, application)
        try:
            if all(ask_ready(url).ok for url in config.urls):
                return True
        except (requests.ConnectionError, requests.Timeout):
            continue  # the proxy, or the Ingress behind it, is not up yet
    return False


def check_application(name: str, application: ApplicationStatusOverview) -> None:
    """Raises StartupError: in our own words where the failure is one of ours, else in Ray's.

    Ray tries a replica that failed three times before it gives up; what is ours stays so.
    """
    messages = [application.message]
    messages += [deployment.message for deployment in application.deployments.values()]
    for message in messages:
        _, ours, words = message.rpartition(f"{StartupError.__name__}: ")
        if ours:
            raise StartupError(words.strip().splitlines()[0])
    if application.status == ApplicationStatus.DEPLOY_FAILED:
        failed = [f"application {name!r} failed to deploy.", *filter(None, messages)]
        raise StartupError("\n".join(failed))


def ask_ready(url: str) -> requests.Response:
    """Whatever name its certificate has: this is our own port."""
    with warnings.catch_warnings(action="ignore"):
        return requests.get(f"{url}/readyz", timeout=5, verify=False)  # noqa: S501


def announce(config: Config, dashboard: str) -> None:
    version = ask_ready(config.url).headers["X-Model-Version"]
    if version == SPEC.stand_in.version:
        print(f"WARNING: {explain_stand_in(find_download_failure(config))}", flush=True)
    grpc = f"gRPC: port {config.schema.grpc_options.port}, " if config.serves_grpc else ""
    print(
        f"Ready: {config.url}  ({grpc}weights: {version}, dashboard: http://{dashboard})",
        flush=True,
    )


def find_download_failure(config: Config) -> str:
    """Why the official weights are missing, as the application noted it on this machine."""
    for application in config.schema.applications:
        url = SPEC.official.at(application.args.get("weights_url")).url
        if (failure := recall_failure(url)) is not None:
            return f"{url}: {failure}"
    return "see the log of the application's build"


def drain(config: Config, stop: StopSignal) -> None:
    """Let requests in flight finish, unless that takes longer than it may or is cut short."""
    names = {application.name for application in config.schema.applications}
    try:
        with stop.interrupting(config.drain_s + STOP_MARGIN_S):
            while any(count_under_way(name) for name in names):
                time.sleep(POLL_PERIOD_S)
            for name in names:
                serve.delete(name, _blocking=False)
            while names & serve.status().applications.keys():
                time.sleep(POLL_PERIOD_S)
    except KeyboardInterrupt:
        print("Stopping at once: what is still in flight is lost.", flush=True)


def count_under_way(application: str) -> int:
    """The requests that its Ingresses, which take no more, still have: none where it has failed."""
    status = serve.status().applications.get(application)
    if status is None or status.status != ApplicationStatus.RUNNING:
        return 0
    ingress: Any = serve.get_app_handle(application)
    if not ingress.is_initialized:
        # This process has no event loop to share, whatever the environment says for replicas.
        ingress._init(_run_router_in_separate_loop=True)
    try:
        return sum(ingress.broadcast("drain").results(timeout_s=ANSWER_WITHIN_S))
    except (RayError, RayServeException, TimeoutError) as error:
        print(f"An Ingress does not say what it has in flight: {type(error).__name__}", flush=True)
        return 0
