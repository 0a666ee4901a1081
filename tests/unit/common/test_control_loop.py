"""The controller's turns: as often as Ray wants at first, then less often."""

import pytest
from ray.serve._private import controller

from deployments.common import control_loop


@pytest.mark.parametrize(("before_s", "after_s"), [(0.1, 0.5), (2.0, 2.0)])
def test_the_interval_becomes_longer_and_never_shorter(
    monkeypatch: pytest.MonkeyPatch, before_s: float, after_s: float
) -> None:
    monkeypatch.setattr(controller, "CONTROL_LOOP_INTERVAL_S", before_s)
    monkeypatch.setattr(control_loop, "START_S", 0.5)
    timer = control_loop.slow_down_later()
    assert vars(controller)["CONTROL_LOOP_INTERVAL_S"] == before_s
    timer.join(10)
    assert vars(controller)["CONTROL_LOOP_INTERVAL_S"] == after_s


def test_the_loop_reads_its_interval_in_each_turn() -> None:
    names = controller.ServeController.run_control_loop.__code__.co_names
    assert "CONTROL_LOOP_INTERVAL_S" in names
