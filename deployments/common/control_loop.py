"""How often Serve's controller runs its loop: each 0.1 s while something changes, else each 0.5 s.

Runs in: Serve's controller, which calls `follow_apps` when it starts
(RAY_SERVE_CONTROLLER_CALLBACK_IMPORT_PATH). A deployment takes about ten turns of the loop. Long
turns would delay it. Short turns cost 3 % of a core in the controller, and 1 % in the GCS, which
each turn asks for the nodes.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

from ray.serve._private import controller, controller_health_metrics_tracker, deployment_state
from ray.serve._private.application_state import ApplicationStateManager
from ray.serve._private.common import DeploymentStatus
from ray.serve.schema import ApplicationStatus

STEADY_INTERVAL_S = 0.5
"""A change that the controller has not seen, such as a lost replica, waits this long at most."""
CHANGES_WITHIN_S = 60.0
"""What changes for longer, such as a replica that waits for a node, is looked at less often."""

INTERVAL = "CONTROL_LOOP_INTERVAL_S"
READERS = (controller, deployment_state, controller_health_metrics_tracker)
"""Ray's modules that read the interval: the loop, its share of health checks, its own metrics."""

Status = tuple[str, ApplicationStatus | DeploymentStatus, float]
"""Of an application or a deployment: its name, its status, and when it was deployed, if known."""


def follow_apps() -> None:
    """Use Ray's own interval while something changes, else STEADY_INTERVAL_S."""
    manager: Any = ApplicationStateManager
    update = manager.update
    interval = Interval(vars(controller)[INTERVAL])

    def update_and_choose(self: Any) -> None:
        update(self)
        pause_s = interval.choose(read_statuses(self))
        for module in READERS:
            vars(module)[INTERVAL] = pause_s

    manager.update = update_and_choose


def read_statuses(manager: Any) -> list[Status]:
    applications = manager.list_app_statuses().items()
    deployments = manager._deployment_state_manager.get_deployment_statuses()
    return [
        *((name, each.status, each.deployment_timestamp) for name, each in applications),
        *((each.name, each.status, 0.0) for each in deployments),
    ]


class Interval:
    """The pause between two turns.

    changing_s: Ray's own interval.
    """

    def __init__(self, changing_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._changing_s = changing_s
        self._steady_s = max(STEADY_INTERVAL_S, changing_s)
        self._clock = clock
        self._statuses: list[Status] = []
        self._since_s = clock()

    def choose(self, statuses: Sequence[Status]) -> float:
        """Returns the pause in seconds. statuses: of everything; empty if nothing is deployed."""
        if statuses != self._statuses:
            self._statuses, self._since_s = list(statuses), self._clock()
        lasts = self._clock() - self._since_s > CHANGES_WITHIN_S
        return self._steady_s if lasts or is_done(statuses) else self._changing_s


def is_done(statuses: Sequence[Status]) -> bool:
    done = (ApplicationStatus.RUNNING, DeploymentStatus.HEALTHY)
    return bool(statuses) and all(status in done for _, status, _ in statuses)
