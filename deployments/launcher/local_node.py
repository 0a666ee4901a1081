"""The head node of a private Ray, with its processes started side by side.

Ray starts them in turn, and waits 4 s (two cores) for the dashboard before it starts the raylet.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from ray._private import node, ray_constants, services, worker
from ray._private.parameter import RayParams

from deployments.common.errors import StartupError
from deployments.launcher import worker_setup

DASHBOARD_WITHIN_S = 120
"""Twice what Ray gives it: what serves starts at the same time."""
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


class LocalNode(node.Node):
    """Ray's node, without what nothing here reads, and without waits for what nobody needs yet."""

    def __init__(self, ray_params: RayParams, **options: Any) -> None:
        ray_params.setup_worker_path = worker_setup.__file__
        ray_constants.RAY_DASHBOARD_STARTUP_TIMEOUT_S = DASHBOARD_WITHIN_S
        self._dashboard_options: dict[str, Any] = {}
        self._dashboard_started = threading.Event()
        self._dashboard_error: Exception | None = None
        super().__init__(ray_params=ray_params, **options)
        # Not earlier: the raylet ends if its agents are not there within 15 s.
        threading.Thread(target=self._start_dashboard, name="dashboard", daemon=True).start()

    def start_api_server(self, **options: Any) -> None:
        """Not yet: `wait_for_dashboard` waits for it."""
        self._dashboard_options = {**options, "raise_on_failure": True}

    def _start_dashboard(self) -> None:
        try:
            with choosing_modules():
                super().start_api_server(**self._dashboard_options)
        except Exception as error:  # noqa: BLE001, Ray raises Exception itself
            self._dashboard_error = error
        self._dashboard_started.set()
        # Linux ends Ray's processes with the thread that started them.
        threading.Event().wait()

    def wait_for_dashboard(self) -> str:
        """Returns its host and port. Raises StartupError."""
        self._dashboard_started.wait()
        if not self._webui_url:
            log = f"{self._logs_dir}/dashboard.log"
            raise StartupError(
                f"Ray's dashboard did not start within {DASHBOARD_WITHIN_S} s. Its log is {log}."
            ) from self._dashboard_error
        return str(self._webui_url)

    def start_log_monitor(self) -> None:
        """Not at all: it copies what workers print to the launcher, which does not show it."""


@contextmanager
def choosing_modules() -> Iterator[None]:
    """Make the dashboard load only DASHBOARD_MODULES. Ray has no parameter for this."""
    rays_own = services.start_ray_process

    def start(command: list[str], process_type: str, **options: Any) -> Any:
        if process_type == ray_constants.PROCESS_TYPE_DASHBOARD:
            command = [*command, f"--modules-to-load={','.join(DASHBOARD_MODULES)}"]
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


def wait_for_dashboard() -> str:
    """Returns the host and port of Ray's dashboard. Raises StartupError."""
    found = global_node()
    return found.wait_for_dashboard() if isinstance(found, LocalNode) else str(found.webui_url)


def global_node() -> node.Node:
    """The node that `ray.init` has made or joined."""
    found: Any = worker._global_node
    return cast("node.Node", found)
