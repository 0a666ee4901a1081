"""Batches across clients, with a model that does as told."""

import asyncio
import time

import numpy as np
import pytest
from numpy.typing import NDArray

from deployments.classifier.batcher import Batcher, Job, Outcome
from deployments.common.errors import DeadlineExceeded, InternalError, Overloaded, QueueFull
from deployments.common.rpc_types import ImageBatch

pytestmark = pytest.mark.anyio


class StubModel:
    """Answers each image with its first pixel; one batch at a time, as slow as told."""

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
        return np.array([[value] for value in values], np.float32)


def make_job(value: int, position: int = 0, timeout_s: float = 60.0) -> Job:
    return Job(np.full((1, 1, 3), value, np.uint8), time.monotonic() + timeout_s, position)


def value_of(outcome: Outcome) -> int:
    return int(outcome.probabilities[0])


async def test_each_job_gets_its_own_result() -> None:
    batcher = Batcher(StubModel().predict, max_batch_size=8)
    jobs = [make_job(value) for value in range(50)]
    batcher.put(jobs)
    outcomes = await asyncio.gather(*(job.outcome for job in jobs))
    assert [value_of(outcome) for outcome in outcomes] == list(range(50))


async def test_a_lone_job_waits_for_nobody() -> None:
    batcher = Batcher(StubModel().predict, max_batch_size=8)
    job = make_job(1)
    batcher.put([job])
    outcome = await asyncio.wait_for(job.outcome, 1)
    assert outcome.batch_size == 1


async def test_batches_keep_filling_while_the_model_is_busy() -> None:
    model = StubModel(batch_s=0.05)
    batcher = Batcher(model.predict, max_batch_size=8)
    jobs = [make_job(value) for value in range(9)]
    for job in jobs:  # one client after another, all within the first batch's time
        batcher.put([job])
        await asyncio.sleep(0.001)
    await asyncio.gather(*(job.outcome for job in jobs))
    assert [len(batch) for batch in model.batches] == [1, 8]


async def test_no_batch_is_larger_than_the_current_limit() -> None:
    model = StubModel()
    batcher = Batcher(model.predict, max_batch_size=4)
    jobs = [make_job(value) for value in range(10)]
    batcher.put(jobs)
    await asyncio.gather(*(job.outcome for job in jobs))
    batcher.max_batch_size = 2
    more = [make_job(value) for value in range(4)]
    batcher.put(more)
    await asyncio.gather(*(job.outcome for job in more))
    assert [len(batch) for batch in model.batches] == [4, 4, 2, 2, 2]


async def test_a_lone_image_passes_a_large_upload() -> None:
    model = StubModel(batch_s=0.02)
    batcher = Batcher(model.predict, max_batch_size=2)
    first = make_job(200)
    batcher.put([first])
    await first.outcome  # so that the batcher knows what an image costs
    upload = [make_job(value, position=value) for value in range(20)]
    batcher.put(upload)
    await asyncio.sleep(0)
    lone = make_job(100)
    batcher.put([lone])
    await lone.outcome
    assert sum(job.outcome.done() for job in upload) <= 6


async def test_a_job_past_its_deadline_costs_no_forward_pass() -> None:
    model = StubModel()
    batcher = Batcher(model.predict, max_batch_size=8)
    late, good = make_job(1, timeout_s=-1), make_job(2)
    batcher.put([late, good])
    assert value_of(await good.outcome) == 2
    with pytest.raises(DeadlineExceeded):
        await late.outcome
    assert model.batches == [[2]]


async def test_a_cancelled_job_costs_no_forward_pass() -> None:
    model = StubModel()
    batcher = Batcher(model.predict, max_batch_size=8)
    gone, good = make_job(1), make_job(2)
    batcher.put([gone, good])
    gone.outcome.cancel()
    await good.outcome
    assert model.batches == [[2]]


async def test_a_poisoned_image_fails_alone() -> None:
    model = StubModel(poison=3)
    batcher = Batcher(model.predict, max_batch_size=8)
    jobs = [make_job(value) for value in range(8)]
    batcher.put(jobs)
    outcomes = await asyncio.gather(*(job.outcome for job in jobs), return_exceptions=True)
    assert isinstance(outcomes[3], InternalError)
    others = [outcome for index, outcome in enumerate(outcomes) if index != 3]
    assert all(isinstance(outcome, Outcome) for outcome in others)


async def test_pixels_and_normalised_images_never_share_a_batch() -> None:
    seen: list[str] = []

    async def predict(images: ImageBatch) -> NDArray[np.float32]:
        seen.append(f"{len(images)} {images.dtype}")
        return images.reshape(len(images), -1)[:, :1].astype(np.float32)

    deadline = time.monotonic() + 60
    pixels = Job(np.full((1, 1, 3), 1, np.uint8), deadline)
    normalised = [Job(np.full((3, 1, 1), 2.5, np.float32), deadline) for _ in range(2)]
    jobs = [normalised[0], pixels, normalised[1]]
    Batcher(predict, 8).put(jobs)
    outcomes = await asyncio.gather(*(job.outcome for job in jobs))
    assert [float(outcome.probabilities[0]) for outcome in outcomes] == [2.5, 1, 2.5]
    assert seen == ["1 uint8", "2 float32"]


async def make_busy(waiting: int, image_s: float = 0.05) -> tuple[Batcher, list[Job]]:
    """A batcher that knows what an image takes, and has so many of them."""
    batcher = Batcher(StubModel(batch_s=image_s).predict, max_batch_size=1)
    first = make_job(1)
    batcher.put([first])
    await first.outcome
    jobs = [make_job(value) for value in range(waiting)]
    batcher.expect(jobs)
    return batcher, jobs


async def test_a_refusal_comes_at_once_and_says_longer_the_more_is_waiting() -> None:
    told = []
    for waiting in (10, 40, 80):
        batcher, _ = await make_busy(waiting)
        started = time.monotonic()
        with pytest.raises(Overloaded) as refusal:
            batcher.admit(1, timeout_s=0.1)
        assert time.monotonic() - started < 0.01
        told.append(refusal.value.retry_after_s)
    assert told[0] >= 1
    assert told[2] >= 4
    assert told == sorted(set(told))


async def test_all_of_a_request_is_admitted_or_none() -> None:
    batcher, _ = await make_busy(10)
    batcher.admit(1, timeout_s=2)
    with pytest.raises(Overloaded):
        batcher.admit(60, timeout_s=2)


async def test_a_full_queue_refuses_even_those_who_have_time() -> None:
    batcher, jobs = await make_busy(20)
    batcher.max_queue_wait_s = 0.5
    with pytest.raises(QueueFull):
        batcher.admit(1, timeout_s=60)
    for job in jobs:
        job.outcome.cancel()
    await asyncio.sleep(0)
    batcher.admit(1, timeout_s=60)


async def test_an_empty_queue_takes_the_largest_request() -> None:
    batcher, _ = await make_busy(0)
    batcher.max_queue_wait_s = 0.01
    batcher.admit(32, timeout_s=30)


async def test_one_batch_that_was_held_up_is_no_slow_model() -> None:
    times_s = iter([0.005] * 10 + [0.5])

    async def predict(images: ImageBatch) -> NDArray[np.float32]:
        await asyncio.sleep(next(times_s))
        return np.zeros((len(images), 1), np.float32)

    batcher = Batcher(predict, max_batch_size=1)
    for _ in range(11):
        job = make_job(1)
        batcher.put([job])
        await job.outcome
    batcher.admit(10, timeout_s=0.3)
