"""Which requests share a call, how long they wait for it, and what each of them gets."""

import asyncio
import time

import numpy as np
import pytest
from numpy.typing import NDArray

from deployments.common.errors import Overloaded, ReplicaLost
from deployments.common.rpc_types import BatchResult, CallResult, ClassifyCall, ImageBatch
from deployments.ingress.rpc.call_batcher import MAX_CALL_BYTES, MIN_IMAGES, CallBatcher
from testing.fake_classifier import TEST_MODEL

pytestmark = pytest.mark.anyio

FOREVER_S = 60.0
"""A delay that no test lives to see."""
SOON_S = 5.0


class Replica:
    """Holds each call until it is told to answer; rows are the images' first values."""

    def __init__(self, preferred_images: int = 0) -> None:
        self.calls: list[ClassifyCall] = []
        self.timeouts_s: list[float] = []
        self.cancelled: list[int] = []
        self.preferred_images = preferred_images
        self.errors: dict[float, Overloaded] = {}
        """By the first value of the request that gets it."""
        self.arrived: asyncio.Queue[int] = asyncio.Queue()
        self._answers: list[asyncio.Future[None]] = []

    async def send(self, call: ClassifyCall, timeout_s: float) -> CallResult:
        number = len(self.calls)
        self.calls.append(call)
        self.timeouts_s.append(timeout_s)
        self.arrived.put_nowait(number)
        self._answers.append(asyncio.get_running_loop().create_future())
        try:
            await self._answers[number]
        except asyncio.CancelledError:
            self.cancelled.append(number)
            raise
        starts = np.cumsum([0, *call.sizes])[:-1]
        results = [
            self._result(call.images[start : start + size], float(index))
            for index, (start, size) in enumerate(zip(starts, call.sizes, strict=True))
        ]
        return CallResult(results, TEST_MODEL, self.preferred_images)

    def _result(self, images: ImageBatch, queue_ms: float) -> BatchResult | Overloaded:
        values = images.reshape(len(images), -1)[:, 0].astype(np.float32)
        if (error := self.errors.get(float(values[0]))) is not None:
            return error
        return BatchResult(values[:, None], frozenset(), 1000 * queue_ms, 1.0, len(images))

    def answer(self, number: int, error: Exception | None = None) -> None:
        if error is None:
            self._answers[number].set_result(None)
        else:
            self._answers[number].set_exception(error)

    def cancel(self, number: int) -> None:
        """As Ray does when the request that a call was made for is cancelled."""
        self._answers[number].cancel()

    @property
    def sizes(self) -> list[list[int]]:
        return [list(call.sizes) for call in self.calls]


def images(*values: int) -> NDArray[np.uint8]:
    return np.array(values, np.uint8).reshape(-1, 1)


def start(
    batcher: CallBatcher, batch: ImageBatch, timeout_s: float = 60.0, alone: bool = False
) -> asyncio.Task[BatchResult]:
    return asyncio.create_task(batcher.submit(batch, time.monotonic() + timeout_s, alone))


async def settle() -> None:
    """Let all that can run without the clock run."""
    for _ in range(10):
        await asyncio.sleep(0)


async def share_a_call(replica: Replica, batcher: CallBatcher) -> list[asyncio.Task[BatchResult]]:
    """Two requests, of the images 1 and 2, that wait for an answer to call number 1."""
    start(batcher, images(0))
    await settle()
    requests = [start(batcher, images(1)), start(batcher, images(2))]
    await settle()
    replica.answer(0)
    await settle()
    return requests


async def rows_of(request: asyncio.Task[BatchResult]) -> list[float]:
    result = await asyncio.wait_for(request, SOON_S)
    values: list[float] = result.probabilities[:, 0].tolist()
    return values


@pytest.fixture
def replica() -> Replica:
    return Replica()


@pytest.fixture
def batcher(replica: Replica) -> CallBatcher:
    """Its requests wait until a call returns or is full."""
    return CallBatcher(replica.send, max_delay_s=FOREVER_S)


async def test_an_idle_batcher_sends_at_once(replica: Replica, batcher: CallBatcher) -> None:
    request = start(batcher, images(7))
    await settle()
    assert replica.sizes == [[1]]
    replica.answer(0)
    assert await rows_of(request) == [7]


async def test_requests_collect_while_a_call_is_out_and_go_together_when_it_returns(
    replica: Replica, batcher: CallBatcher
) -> None:
    first = start(batcher, images(1))
    await settle()
    others = [start(batcher, images(2)), start(batcher, images(3, 4))]
    await settle()
    assert replica.sizes == [[1]]
    replica.answer(0)
    await rows_of(first)
    await settle()
    assert replica.sizes == [[1], [1, 2]]
    replica.answer(1)
    assert [await rows_of(other) for other in others] == [[2], [3, 4]]


async def test_no_request_waits_longer_than_the_longest_delay(replica: Replica) -> None:
    batcher = CallBatcher(replica.send, max_delay_s=0.5)
    start(batcher, images(1))
    await settle()
    waiting = start(batcher, images(2))
    await settle()
    assert replica.sizes == [[1]]
    for _ in range(2):
        await asyncio.wait_for(replica.arrived.get(), SOON_S)
    replica.answer(1)
    result = await waiting  # the first call is still out
    assert result.queue_ms >= 450  # of which nothing was spent in the replica


async def test_enough_images_go_at_once(replica: Replica, batcher: CallBatcher) -> None:
    start(batcher, images(0))
    for _ in range(MIN_IMAGES // 2):
        start(batcher, images(1, 2))
    await settle()
    assert replica.sizes == [[1], [2] * (MIN_IMAGES // 2)]


async def test_a_large_request_goes_alone_and_delays_no_single_image(
    replica: Replica, batcher: CallBatcher
) -> None:
    start(batcher, images(0))
    await settle()
    waiting = start(batcher, images(1))
    start(batcher, images(*range(MIN_IMAGES)))
    await settle()
    assert replica.sizes == [[1], [MIN_IMAGES]]
    replica.answer(0)
    await settle()
    replica.answer(2)
    assert await rows_of(waiting) == [1]  # the large one is still out


async def test_no_call_has_more_images_than_it_may(replica: Replica, batcher: CallBatcher) -> None:
    start(batcher, images(0))
    await settle()
    for _ in range(4):
        start(batcher, images(1, 2, 3))
    await settle()
    replica.answer(0)
    await settle()
    assert replica.sizes[1:] == [[3, 3], [3, 3]] or replica.sizes[1:] == [[3, 3], [3], [3]]
    assert all(sum(sizes) <= MIN_IMAGES for sizes in replica.sizes)


async def test_no_call_has_more_bytes_than_it_may(replica: Replica, batcher: CallBatcher) -> None:
    start(batcher, images(0))
    await settle()
    for _ in range(3):
        start(batcher, np.zeros((1, MAX_CALL_BYTES // 2), np.uint8))
    await settle()
    replica.answer(0)
    await settle()
    assert replica.sizes[1:] == [[1, 1], [1]]


async def test_a_classifier_that_prefers_more_images_gets_more() -> None:
    replica = Replica(preferred_images=32)
    batcher = CallBatcher(replica.send, max_delay_s=FOREVER_S)
    first = start(batcher, images(0))
    await settle()
    replica.answer(0)
    await first
    start(batcher, images(0))
    for _ in range(32):
        start(batcher, images(1))
    await settle()
    assert replica.sizes[1:] == [[1], [1] * 32]


async def test_pixels_and_normalised_images_never_share_a_call(
    replica: Replica, batcher: CallBatcher
) -> None:
    start(batcher, images(0))
    await settle()
    requests = [
        start(batcher, np.full((1, 1), 2.5, np.float32)),
        start(batcher, images(1)),
        start(batcher, np.full((1, 1), 3.5, np.float32)),
    ]
    await settle()
    replica.answer(0)
    await settle()
    for number in range(1, len(replica.calls)):
        assert len({replica.calls[number].images.dtype}) == 1
        replica.answer(number)
    assert [await rows_of(request) for request in requests] == [[2.5], [1], [3.5]]


async def test_each_request_gets_its_own_error_and_its_own_timings(
    replica: Replica, batcher: CallBatcher
) -> None:
    replica.errors[2.0] = Overloaded("late", 9)
    start(batcher, images(0))
    await settle()
    good, bad, last = (start(batcher, images(value)) for value in (1, 2, 3))
    await settle()
    replica.answer(0)
    await settle()
    replica.answer(1)
    with pytest.raises(Overloaded) as rejection:
        await bad
    assert rejection.value.retry_after_s == 9
    assert (await good).queue_ms < 1000
    assert 2000 <= (await last).queue_ms < 3000
    assert (await last).probabilities[:, 0].tolist() == [3]


async def test_each_request_has_its_own_time_and_the_call_that_of_the_longest(
    replica: Replica, batcher: CallBatcher
) -> None:
    start(batcher, images(0))
    await settle()
    for timeout_s in (5.0, 20.0):
        start(batcher, images(1), timeout_s)
    await settle()
    replica.answer(0)
    await settle()
    assert replica.calls[1].timeouts_s == pytest.approx([5, 20], abs=1)
    assert replica.timeouts_s[1] == pytest.approx(20, abs=1)


async def test_a_cancelled_request_leaves_its_call_to_the_others(
    replica: Replica, batcher: CallBatcher
) -> None:
    start(batcher, images(0))
    await settle()
    gone, stays = start(batcher, images(1)), start(batcher, images(2))
    await settle()
    replica.answer(0)
    await settle()
    gone.cancel()
    await settle()
    assert not replica.cancelled
    replica.answer(1)
    assert await rows_of(stays) == [2]


async def test_a_call_that_no_request_wants_is_cancelled(
    replica: Replica, batcher: CallBatcher
) -> None:
    requests = await share_a_call(replica, batcher)
    for request in requests:
        request.cancel()
    await settle()
    assert replica.cancelled == [1]
    start(batcher, images(3))
    await settle()
    assert replica.sizes[2:] == [[1]]  # nothing is out any more


async def test_a_request_that_is_cancelled_while_it_waits_is_not_sent(
    replica: Replica, batcher: CallBatcher
) -> None:
    start(batcher, images(0))
    await settle()
    gone, stays = start(batcher, images(1)), start(batcher, images(2))
    await settle()
    gone.cancel()
    await settle()
    replica.answer(0)
    await settle()
    replica.answer(1)
    assert await rows_of(stays) == [2]
    assert replica.sizes == [[1], [1]]


async def test_a_call_that_ray_cancels_is_lost_to_the_requests_that_share_it(
    replica: Replica, batcher: CallBatcher
) -> None:
    requests = await share_a_call(replica, batcher)
    replica.cancel(1)
    for request in requests:
        with pytest.raises(ReplicaLost):
            await asyncio.wait_for(request, 5)


async def test_a_lost_replica_fails_all_that_share_its_call(
    replica: Replica, batcher: CallBatcher
) -> None:
    requests = await share_a_call(replica, batcher)
    replica.answer(1, ReplicaLost("died"))
    for request in requests:
        with pytest.raises(ReplicaLost):
            await request
    again = [start(batcher, images(value), alone=True) for value in (1, 2)]
    await settle()
    assert replica.sizes[2:] == [[1], [1]]
    for number, request in enumerate(again, start=2):
        replica.answer(number)
        await request
