"""What the launcher says while the service runs: which replicas were lost, which wait, and whether
HAProxy responds."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import ray._private.state
import requests
from ray.exceptions import RayError
from ray.serve.context import _get_global_client
from ray.serve.schema import ApplicationStatus

from deployments.launcher.readiness import ask_ready

PERIOD_S = 5.0
"""A look costs the controller about as much as a request."""
WAITS_AFTER_LOOKS = 2
"""Before, a replica may only be about to start."""

Details = Mapping[str, Any]
Name = tuple[str, str]
"""Of a deployment: its application's, and its own."""


class Supervision:
    """Looks at Serve every `PERIOD_S` on a thread of its own, which Ctrl-C need not wait for."""

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="supervision", daemon=True)
        self._before: Mapping[Name, Details] = {}
        self._waits: dict[Name, int] = {}
        self._front: Front | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()

    def begin(self, found: Mapping[Name, Details], url: str) -> None:
        """The service is ready: of what is lost before the next look, that look tells.

        found: what runs now. url: of an application, behind HAProxy.
        """
        self._before = found
        self._front = Front(url)

    def _run(self) -> None:
        while not self._stopping.wait(PERIOD_S):
            for line in [*self._look_at_front(), *self._look_at_replicas()]:
                if not self._stopping.is_set():
                    print(line, flush=True)

    def _look_at_front(self) -> Iterator[str]:
        if self._front is not None and (line := self._front.look()):
            yield line

    def _look_at_replicas(self) -> Iterator[str]:
        try:
            found = read_deployments()
            free = list(ray._private.state.available_resources_per_node().values())  # type: ignore[no-untyped-call]
        except (RayError, TimeoutError):
            return  # Serve's controller is being restarted
        yield from self.look(found, free)

    def look(
        self, found: Mapping[Name, Details], free: Sequence[Mapping[str, float]]
    ) -> Iterator[str]:
        """The lines to print.

        found: each deployment's details. free: each node's free resources.
        """
        has_several = len({application for application, _ in found}) > 1
        for name, now in found.items():
            title = f"{name[1]} of {name[0]}" if has_several else name[1]
            if lost := count_lost(self._before.get(name, now), now):
                yield f"{title}: {describe_replicas(lost)} lost; Ray starts what is missing."
            waiting = 0 if fits(now["required_resources"], free) else count_waiting(now)
            looks = self._waits[name] = self._waits.get(name, 0) + 1 if waiting else 0
            if looks == WAITS_AFTER_LOOKS:
                yield describe_wait(title, now, waiting)
        self._before = found


class Front:
    """Whether HAProxy responds, which is what clients connect to."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._responded = True

    def look(self) -> str:
        """The line to print if that has changed, else "".

        A response with an error is one: an Ingress, or HAProxy itself, tells why.
        """
        before, self._responded = self._responded, responds(self._url)
        if self._responded == before:
            return ""
        if self._responded:
            return f"HAProxy: responds again at {self._url}."
        return f"HAProxy: no response at {self._url}; Ray starts another one."


def responds(url: str) -> bool:
    try:
        ask_ready(url)
    except (requests.ConnectionError, requests.Timeout):
        return False
    return True


def read_deployments() -> dict[Name, Details]:
    """Raises RayError or TimeoutError."""
    client: Any = _get_global_client(raise_if_no_controller_running=False)
    applications = client.get_serve_details()["applications"] if client else {}
    return {
        (application, name): {
            **details,
            "deployed": each["last_deployed_time_s"],
            "is_deploying": each["status"] == ApplicationStatus.DEPLOYING,
        }
        for application, each in applications.items()
        for name, details in each["deployments"].items()
    }


def count_lost(before: Details, now: Details) -> int:
    """The replicas that run no more though nobody asked for fewer or for others."""
    is_asked_for = (
        now["deployed"] != before["deployed"]
        or now["is_deploying"]
        or now["target_num_replicas"] < before["target_num_replicas"]
    )
    return 0 if is_asked_for else len(_running(before) - _running(now))


def _running(details: Details) -> set[str]:
    replicas = details["replicas"]
    return {each["replica_id"] for each in replicas if each["state"] == "RUNNING"}


def count_waiting(details: Details) -> int:
    """The replicas that have no node yet."""
    return sum(
        replica["state"] == "STARTING" and replica.get("node_id") is None
        for replica in details["replicas"]
    )


def fits(required: Mapping[str, float], free: Sequence[Mapping[str, float]]) -> bool:
    return any(
        all(node.get(resource, 0) >= amount for resource, amount in required.items())
        for node in free
    )


def describe_replicas(count: int) -> str:
    return "a replica was" if count == 1 else f"{count} replicas were"


def describe_wait(name: str, details: Details, waiting: int) -> str:
    wanted = [
        f"{each} {amount:g}" for each, amount in details["required_resources"].items() if amount
    ]
    return (
        f"{name}: {waiting} of {details['target_num_replicas']} replicas wait, as no node has "
        f"{', '.join(wanted)} free. Add a node, or lower num_replicas or what a replica asks for."
    )
