"""What the launcher says while the service runs: which replicas were lost, which wait, and whether
the proxy responds."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import ray._private.state
import requests
from ray.exceptions import RayError
from ray.serve.context import _get_global_client
from ray.serve.schema import ApplicationStatus

from deployments.launcher.readiness import ask

PERIOD_S = 5.0
"""A look costs the controller about as much as a request."""
WAITS_AFTER_LOOKS = 4
"""Before, a replica may only be about to start, or wait until Ray has freed what a lost one had."""

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
        self._told: set[Name] = set()
        self._proxy: ProxyProbe | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()

    def begin(self, found: Mapping[Name, Details], url: str) -> None:
        """The service is ready. The next look reports what is lost from now on.

        found: what runs now. url: what clients connect to.
        """
        self._before = found
        self._proxy = ProxyProbe(url)

    def _run(self) -> None:
        while not self._stopping.wait(PERIOD_S):
            if self._proxy is not None:
                self._tell(self._proxy.look())
            self._tell(self._look_at_replicas())

    def _tell(self, lines: Iterator[str]) -> None:
        for line in lines:
            if not self._stopping.is_set():
                print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)

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
            for line in self._find_trouble(name, title, now, free):
                self._told.add(name)
                yield line
            if name in self._told and len(_running(now)) >= now["target_num_replicas"]:
                self._told.remove(name)
                yield f"{title}: {describe_all(now['target_num_replicas'])} again."
        self._before = found

    def _find_trouble(
        self, name: Name, title: str, now: Details, free: Sequence[Mapping[str, float]]
    ) -> Iterator[str]:
        if lost := count_lost(self._before.get(name, now), now):
            yield f"{title}: {describe_replicas(lost)} lost; Ray starts what is missing."
        waiting = 0 if fits(now["required_resources"], free) else count_waiting(now)
        looks = self._waits[name] = self._waits.get(name, 0) + 1 if waiting else 0
        if looks == WAITS_AFTER_LOOKS:
            yield describe_wait(title, now, waiting)


class ProxyProbe:
    """Checks whether what clients connect to responds: HAProxy, or Ray's own proxy.

    url: of the proxy, which answers `/-/healthz` itself.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._responded = True

    def look(self) -> Iterator[str]:
        """The line to print if this has changed."""
        before, self._responded = self._responded, responds(f"{self._url}/-/healthz")
        if before and not self._responded:
            yield f"No response at {self._url}: the proxy is down or stuck."
        if self._responded and not before:
            yield f"The proxy responds again at {self._url}."


def responds(url: str) -> bool:
    """An error response counts as one."""
    try:
        ask(url)
    except requests.RequestException:
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


def describe_all(count: int) -> str:
    return "the replica runs" if count == 1 else f"all {count} replicas run"


def describe_wait(name: str, details: Details, waiting: int) -> str:
    wanted = [
        f"{each} {amount:g}" for each, amount in details["required_resources"].items() if amount
    ]
    return (
        f"{name}: {waiting} of {details['target_num_replicas']} replicas wait, as no node has "
        f"{', '.join(wanted)} free. Add a node, or lower num_replicas or what a replica asks for."
    )
