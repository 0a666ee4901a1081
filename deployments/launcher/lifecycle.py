"""The launcher: `python -m deployments CONFIG`.

Starts a Ray of its own (or joins the one RAY_ADDRESS names), deploys the YAML, waits until a
warmed-up Classifier answers, says where, and drains and stops everything on SIGINT and
SIGTERM. Ends with status 1 and the cause when the service cannot come up.
"""

import argparse
import os
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Self

import psutil
import pydantic
import ray
import requests
import yaml
from ray import serve
from ray._private import ray_constants
from ray.dashboard.modules.serve.sdk import ServeSubmissionClient
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import (
    ApplicationStatus,
    ApplicationStatusOverview,
    ServeDeploySchema,
)

from deployments.common.errors import RayDied, StartupError
from deployments.common.runtime_env import prepare_environment
from deployments.common.settings import Settings

LOCALHOST = "127.0.0.1"
POLL_PERIOD_S = 0.25
STOP_MARGIN_S = 10.0
"""What Ray may take to stop the replicas, over the time in which they drain."""
ANSWER_WITHIN_S = 5.0
EXIT_WITHIN_S = 5.0
"""How long Ray's processes may take to end when they are told to, before they are killed."""


def main() -> int:
    """Run until stopped. Returns the exit status."""
    stop = StopSignal()
    arguments = parse_arguments()
    try:
        launch(read_config(arguments.config), RayOptions.of(arguments), stop)
    except StartupError as error:
        print(f"densenet-serve cannot start: {error}", file=sys.stderr)
        return 1
    except RayDied as error:
        print(f"densenet-serve cannot go on: {error}", file=sys.stderr)
        return 1
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deployments", description=__doc__)
    parser.add_argument("config", type=Path, help="a Ray Serve YAML, such as serve_config.yaml")
    ray_options = parser.add_argument_group("the Ray that is started")
    ray_options.add_argument(
        "--node-ip",
        default=LOCALHOST,
        help="with 127.0.0.1, the default, its ports (the metrics' among them) are for this "
        "machine alone; with another address of it, or `auto`, they are on all interfaces",
    )
    ray_options.add_argument(
        "--metrics-port", type=int, default=8080, help="for Prometheus; 0: any; default: 8080"
    )
    ray_options.add_argument(
        "--dashboard-host", default=LOCALHOST, help="where Ray's dashboard listens"
    )
    return parser.parse_args()


@dataclass(frozen=True)
class RayOptions:
    """Of a Ray of our own; one that is joined has been started already.

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


@dataclass(frozen=True)
class Config:
    """A YAML that has been found good, and what the launcher needs of it."""

    document: dict[str, Any]
    schema: ServeDeploySchema

    @property
    def url(self) -> str:
        options = self.schema.http_options
        everywhere = ("0.0.0.0", "127.0.0.1", "::")  # noqa: S104, compared and not bound
        host = "localhost" if options.host in everywhere else options.host
        scheme = "https" if options.ssl_certfile else "http"
        return f"{scheme}://{host}:{options.port}"

    @property
    def serves_grpc(self) -> bool:
        return bool(self.schema.grpc_options.grpc_servicer_functions)

    @property
    def drain_s(self) -> float:
        """The longest that any replica may work on what is in flight when it is stopped."""
        deployments = [each for app in self.schema.applications for each in app.deployments]
        drains = [each.graceful_shutdown_timeout_s for each in deployments]
        return max((drain for drain in drains if isinstance(drain, (int, float))), default=20.0)

    @property
    def max_message_bytes(self) -> int:
        """The largest gRPC message Ray's proxy is to take, where its own default is 2 GiB.

        At least gRPC's default, which is enough for every answer.
        """
        settings = [Settings.model_validate(each.args) for each in self.schema.applications]
        return max([4 * 2**20, *(each.limits.max_request_bytes for each in settings)])


def read_config(path: Path) -> Config:
    """Read and validate a configuration before anything is started. Raises StartupError."""
    try:
        document = yaml.safe_load(path.read_text())
        schema = ServeDeploySchema.model_validate(document)
        for application in schema.applications:
            Settings.model_validate(application.args)
    except (OSError, yaml.YAMLError, pydantic.ValidationError) as error:
        raise StartupError(f"{path}: {error}") from error
    return Config(document, schema)


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


def check_ports(config: Config, ray_options: RayOptions) -> None:
    http = config.schema.http_options
    check_port(http.host, http.port, "http_options.port")
    if config.serves_grpc:
        # Ray's gRPC proxy listens on all interfaces and has no option for it.
        everywhere = "::" if socket.has_dualstack_ipv6() else "0.0.0.0"  # noqa: S104
        check_port(everywhere, config.schema.grpc_options.port, "grpc_options.port")
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
                f"port {port} of {host} cannot be had ({error.strerror}). Stop what uses it, "
                f"or set another '{option}'."
            ) from error


def start_ray(config: Config, ray_options: RayOptions) -> str:
    """Start a local Ray, or join RAY_ADDRESS. Returns the dashboard's host and port."""
    prepare_environment()
    os.environ.setdefault("RAY_SERVE_GRPC_MAX_MESSAGE_SIZE", str(config.max_message_bytes))
    address = os.environ.get("RAY_ADDRESS", "local")
    options = ray_options.as_arguments() if address == "local" else {}
    if options.get("_node_ip_address") == LOCALHOST:
        stay_on_localhost()
    try:
        context = ray.init(address=address, namespace="serve", log_to_driver=True, **options)
    except ConnectionError as error:
        raise StartupError(f"there is no Ray to join at RAY_ADDRESS={address}") from error
    return str(context.dashboard_url)


def find_ray_core() -> list[psutil.Process]:
    """The processes of a Ray of our own that nothing works without; none where it was joined."""
    children = psutil.Process().children()
    return [child for child in children if child.name() in ("gcs_server", "raylet")]


def check_ray(core: list[psutil.Process]) -> None:
    """Raises RayDied."""
    if not all(map(is_alive, core)):
        raise RayDied("a process that Ray cannot do without has ended; see its logs")


def is_alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def stay_on_localhost() -> None:
    """Ray takes 127.0.0.1 for a wish to be told the machine's own address, but for this switch,
    which is for systems whose firewalls ask about every port."""
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"
    ray_constants.ENABLE_RAY_CLUSTER = False


def deploy(config: Config, dashboard: str) -> None:
    serve.start(
        proxy_location=config.schema.proxy_location,
        http_options=config.schema.http_options.model_dump(),
        grpc_options=config.schema.grpc_options.model_dump(),
        logging_config=config.schema.logging_config,
        tracing_config=config.schema.tracing_config,
    )
    ServeSubmissionClient(f"http://{dashboard}").deploy_applications(config.document)


def wait_until_ready(config: Config, stop: StopSignal) -> bool:
    """True once `/readyz` says so, False when stopped before. Raises StartupError."""
    while not stop.wait(POLL_PERIOD_S):
        for name, application in serve.status().applications.items():
            check_application(name, application)
        try:
            if ask_ready(config).ok:
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


def ask_ready(config: Config) -> requests.Response:
    """Whatever name its certificate has: this is our own port."""
    with warnings.catch_warnings(action="ignore"):
        return requests.get(f"{config.url}/readyz", timeout=5, verify=False)  # noqa: S501


def announce(config: Config, dashboard: str) -> None:
    version = ask_ready(config).headers["X-Model-Version"]
    if version == "untrained":
        print("WARNING: the weights are UNTRAINED; every answer is a guess. See above.", flush=True)
    grpc = f"gRPC: port {config.schema.grpc_options.port}, " if config.serves_grpc else ""
    print(
        f"Ready: {config.url}  ({grpc}weights: {version}, dashboard: http://{dashboard})",
        flush=True,
    )


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
    ingress: DeploymentHandle[Any] = serve.get_app_handle(application)
    try:
        return sum(ingress.broadcast("drain").results(timeout_s=ANSWER_WITHIN_S))
    except (RayError, RayServeException, TimeoutError) as error:
        print(f"An Ingress does not say what it has in flight: {type(error).__name__}", flush=True)
        return 0


def end_ray() -> None:
    """Leave Ray; one of our own ends, with every process of it, whatever state they are in."""
    processes = psutil.Process().children(recursive=True)
    ray.shutdown()
    _, left = psutil.wait_procs(processes, timeout=EXIT_WITHIN_S)
    for process in left:
        process.kill()
