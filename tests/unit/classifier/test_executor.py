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


async def wait_until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110, another thread makes it so
            await asyncio.sleep(0.01)


def has_failed(executor: ModelExecutor) -> bool:
    try:
        executor.check_health()
    except DeviceLost:
        return True
    return False


async def test_a_lost_device_fails_the_health_check() -> None:
    executor = ModelExecutor(StubModel(lose))
    executor.check_health()
    asked = asyncio.create_task(executor.predict(IMAGES))
    await wait_until(lambda: has_failed(executor))
    asked.cancel()


async def test_a_batch_is_not_split_when_the_device_is_lost() -> None:
    model = StubModel(lose)
    batcher = DynamicBatcher(ModelExecutor(model).predict, max_batch_size=8)
    request = batcher.reserve(IMAGES, timeout_s=60)
    batcher.enqueue([request])
    await wait_until(lambda: model.calls > 0)
    await asyncio.sleep(0.05)  # in which a second call would come
    assert model.calls == 1
    assert not request.done.done()  # another replica is to classify them


async def test_a_stuck_model_fails_the_health_check_until_it_answers() -> None:
    gate = threading.Event()
    executor = ModelExecutor(StubModel(gate.wait), hang_timeout_s=1.0)
    asked = asyncio.create_task(executor.predict(IMAGES))
    await asyncio.sleep(0.02)
    executor.check_health()
    await asyncio.sleep(1.0)
    with pytest.raises(RuntimeError, match="has not answered"):
        executor.check_health()
    gate.set()
    await asked
    executor.check_health()
