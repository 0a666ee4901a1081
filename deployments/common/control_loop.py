"""How often Serve's controller looks at what is deployed: often at first, then less often.

Runs in: Serve's controller, which calls `slow_down_later` when it starts
(RAY_SERVE_CONTROLLER_CALLBACK_IMPORT_PATH). A deployment takes about ten turns of its loop, so long
turns would delay the start of the service; short ones cost 3 % of a core in the controller and 1 %
in the GCS, which each turn asks for the nodes.
"""

import threading
from typing import Any

from ray.serve._private import controller

START_S = 30.0
"""Of Ray's own interval, 0.1 s."""
STEADY_INTERVAL_S = 0.5
"""What a new version, a lost replica or a decision of the autoscaler may wait for a turn."""


def slow_down_later() -> threading.Timer:
    """Keep Ray's interval for START_S. Returns what ends then."""
    timer = threading.Timer(START_S, _slow_down)
    timer.daemon = True
    timer.start()
    return timer


def _slow_down() -> None:
    loop: Any = controller
    loop.CONTROL_LOOP_INTERVAL_S = max(STEADY_INTERVAL_S, loop.CONTROL_LOOP_INTERVAL_S)
