"""The end of the applications: requests in flight are finished first."""

import time
from collections.abc import Set

from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.schema import ApplicationStatus

from deployments.launcher.config import Config
from deployments.launcher.handle import usable
from deployments.launcher.stop_signal import StopSignal

POLL_PERIOD_S = 0.1
STOP_MARGIN_S = 10.0
"""What Ray may take to stop the replicas, over the time in which they drain."""
ANSWER_WITHIN_S = 5.0


def find_running() -> set[str]:
    """The names of the applications that serve."""
    applications = serve.status().applications.items()
    return {name for name, each in applications if each.status == ApplicationStatus.RUNNING}


def drain(config: Config, stop: StopSignal, kept: Set[str] = frozenset()) -> None:
    """Let requests in flight finish, unless that takes longer than it may or is cut short.

    kept: names of applications that go on.
    """
    names = config.names - kept
    if not names:
        return
    print("Stopping: requests in flight are finished first.", flush=True)
    try:
        with stop.interrupting(config.drain_s + STOP_MARGIN_S):
            while any(count_under_way(name) for name in names):
                time.sleep(POLL_PERIOD_S)
            for name in names & serve.status().applications.keys():
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
    ingress = usable(serve.get_app_handle(application))
    try:
        return sum(ingress.broadcast("drain").results(timeout_s=ANSWER_WITHIN_S))
    except (RayError, RayServeException, TimeoutError) as error:
        print(f"An Ingress does not say what it has in flight: {type(error).__name__}", flush=True)
        return 0
