"""The model on its executor: when it can no longer answer, its health says so."""

import asyncio
import threading
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from deployments.classifier.dynamic_batcher import DynamicBatcher
from deployments.classifier.executor import ModelExecutor
from deployments.common.errors import DeviceLost
from deployments.common.rpc_types import ImageBatch

pytestmark = pytest.mark.anyio

IMAGES = np.zeros((8, 2, 2, 3), np.uint8)


class StubModel:
    """Does as told before it answers."""

    engine, device, precision = "stub", "cpu", "none"
    streams = 1
    max_batch_size = 8

    def __init__(self, act: Callable[[], object]) -> None:
        self.calls = 0
        self._act = act

    def predict(self, images: ImageBatch) -> NDArray[np.float32]:
        self.calls += 1
        self._act()
        return np.zeros((len(images), 1), np.float32)


def lose() -> None:
    raise DeviceLost("gone")


async def test_a_lost_device_fails_the_health_check() -> None:
    executor = ModelExecutor(StubModel(lose))
    executor.check_health()
    asked = asyncio.create_task(executor.predict(IMAGES))
    await asyncio.sleep(0.05)
    with pytest.raises(DeviceLost):
        executor.check_health()
    asked.cancel()


async def test_a_batch_is_not_split_when_the_device_is_lost() -> None:
    model = StubModel(lose)
    batcher = DynamicBatcher(ModelExecutor(model).predict, max_batch_size=8)
    request = batcher.reserve(IMAGES, timeout_s=60)
    batcher.enqueue([request])
    await asyncio.sleep(0.05)
    assert model.calls == 1
    assert not request.done.done()  # another replica is to classify them


async def test_a_stuck_model_fails_the_health_check_until_it_answers() -> None:
    gate = threading.Event()
    executor = ModelExecutor(StubModel(gate.wait), hang_timeout_s=0.1)
    asked = asyncio.create_task(executor.predict(IMAGES))
    await asyncio.sleep(0.02)
    executor.check_health()
    await asyncio.sleep(0.1)
    with pytest.raises(RuntimeError, match="has not answered"):
        executor.check_health()
    gate.set()
    await asked
    executor.check_health()
