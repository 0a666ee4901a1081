"""What the launcher says of replicas, given what Serve says of them."""

from typing import Any

import pytest

from deployments.launcher.supervision import Supervision

NAME = ("densenet", "Classifier")
HALF_A_CORE = [{"CPU": 0.5}]
NOTHING: list[dict[str, float]] = [{"memory": 1e9}]


def details(
    running: int = 1, waiting: int = 0, dead: int = 0, deployed: int = 0, target: int | None = None
) -> dict[str, Any]:
    node = [{"state": "RUNNING", "node_id": "a"}] * running
    none = [{"state": "STARTING", "node_id": None}] * waiting
    return {
        "replicas": node + none,
        "recent_dead_replicas": [{"replica_id": str(each)} for each in range(dead)],
        "target_num_replicas": running + waiting if target is None else target,
        "required_resources": {"CPU": 0.5},
        "deployed": deployed,
    }


def look(*looks: dict[str, Any], free: list[dict[str, float]] | None = None) -> list[str]:
    supervision = Supervision()
    free = HALF_A_CORE if free is None else free
    return [line for each in looks for line in supervision.look({NAME: each}, free)]


def test_a_replica_that_is_lost_costs_one_line() -> None:
    lost = "Classifier: a replica was lost; Ray starts what is missing."
    assert look(details(2), details(1, dead=1, target=2), details(2, dead=1)) == [lost]


def test_replicas_that_died_before_the_launcher_looked_are_not_told() -> None:
    assert look(details(2, dead=3)) == []


@pytest.mark.parametrize(
    "after", [details(1, dead=1), details(2, dead=2, deployed=1)], ids=["fewer", "a new version"]
)
def test_replicas_that_were_asked_to_go_are_not_told(after: dict[str, Any]) -> None:
    assert look(details(2), after) == []


def test_replicas_that_wait_for_what_no_node_has_are_told_once() -> None:
    waits = details(running=3, waiting=5)
    (line,) = look(waits, waits, waits, waits, free=NOTHING)
    assert line == (
        "Classifier: 5 of 8 replicas wait, as no node has CPU 0.5 free. Add a node, or lower "
        "num_replicas or what a replica asks for."
    )


def test_replicas_that_are_about_to_start_are_not_told() -> None:
    waits = details(running=0, waiting=1)
    assert look(waits, waits, waits) == []
    assert look(waits, details(), waits, free=NOTHING) == []


def test_replicas_that_wait_again_are_told_again() -> None:
    waits = details(running=1, waiting=1)
    assert len(look(waits, waits, details(2), waits, waits, free=NOTHING)) == 2
