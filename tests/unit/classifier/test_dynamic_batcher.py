"""Batches across requests, with a model that does as told."""

import asyncio
import time
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from deployments.classifier.dynamic_batcher import DynamicBatcher
from deployments.classifier.queued_request import QueuedRequest
from deployments.common.errors import DeadlineExceeded, Overloaded, QueueFull
from deployments.common.rpc_types import BatchResult, ImageBatch

pytestmark = pytest.mark.anyio


class StubModel:
    """The class of an image is its first pixel; one batch at a time, as slow as told."""

    def __init__(self, batch_s: float = 0.0, poison: int | None = None) -> None:
        self.batches: list[list[int]] = []
        self._batch_s = batch_s
        self._poison = poison

    async def predict(self, images: ImageBatch) -> NDArray[np.float32]:
        values = [int(image.flat[0]) for image in images]
        self.batches.append(values)
        await asyncio.sleep(self._batch_s)
        if self._poison in values:
            raise RuntimeError("poisoned")
        rows: NDArray[np.float32] = np.eye(1000, dtype=np.float32)[values]
        return rows


def make_images(*values: int) -> NDArray[np.uint8]:
    return np.array(values, np.uint8).reshape(-1, 1, 1, 1)


def submit(batcher: DynamicBatcher, *values: int, timeout_s: float = 60.0) -> QueuedRequest:
    request = batcher.reserve(make_images(*values), timeout_s)
    batcher.enqueue([request])
    return request


async def results_of(requests: Sequence[QueuedRequest]) -> list[BatchResult]:
    return await asyncio.wait_for(asyncio.gather(*(each.done for each in requests)), 10)


def classes_of(result: BatchResult) -> list[int]:
    return [int(row.argmax()) for row in result.probabilities]


async def test_each_request_gets_its_own_results() -> None:
    batcher = DynamicBatcher(StubModel().predict, max_batch_size=8)
    requests = [submit(batcher, value, 255 - value) for value in range(50)]
    results = await results_of(requests)
    assert [classes_of(result) for result in results] == [[n, 255 - n] for n in range(50)]
    assert batcher.pending_images == 0


async def test_a_lone_image_waits_for_nobody() -> None:
    (result,) = await results_of([submit(DynamicBatcher(StubModel().predict, 8), 1)])
    assert result.batch_size == 1


async def test_what_is_queued_while_the_worker_ends_is_classified() -> None:
    async def predict(images: ImageBatch) -> NDArray[np.float32]:
        return np.zeros((len(images), 1000), np.float32)  # never waits: it ends in one step

    batcher = DynamicBatcher(predict, max_batch_size=8)
    first = submit(batcher, 1)
    await asyncio.sleep(0)  # the worker has run to its end, its callbacks have not
    await results_of([first, submit(batcher, 2)])


async def test_batches_keep_filling_while_the_model_is_busy() -> None:
    model = StubModel(batch_s=0.5)
    batcher = DynamicBatcher(model.predict, max_batch_size=8)
    requests = []
    for value in range(9):  # one client after another, all within the first batch's time
        requests.append(submit(batcher, value))
        await asyncio.sleep(0.001)
    await results_of(requests)
    assert [len(batch) for batch in model.batches] == [1, 8]


async def test_as_many_batches_as_the_model_has_streams_run_at_once() -> None:
    running, most = 0, 0

    async def predict(images: ImageBatch) -> NDArray[np.float32]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        return np.zeros((len(images), 1000), np.float32)

    batcher = DynamicBatcher(predict, max_batch_size=1, streams=3)
    await results_of([submit(batcher, value) for value in range(12)])
    assert most == 3
    assert batcher.preferred_images == 3


async def test_no_batch_is_larger_than_the_current_limit() -> None:
    model = StubModel()
    batcher = DynamicBatcher(model.predict, max_batch_size=4)
    await results_of([submit(batcher, *range(10))])
    batcher.max_batch_size = 2
    await results_of([submit(batcher, *range(4))])
    assert [len(batch) for batch in model.batches] == [4, 4, 2, 2, 2]


async def test_a_lone_image_passes_a_large_upload() -> None:
    model = StubModel(batch_s=0.02)
    batcher = DynamicBatcher(model.predict, max_batch_size=2)
    await results_of([submit(batcher, 200)])  # so that the batcher knows what an image costs
    upload = submit(batcher, *range(20))
    await asyncio.sleep(0)
    await results_of([submit(batcher, 100)])
    assert not upload.done.done()
    assert len(model.batches) <= 5


async def test_a_request_past_its_deadline_costs_no_forward_pass() -> None:
    model = StubModel()
    batcher = DynamicBatcher(model.predict, max_batch_size=8)
    late = batcher.reserve(make_images(1, 1), timeout_s=0)
    batcher.enqueue([late])
    good = submit(batcher, 2)
    await results_of([good])
    with pytest.raises(DeadlineExceeded):
        await late.done
    assert model.batches == [[2]]
    assert batcher.pending_images == 0


async def test_a_cancelled_request_costs_no_forward_pass() -> None:
    model = StubModel()
    batcher = DynamicBatcher(model.predict, max_batch_size=8)
    gone, good = submit(batcher, 1, 1), submit(batcher, 2)
    gone.done.cancel()
    await results_of([good])
    assert model.batches == [[2]]
    assert batcher.pending_images == 0


async def test_a_request_cancelled_before_the_model_is_no_error() -> None:
    model = StubModel(batch_s=0.02)
    batcher = DynamicBatcher(model.predict, max_batch_size=8)
    gone = submit(batcher, 1, 2)
    await asyncio.sleep(0.005)
    gone.done.cancel()
    await results_of([submit(batcher, 3)])
    assert model.batches == [[1, 2], [3]]
    assert batcher.pending_images == 0


async def test_a_poisoned_image_fails_alone() -> None:
    batcher = DynamicBatcher(StubModel(poison=3).predict, max_batch_size=8)
    requests = [submit(batcher, 0, 1), submit(batcher, 2, 3), submit(batcher, 4, 5, 6, 7)]
    results = await results_of(requests)
    assert [sorted(result.failed) for result in results] == [[], [1], []]
    assert [classes_of(result) for result in results] == [[0, 1], [2, 0], [4, 5, 6, 7]]
    assert not results[1].probabilities[1].any()


async def test_pixels_and_normalised_images_never_share_a_batch() -> None:
    seen: list[str] = []

    async def predict(images: ImageBatch) -> NDArray[np.float32]:
        seen.append(f"{len(images)} {images.dtype}")
        return np.repeat(images.reshape(len(images), -1)[:, :1].astype(np.float32), 1000, axis=1)

    batcher = DynamicBatcher(predict, 8)
    normalised = [np.full((1, 3, 1, 1), 2.5, np.float32) for _ in range(2)]
    images: list[ImageBatch] = [normalised[0], make_images(1), normalised[1]]
    requests = [batcher.reserve(each, 60) for each in images]
    batcher.enqueue(requests)
    results = await results_of(requests)
    assert [float(result.probabilities[0, 0]) for result in results] == [2.5, 1, 2.5]
    assert sorted(seen) in (["1 float32", "1 float32", "1 uint8"], ["1 uint8", "2 float32"])


async def make_busy(waiting: int, image_s: float = 0.2) -> tuple[DynamicBatcher, QueuedRequest]:
    """A batcher that knows what an image takes, and has so many of them reserved."""
    batcher = DynamicBatcher(StubModel(batch_s=image_s).predict, max_batch_size=1)
    await results_of([submit(batcher, 1)])
    return batcher, batcher.reserve(make_images(*range(waiting)), timeout_s=60)


async def test_a_rejection_comes_at_once_and_says_longer_the_more_is_waiting() -> None:
    told = []
    for waiting in (10, 40, 80):
        batcher, _ = await make_busy(waiting)
        started = time.monotonic()
        with pytest.raises(Overloaded) as rejection:
            batcher.reserve(make_images(1), timeout_s=0.1)
        assert time.monotonic() - started < 1
        told.append(rejection.value.retry_after_s)
    assert told[0] >= 1
    assert told[2] >= 4
    assert told == sorted(set(told))


async def test_all_of_a_request_is_admitted_or_none() -> None:
    batcher, _ = await make_busy(10)
    batcher.reserve(make_images(1), timeout_s=60)
    with pytest.raises(Overloaded):
        batcher.reserve(make_images(*range(60)), timeout_s=2)
    assert batcher.pending_images == 11


async def test_a_full_queue_rejects_even_requests_that_have_time() -> None:
    batcher, waiting = await make_busy(20)
    batcher.max_queue_wait_s = 0.5
    with pytest.raises(QueueFull):
        batcher.reserve(make_images(1), timeout_s=60)
    waiting.done.cancel()
    await asyncio.sleep(0)
    batcher.reserve(make_images(1), timeout_s=60)


async def test_an_empty_queue_takes_the_largest_request() -> None:
    batcher, _ = await make_busy(0)
    batcher.max_queue_wait_s = 0.01
    batcher.reserve(make_images(*range(32)), timeout_s=30)


async def test_one_batch_that_was_held_up_is_no_slow_model() -> None:
    times_s = iter([0.005] * 10 + [0.5])

    async def predict(images: ImageBatch) -> NDArray[np.float32]:
        await asyncio.sleep(next(times_s))
        return np.zeros((len(images), 1000), np.float32)

    batcher = DynamicBatcher(predict, max_batch_size=1)
    for _ in range(11):
        await results_of([submit(batcher, 1)])
    batcher.reserve(make_images(*range(10)), timeout_s=0.3)


async def test_pixels_that_wait_are_bounded_in_bytes() -> None:
    batcher = DynamicBatcher(StubModel().predict, max_batch_size=8, max_queue_bytes=8)
    first = submit(batcher, 1, 2, 3, 4)
    second = submit(batcher, 5, 6, 7, 8)
    with pytest.raises(QueueFull):
        batcher.reserve(make_images(9), timeout_s=60)
    first.done.cancel()  # its client leaves
    await asyncio.sleep(0)
    assert classes_of((await results_of([submit(batcher, 9), second]))[0]) == [9]
    assert batcher.pending_images == 0


async def test_normalised_images_count_by_their_bytes() -> None:
    batcher = DynamicBatcher(StubModel().predict, max_batch_size=8, max_queue_bytes=8)
    batcher.reserve(make_images(1, 2).astype(np.float32), timeout_s=60)
    with pytest.raises(QueueFull):
        batcher.reserve(make_images(3), timeout_s=60)
