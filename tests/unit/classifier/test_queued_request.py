"""A request in the queue: when it is done, what it reports, and when its images are released."""

import asyncio

import numpy as np
import pytest

from deployments.classifier.queued_request import InferenceResult, QueuedRequest
from deployments.common.errors import DeadlineExceeded, InternalError

pytestmark = pytest.mark.anyio


class Released:
    """Counts the images that wait no more."""

    images = 0

    def __call__(self, num_images: int) -> None:
        self.images += num_images


def make_request(num_images: int, released: Released | None = None) -> QueuedRequest:
    batch = np.zeros((num_images, 1, 1, 3), np.uint8)
    return QueuedRequest(batch, 1e9, released or Released())


async def test_it_is_done_with_the_last_of_its_images_in_whatever_order_they_end() -> None:
    released = Released()
    request = make_request(2, released)
    second, first = reversed(list(request.images()))
    second.resolve(InferenceResult(np.full(1000, 2, np.float32), request.arrived, 1, 1))
    assert not request.done.done()
    first.resolve(InferenceResult(np.full(1000, 1, np.float32), request.arrived, 1, 1))
    result = await request.done
    assert result.probabilities[:, 0].tolist() == [1, 2]
    assert result.probabilities.dtype == np.float32
    assert released.images == 2


async def test_it_reports_the_longest_wait_the_slowest_batch_and_the_largest() -> None:
    request = make_request(2)
    first, second = request.images()
    row = np.zeros(1000, np.float32)
    first.resolve(InferenceResult(row, request.arrived + 0.5, 10, 8))
    second.resolve(InferenceResult(row, request.arrived + 0.25, 30, 2))
    result = await request.done
    assert result.queue_ms == pytest.approx(500)
    assert (result.infer_ms, result.batch_size) == (30, 8)


async def test_an_image_that_failed_is_named_and_the_others_count() -> None:
    request = make_request(2)
    first, second = request.images()
    first.resolve(InternalError("the model failed on this image"))
    second.resolve(InferenceResult(np.ones(1000, np.float32), request.arrived, 1, 4))
    result = await request.done
    assert result.failed == {0}
    assert result.probabilities[:, 0].tolist() == [0, 1]
    assert result.batch_size == 4


async def test_if_every_image_failed_nothing_was_classified() -> None:
    request = make_request(1)
    (image,) = request.images()
    image.resolve(InternalError("the model failed on this image"))
    result = await request.done
    assert (result.failed, result.batch_size) == (frozenset({0}), 0)


@pytest.mark.parametrize("ends", ["cancelled", "late"])
async def test_what_ends_early_releases_the_rest_once(ends: str) -> None:
    released = Released()
    request = make_request(3, released)
    images = list(request.images())
    row = np.zeros(1000, np.float32)
    images[0].resolve(InferenceResult(row, request.arrived, 1, 1))
    if ends == "cancelled":
        request.done.cancel()
    else:
        request.fail(DeadlineExceeded("late"))
        request.fail(DeadlineExceeded("late again"))
    images[1].resolve(InferenceResult(row, request.arrived, 1, 1))
    await asyncio.wait([request.done])
    await asyncio.sleep(0)
    assert released.images == 3
    if ends == "late":
        with pytest.raises(DeadlineExceeded, match=r"late$"):
            await request.done
