"""The head node of a private Ray, without the processes that can wait.

Ray starts its dashboard first, and waits 4 s for it (two cores) before it starts the raylet.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from ray._private import node, ray_constants, services, worker
from ray._private.parameter import RayParams

from deployments.launcher import worker_setup

LOCALHOST = "127.0.0.1"
DASHBOARD_MODULES = (
    "JobHead",
    "NodeHead",
    "ReportHead",
    "ServeHead",
    "StateHead",
    "UsageStatsHead",
)
"""What the commands `serve` and `ray` and most pages need. The others are for Ray Data, Ray Train,
Grafana and lists of events: four processes, each with an import of a second."""
WORKERS = 6
"""Processes that a start needs: Serve's controller, its two proxies, the import of the application,
an Ingress, a Classifier."""
PRELOADED = "ray.serve._private.replica"
"""What they import while they wait."""


class LocalNode(node.Node):
    """Ray's node, without what nothing here reads, and without what nobody needs yet."""

    def __init__(self, ray_params: RayParams, **options: Any) -> None:
        ray_params.setup_worker_path = worker_setup.__file__
        super().__init__(ray_params=ray_params, **options)

    def start_raylet(self, *arguments: Any, **options: Any) -> None:
        """Start WORKERS processes ahead. Ray would start one for each core."""
        with adding_option(
            ray_constants.PROCESS_TYPE_RAYLET, f"--num_prestart_python_workers={WORKERS}"
        ):
            super().start_raylet(*arguments, **options)

    def start_monitor(self) -> None:
        """Not yet: `start_postponed_monitor` does."""

    def start_postponed_monitor(self) -> None:
        """Only `ray status` needs it."""
        super().start_monitor()  # type: ignore[no-untyped-call]

    def start_api_server(self, **_: Any) -> None:
        """Not yet: `start_dashboard` does."""

    @property
    def dashboard_host(self) -> str:
        """The address that it is to listen on."""
        return str(self._ray_params.dashboard_host)

    def start_dashboard(self) -> int:
        """Start Ray's dashboard on localhost. Returns its port, the next free one from 8265 on.

        Raises an Exception of Ray's, of no narrower class.
        """
        self._ray_params.dashboard_host = LOCALHOST
        with adding_option(
            ray_constants.PROCESS_TYPE_DASHBOARD, f"--modules-to-load={','.join(DASHBOARD_MODULES)}"
        ):
            super().start_api_server(include_dashboard=True, raise_on_failure=True)
        return int(str(self.webui_url).rpartition(":")[2])

    def publish_dashboard(self, address: str) -> None:
        """Let Ray's commands find the host and port of the dashboard."""
        gcs: Any = self.get_gcs_client()  # type: ignore[no-untyped-call]
        gcs.internal_kv_put(
            b"webui:url", address.encode(), True, ray_constants.KV_NAMESPACE_DASHBOARD
        )

    def start_log_monitor(self) -> None:
        """Not at all: it copies what workers print to the launcher, which does not show it."""


@contextmanager
def adding_option(to_process_type: str, option: str) -> Iterator[None]:
    """Have Ray start such a process with one more option, for which Ray has no parameter."""
    rays_own = services.start_ray_process

    def start(command: list[str], process_type: str, **options: Any) -> Any:
        if process_type == to_process_type:
            command = [*command, option]
        return rays_own(command, process_type, **options)

    vars(services)["start_ray_process"] = start
    try:
        yield
    finally:
        vars(services)["start_ray_process"] = rays_own


@contextmanager
def starting_side_by_side() -> Iterator[None]:
    """Have `ray.init` make a LocalNode, for which it has no parameter."""
    rays_own = node.Node
    vars(node)["Node"] = LocalNode
    try:
        yield
    finally:
        vars(node)["Node"] = rays_own


def global_node() -> node.Node:
    """The node that `ray.init` has made or joined."""
    found: Any = worker._global_node
    return cast("node.Node", found)
