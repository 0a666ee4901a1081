"""What the launcher says of replicas, given what Serve says of them."""

from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from deployments.launcher.supervision import ProxyProbe, Supervision
from testing.ports import find_free_port

NAME = ("densenet", "Classifier")
HALF_A_CORE = [{"CPU": 0.5}]
NOTHING: list[dict[str, float]] = [{"memory": 1e9}]


def details(running: str = "a", waiting: int = 0, deployed: int = 0, **more: Any) -> dict[str, Any]:
    """running: a letter for each replica that runs."""
    replicas: list[dict[str, Any]] = [
        {"replica_id": each, "state": "RUNNING", "node_id": "1"} for each in running
    ]
    replicas += [{"replica_id": "?", "state": "STARTING"}] * waiting
    return {
        "replicas": replicas,
        "target_num_replicas": len(replicas),
        "required_resources": {"CPU": 0.5, "GPU": 0},
        "deployed": deployed,
        "is_deploying": False,
        **more,
    }


def look(*looks: dict[str, Any], free: list[dict[str, float]] | None = None) -> list[str]:
    supervision = Supervision()
    free = HALF_A_CORE if free is None else free
    return [line for each in looks for line in supervision.look({NAME: each}, free)]


def test_a_replica_that_is_lost_costs_one_line_and_one_when_all_run_again() -> None:
    lost = "Classifier: a replica was lost; Ray starts what is missing."
    back = "Classifier: all 2 replicas run again."
    complete = details("bc")
    assert look(details("ab"), details("b", waiting=1), complete, complete) == [lost, back]
    assert look(details("ab"), complete, complete) == [lost, back]


def test_the_only_replica_s_return_is_told() -> None:
    lines = look(details("a"), details("", waiting=1), details("b"))
    assert lines[1:] == ["Classifier: the replica runs again."]


def test_replicas_that_are_lost_together_cost_one_line() -> None:
    lost = "Classifier: 2 replicas were lost; Ray starts what is missing."
    assert look(details("ab"), details("", waiting=2)) == [lost]


@pytest.mark.parametrize(
    "after",
    [details("a"), details("cd", deployed=1), details("bc", is_deploying=True)],
    ids=["fewer", "a new version", "a new version takes over"],
)
def test_replicas_that_were_asked_to_go_are_not_told(after: dict[str, Any]) -> None:
    assert look(details("ab"), after) == []


def test_replicas_that_wait_for_what_no_node_has_are_told_once() -> None:
    waits = details("abc", waiting=5)
    (line,) = look(*[waits] * 8, free=NOTHING)
    assert line == (
        "Classifier: 5 of 8 replicas wait, as no node has CPU 0.5 free. Add a node, or lower "
        "num_replicas or what a replica asks for."
    )


def test_replicas_that_are_about_to_start_are_not_told() -> None:
    waits = details("", waiting=1)
    assert look(*[waits] * 8) == []
    assert look(*[waits] * 3, details(""), *[waits] * 3, free=NOTHING) == []


def test_replicas_that_wait_again_are_told_again() -> None:
    waits = [details("a", waiting=1)] * 4
    lines = look(*waits, details("ab"), *waits, free=NOTHING)
    assert [line.split(".")[0].split(",")[0] for line in lines] == [
        "Classifier: 1 of 2 replicas wait",
        "Classifier: all 2 replicas run again",
        "Classifier: a replica was lost; Ray starts what is missing",
        "Classifier: 1 of 2 replicas wait",
    ]


def test_of_several_applications_the_line_names_one() -> None:
    supervision = Supervision()
    candidate = ("candidate", "Classifier")
    before = {NAME: details("ab"), candidate: details("ab")}
    assert list(supervision.look(before, HALF_A_CORE)) == []
    (line,) = supervision.look({**before, candidate: details("b", waiting=1)}, HALF_A_CORE)
    assert line == "Classifier of candidate: a replica was lost; Ray starts what is missing."


class NotReady(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(503)

    def log_message(self, *_: Any) -> None:
        pass


def test_a_proxy_that_does_not_respond_is_told_once_and_so_is_its_return() -> None:
    url = f"http://127.0.0.1:{find_free_port()}"
    proxy = ProxyProbe(url)
    lines = [list(proxy.look()) for _ in range(2)]
    assert lines == [[f"No response at {url}: the proxy is down or stuck."], []]
    with HTTPServer(("127.0.0.1", int(url.rpartition(":")[2])), NotReady) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        lines = [list(proxy.look()) for _ in range(2)]
        server.shutdown()
    assert lines == [[f"The proxy responds again at {url}."], []]
