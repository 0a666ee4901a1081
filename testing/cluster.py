"""Three nodes of Ray on this machine, and the service on them as the launcher starts it."""

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import psutil
import requests
import yaml
from ray.cluster_utils import Cluster
from ray.dashboard.modules.serve.sdk import ServeSubmissionClient

from deployments.common.runtime_env import prepare_environment
from deployments.launcher.haproxy import describe_paths, describe_ports
from testing.ports import find_free_port
from testing.processes import ROOT, Server, find_marked

READY_WITHIN_S = 180.0
HEALED_WITHIN_S = 120.0
NODE: Mapping[str, Any] = {"num_cpus": 2, "object_store_memory": 512 * 2**20}
REPLICAS = 2
_MARK = "CHAOS_CLUSTER"

TITLES = {
    "classifier": "ray::ServeReplica:densenet:Classifier",
    "ingress": "ray::ServeReplica:densenet:Ingress",
    "haproxy": "haproxy",
    "haproxy_manager": "ray::HAProxyManager",
    "fallback_proxy": "ray::ProxyActor",
    "controller": "ray::ServeController",
}
"""How the processes of each part begin to name themselves."""

_SINGLE_PARTS = ("haproxy_manager", "fallback_proxy", "controller")


class NotHealed(Exception):
    """The service was not healthy again in time."""


def write_config(folder: Path, port: int, import_path: str, **args: Any) -> Path:
    """`serve_config.yaml` with two replicas of each tier, no two of a tier on one node."""
    document = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    # HAProxy finds the Ingress replicas at the address of their node.
    document["http_options"] |= {"host": "0.0.0.0", "port": port}  # noqa: S104
    del document["grpc_options"]
    (application,) = document["applications"]
    application["import_path"] = import_path
    application["args"] |= {"allow_anonymous": True, **args}
    application["logging_config"]["logs_dir"] = str(folder / "logs")
    for deployment in application["deployments"]:
        deployment |= {"num_replicas": REPLICAS, "max_replicas_per_node": 1}
    path = folder / "chaos.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


class Service:
    """The service on its cluster, for faults to be done to."""

    def __init__(self, cluster: Any, config: Path, mark: str) -> None:
        self.document: dict[str, Any] = yaml.safe_load(config.read_text())
        self.url = f"http://127.0.0.1:{self.document['http_options']['port']}"
        self._cluster = cluster
        self._mark = mark
        self._rest = ServeSubmissionClient(f"http://{cluster.webui_url}")

    def find(self, part: str) -> list[psutil.Process]:
        """The processes of a part, such as `classifier`."""
        return [
            each for each in find_marked(_MARK, self._mark) if _title(each).startswith(TITLES[part])
        ]

    def kill_node(self) -> list[psutil.Process]:
        """End a node that is not the head, with all on it, as when its plug is pulled.

        Returns the processes that were on it.
        """
        node = next(iter(self._cluster.worker_nodes))
        (raylet,) = node.all_processes["raylet"]
        parent = psutil.Process(raylet.process.pid)
        doomed = [parent, *parent.children(recursive=True)]
        for process in doomed:
            kill(process)
        self._cluster.remove_node(node, allow_graceful=False)
        return doomed

    def add_node(self) -> None:
        self._cluster.add_node(**NODE)

    def nodes_of(self, deployment: str) -> list[str]:
        """The node of each of its replicas that run."""
        application = self._rest.get_serve_details()["applications"]["densenet"]
        replicas = application["deployments"][deployment]["replicas"]
        return [each["node_id"] for each in replicas if each["state"] == "RUNNING"]

    def count_retries(self) -> int:
        """What the service's own counter says, over all nodes that are there."""
        state: Any = self._cluster.global_state
        ports = [node["MetricsExportPort"] for node in state.node_table()]
        return sum(_read_counter(port, "ray_densenet_retries_total") for port in ports)

    def deploy(self) -> None:
        """Hand the document, as it is now, to the running service."""
        self._rest.deploy_applications(self.document)

    def wait_until_healthy(self, gone: Sequence[psutil.Process] = ()) -> None:
        """Until every part is there and healthy, and none is of those. Raises NotHealed."""
        give_up = time.monotonic() + HEALED_WITHIN_S
        while not self._is_healthy(gone):
            if time.monotonic() > give_up:
                raise NotHealed(f"not healthy after {HEALED_WITHIN_S:g} s: {self._statuses()}")
            time.sleep(0.25)

    def _is_healthy(self, gone: Sequence[psutil.Process]) -> bool:
        if any(process.is_running() for process in gone):
            return False
        counts = {part: len(self.find(part)) for part in TITLES}
        # One more HAProxy may finish the requests that it had when it was replaced.
        is_complete = (
            counts["classifier"] == counts["ingress"] == REPLICAS
            and counts["haproxy"] >= 1
            and all(counts[part] == 1 for part in _SINGLE_PARTS)
        )
        return is_complete and set(self._statuses()) == {"healthy"}

    def _statuses(self) -> list[str]:
        """One for each part that the controller knows, and one for `/readyz`."""
        try:
            details = self._rest.get_serve_details()
            ready = requests.get(f"{self.url}/readyz", timeout=5).ok
        except (requests.RequestException, RuntimeError) as error:
            return [type(error).__name__]
        application = details["applications"]["densenet"]
        replicas = [
            replica["state"]
            for deployment in application["deployments"].values()
            for replica in deployment["replicas"]
        ]
        proxies = [each["status"] for each in details["proxies"].values()]
        states = [application["status"], *replicas, *proxies, "READY" if ready else "NOT READY"]
        good = {"RUNNING", "HEALTHY", "READY"}
        return ["healthy" if state in good else str(state) for state in states]


def _read_counter(port: int, name: str) -> int:
    try:
        text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=5).text
    except requests.RequestException:
        return 0  # the node is gone
    lines = [line for line in text.splitlines() if line.startswith(name)]
    return round(sum(float(line.rpartition(" ")[2]) for line in lines))


def kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return  # it went with its parent


def _title(process: psutil.Process) -> str:
    try:
        return Path(process.cmdline()[0]).name
    except (psutil.Error, IndexError):  # it has ended
        return ""


@contextmanager
def serving(config: Path) -> Iterator[Service]:
    """The service, ready, on three nodes; all of it gone at the end."""
    mark = f"{os.getpid()}-{time.monotonic_ns()}"
    with (
        patch.dict(os.environ),  # other services of this process start without it
        TemporaryDirectory(prefix="dn-", dir="/tmp", ignore_cleanup_errors=True) as folder,
    ):
        os.environ[_MARK] = mark  # all that the nodes start inherits it
        prepare_environment()
        os.environ |= {**describe_paths(Path(folder)), **describe_ports()}
        head = {**NODE, "include_dashboard": True, "dashboard_port": find_free_port()}
        cluster: Any = Cluster(initialize_head=True, head_node_args=head)
        try:
            for _ in range(2):
                cluster.add_node(**NODE)
            launch = [sys.executable, "-m", "deployments", str(config), "--metrics-port", "0"]
            log = config.parent / "launcher.log"
            server = Server(launch, {"RAY_ADDRESS": cluster.address}, log)
            try:
                service = Service(cluster, config, mark)
                wait_until_ready(server, service.url)
                yield service
            finally:
                server.stop()
        finally:
            cluster.shutdown()
            for process in find_marked(_MARK, mark):
                kill(process)


def wait_until_ready(server: Server, url: str) -> None:
    """Raises StartFailed."""
    give_up = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < give_up:
        server.check()
        try:
            if requests.get(f"{url}/readyz", timeout=2).ok:
                return
        except requests.RequestException:
            pass
        time.sleep(0.25)
    raise server.failure(f"it was not ready within {READY_WITHIN_S:g} s")
