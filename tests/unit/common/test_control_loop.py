"""The controller's turns: often while something changes, seldom when all is done."""

from typing import Any

import pytest
from ray.serve._private import controller, controller_health_metrics_tracker, deployment_state
from ray.serve._private.application_state import ApplicationStateManager, ApplicationStatusInfo
from ray.serve._private.common import (
    DeploymentStatus,
    DeploymentStatusInfo,
    DeploymentStatusTrigger,
)
from ray.serve.schema import ApplicationStatus

from deployments.common import control_loop
from deployments.common.control_loop import Interval, Status

RUNNING, DEPLOYING = ApplicationStatus.RUNNING, ApplicationStatus.DEPLOYING
UNHEALTHY, FAILED = ApplicationStatus.UNHEALTHY, ApplicationStatus.DEPLOY_FAILED
HEALTHY, UPSCALING = DeploymentStatus.HEALTHY, DeploymentStatus.UPSCALING
STEADY_S, CHANGING_S = control_loop.STEADY_INTERVAL_S, 0.1
READERS = (controller, deployment_state, controller_health_metrics_tracker)


class Clock:
    """A clock that a test sets."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def choose(*turns: list[Status], clock: Clock | None = None) -> list[float]:
    interval = Interval(CHANGING_S, clock or Clock())
    return [interval.choose(each) for each in turns]


def test_turns_are_short_until_everything_is_done() -> None:
    both: list[Status] = [("a", RUNNING, 1), ("b", DEPLOYING, 2)]
    done: list[Status] = [("a", RUNNING, 1), ("b", RUNNING, 2), ("Ingress", HEALTHY, 0)]
    assert choose([], [("a", DEPLOYING, 1)], both, done) == [CHANGING_S] * 3 + [STEADY_S]


@pytest.mark.parametrize("change", [("a", UNHEALTHY, 1), ("Ingress", UPSCALING, 0)])
def test_turns_are_short_again_when_a_replica_is_lost_or_added(change: Status) -> None:
    done: list[Status] = [("a", RUNNING, 1), ("Ingress", HEALTHY, 0)]
    changing = [change, *(each for each in done if each[0] != change[0])]
    assert choose(done, changing, done) == [STEADY_S, CHANGING_S, STEADY_S]


def test_what_waits_for_ever_does_not_keep_turns_short_but_a_new_change_does() -> None:
    clock = Clock()
    interval = Interval(CHANGING_S, clock)
    stuck: Status = ("a", DEPLOYING, 1)
    assert interval.choose([stuck]) == CHANGING_S
    clock.now_s += control_loop.CHANGES_WITHIN_S + 1
    assert interval.choose([stuck]) == STEADY_S
    assert interval.choose([("a", DEPLOYING, 2)]) == CHANGING_S
    assert interval.choose([stuck, ("b", DEPLOYING, 3)]) == CHANGING_S


def test_a_version_that_failed_for_good_does_not_keep_turns_short() -> None:
    clock = Clock()
    interval = Interval(CHANGING_S, clock)
    interval.choose([("a", FAILED, 1)])
    clock.now_s += control_loop.CHANGES_WITHIN_S + 1
    assert interval.choose([("a", FAILED, 1)]) == STEADY_S


def test_an_interval_that_is_longer_than_ours_stays() -> None:
    assert Interval(2.0).choose([("a", RUNNING, 1)]) == 2.0


class Applications:
    """Stands in for Ray's manager."""

    def __init__(self) -> None:
        self.status = DEPLOYING
        self.updates = 0
        self._deployment_state_manager = self

    def update(self) -> None:
        self.updates += 1

    def list_app_statuses(self) -> dict[str, ApplicationStatusInfo]:
        return {"densenet": ApplicationStatusInfo(self.status)}

    def get_deployment_statuses(self) -> list[DeploymentStatusInfo]:
        trigger = DeploymentStatusTrigger.CONFIG_UPDATE_COMPLETED
        return [DeploymentStatusInfo("Ingress", HEALTHY, trigger)]


def test_each_turn_sets_the_interval_for_all_that_read_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in READERS:
        monkeypatch.setattr(module, control_loop.INTERVAL, CHANGING_S)
    monkeypatch.setattr(ApplicationStateManager, "update", Applications.update)
    control_loop.follow_apps()
    manager: Any = ApplicationStateManager
    applications = Applications()
    for status, pause_s in ((DEPLOYING, CHANGING_S), (RUNNING, STEADY_S)):
        applications.status = status
        manager.update(applications)
        assert [vars(module)[control_loop.INTERVAL] for module in READERS] == [pause_s] * 3
    assert applications.updates == 2


def test_ray_reads_its_interval_in_each_turn() -> None:
    loop = controller.ServeController.run_control_loop.__code__.co_names
    assert control_loop.INTERVAL in loop
    assert all(control_loop.INTERVAL in vars(module) for module in READERS)
