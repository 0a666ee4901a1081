"""How often Serve's controller runs its loop: often at first, then less often.

Runs in: Serve's controller, which calls `slow_down_later` when it starts
(RAY_SERVE_CONTROLLER_CALLBACK_IMPORT_PATH). A deployment takes about ten turns of the loop, so long
turns would delay the start of the service. Short turns cost 3 % of a core in the controller, and
1 % in the GCS, which each turn asks for the nodes.
"""

import threading

from ray.serve._private import controller, controller_health_metrics_tracker, deployment_state

START_S = 15.0
"""Of Ray's own interval, 0.1 s."""
STEADY_INTERVAL_S = 0.5
"""What a new version, a lost replica or a decision of the autoscaler may wait for a turn."""

INTERVAL = "CONTROL_LOOP_INTERVAL_S"
READERS = (controller, deployment_state, controller_health_metrics_tracker)
"""Ray's modules that read the interval: the loop, its share of health checks, its own metrics."""


def slow_down_later() -> threading.Timer:
    """Keep Ray's interval for START_S. Returns what ends then."""
    timer = threading.Timer(START_S, _slow_down)
    timer.daemon = True
    timer.start()
    return timer


def _slow_down() -> None:
    for module in READERS:
        vars(module)[INTERVAL] = max(STEADY_INTERVAL_S, vars(module)[INTERVAL])
