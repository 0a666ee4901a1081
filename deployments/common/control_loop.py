"""How often Serve's controller looks at what is deployed: often while that changes, else seldom.

Runs in: Serve's controller, which calls `follow_apps` when it starts
(RAY_SERVE_CONTROLLER_CALLBACK_IMPORT_PATH). A deployment takes about ten turns of its loop, so long
turns would delay a start or a new version; short ones cost 3 % of a core in the controller and 1 %
in the GCS, which each turn asks for the nodes.
"""

import time
from typing import Any

from ray.serve._private import controller
from ray.serve._private.application_state import ApplicationStateManager
from ray.serve.schema import ApplicationStatus

STEADY_INTERVAL_S = 1.0
"""The longest wait of a new version, a lost replica or a decision of the autoscaler."""
CHANGES_WITHIN_S = 60.0
"""An application that is not running by then waits for a node, or has failed for good."""


def follow_apps() -> None:
    """Turn at Ray's own interval while an application changes, else at STEADY_INTERVAL_S."""
    manager: Any = ApplicationStateManager
    loop: Any = controller
    update = manager.update
    interval = Interval(loop.CONTROL_LOOP_INTERVAL_S)

    def update_and_choose(self: Any) -> None:
        update(self)
        found = self.list_app_statuses().values()
        loop.CONTROL_LOOP_INTERVAL_S = interval.choose({each.status for each in found})

    manager.update = update_and_choose


class Interval:
    """The pause between two turns.

    changing_s: Ray's own.
    """

    def __init__(self, changing_s: float) -> None:
        self._changing_s = changing_s
        self._steady_s = max(STEADY_INTERVAL_S, changing_s)
        self._statuses: set[ApplicationStatus] = set()
        self._since = time.monotonic()

    def choose(self, statuses: set[ApplicationStatus]) -> float:
        """In seconds. statuses: of all applications; nothing is deployed yet if it is empty."""
        if statuses != self._statuses:
            self._statuses, self._since = statuses, time.monotonic()
        lasts = time.monotonic() - self._since > CHANGES_WITHIN_S
        is_steady = lasts or statuses == {ApplicationStatus.RUNNING}
        return self._steady_s if is_steady else self._changing_s
