"""The controller's turns: often while an application changes, seldom when all is done."""

from typing import Any

import pytest
from ray.serve._private import controller
from ray.serve._private.application_state import ApplicationStateManager, ApplicationStatusInfo
from ray.serve.schema import ApplicationStatus

from deployments.common import control_loop

RUNNING, DEPLOYING = ApplicationStatus.RUNNING, ApplicationStatus.DEPLOYING
UNHEALTHY = ApplicationStatus.UNHEALTHY
STEADY_S, CHANGING_S = control_loop.STEADY_INTERVAL_S, 0.1


class Applications:
    """Ray's manager, in so far as the loop asks it."""

    def __init__(self) -> None:
        self.statuses: list[ApplicationStatus] = []
        self.updates = 0

    def update(self) -> None:
        self.updates += 1

    def list_app_statuses(self) -> dict[str, ApplicationStatusInfo]:
        found = enumerate(self.statuses)
        return {str(index): ApplicationStatusInfo(status) for index, status in found}


@pytest.fixture
def applications(monkeypatch: pytest.MonkeyPatch) -> Applications:
    monkeypatch.setattr(controller, "CONTROL_LOOP_INTERVAL_S", CHANGING_S)
    monkeypatch.setattr(ApplicationStateManager, "update", Applications.update)
    control_loop.follow_apps()
    return Applications()


def turn(applications: Applications, *statuses: ApplicationStatus) -> float:
    """The pause after a turn that finds these."""
    applications.statuses = list(statuses)
    manager: Any = ApplicationStateManager
    manager.update(applications)
    return float(vars(controller)["CONTROL_LOOP_INTERVAL_S"])


def test_turns_are_short_until_all_applications_run(applications: Applications) -> None:
    pauses = [
        turn(applications, *each) for each in ([], [DEPLOYING], [RUNNING, DEPLOYING], [RUNNING] * 2)
    ]
    assert pauses == [CHANGING_S] * 3 + [STEADY_S]
    assert applications.updates == 4


def test_turns_are_short_again_when_a_replica_is_lost(applications: Applications) -> None:
    pauses = [turn(applications, each) for each in (RUNNING, UNHEALTHY, RUNNING)]
    assert pauses == [STEADY_S, CHANGING_S, STEADY_S]


def test_what_waits_for_ever_does_not_keep_turns_short(
    applications: Applications, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert turn(applications, DEPLOYING) == CHANGING_S
    monkeypatch.setattr(control_loop, "CHANGES_WITHIN_S", -1.0)
    assert turn(applications, DEPLOYING) == STEADY_S


def test_an_interval_that_is_longer_than_ours_stays() -> None:
    assert control_loop.Interval(2.0).choose({RUNNING}) == 2.0


def test_the_loop_reads_its_interval_in_each_turn() -> None:
    names = controller.ServeController.run_control_loop.__code__.co_names
    assert "CONTROL_LOOP_INTERVAL_S" in names
