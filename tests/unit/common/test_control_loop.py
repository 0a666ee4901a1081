"""The controller's turns: as often as Ray wants at first, then less often."""

import pytest
from ray.serve._private import controller, controller_health_metrics_tracker, deployment_state

from deployments.common import control_loop

READERS = (controller, deployment_state, controller_health_metrics_tracker)


@pytest.mark.parametrize(("before_s", "after_s"), [(0.1, 0.5), (2.0, 2.0)])
def test_the_interval_becomes_longer_and_never_shorter(
    monkeypatch: pytest.MonkeyPatch, before_s: float, after_s: float
) -> None:
    for module in READERS:
        monkeypatch.setattr(module, control_loop.INTERVAL, before_s)
    monkeypatch.setattr(control_loop, "START_S", 0.5)
    timer = control_loop.slow_down_later()
    assert [vars(module)[control_loop.INTERVAL] for module in READERS] == [before_s] * 3
    timer.join(10)
    assert [vars(module)[control_loop.INTERVAL] for module in READERS] == [after_s] * 3


def test_ray_reads_its_interval_in_each_turn() -> None:
    loop = controller.ServeController.run_control_loop.__code__.co_names
    assert control_loop.INTERVAL in loop
