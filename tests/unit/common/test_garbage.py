"""Python's garbage collection around a start."""

import gc
import time

import pytest

from deployments.common import garbage


def test_garbage_is_collected_again_after_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "START_S", 0.01)
    garbage.pause_collection()
    give_up = time.monotonic() + 5
    while not gc.isenabled():
        assert time.monotonic() < give_up
        time.sleep(0.01)
